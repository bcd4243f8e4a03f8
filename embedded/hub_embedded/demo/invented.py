"""Invented words for invented people: none of these names, streets, villages or schools is meant to exist."""

from typing import Final

from hub_schemas.codes import Authority

FEMALE_NAMES: Final = (
    "Ashlinne", "Brisella", "Corwenna", "Delphira", "Elowynne", "Fennicka", "Gwendrel", "Halsiane",
    "Isoldene", "Jessamira", "Kerrenna", "Lorissel", "Merriane", "Nerysette", "Ottiliane", "Perdissa",
    "Quennise",
    "Rosmunde", "Sabrielle", "Tamsinne", "Ulvanna", "Verennis", "Winnifre", "Ysellene", "Zephanna",
)  # fmt: skip
MALE_NAMES: Final = (
    "Aldermund", "Bramwith", "Cuthred", "Dorrance", "Edrichan", "Farrimond", "Garrickson", "Hestonel",
    "Ivanthar", "Jorrandel", "Kelbrooke", "Lowrick", "Merrivan", "Norbertan", "Osgarth", "Penwarden",
    "Quillon", "Rowntrey", "Sedgewyn", "Tobiathe", "Ulfarran", "Varrick", "Wendlebur", "Yorrickan",
    "Zacharell",
)  # fmt: skip
_SURNAME_STARTS: Final = (
    "Ambler", "Birch", "Cotter", "Dunnet", "Elder", "Fallow", "Gorse", "Hazel", "Ivory", "Kestrel", "Larken",
    "Marrow", "Nettle", "Orchar", "Plover", "Quarrel", "Rushen", "Sorrel", "Thistle", "Umber", "Withy",
    "Yarrow",
)  # fmt: skip
_SURNAME_ENDS: Final = (
    "croft",
    "dene",
    "fold",
    "garth",
    "holme",
    "lowe",
    "mere",
    "stock",
    "thwaite",
    "worth",
)
SURNAMES: Final = tuple(start + end for start in _SURNAME_STARTS for end in _SURNAME_ENDS)

_STREET_STARTS: Final = (
    "Bellfounder", "Candlewick", "Drovergate", "Fernhollow", "Gatehanger", "Hopkiln", "Lanternfield",
    "Millstream", "Oxpasture", "Pearblossom", "Quarrybank", "Saddlemaker", "Tannerbrook", "Wheelwright",
)  # fmt: skip
_STREET_ENDS: Final = ("Road", "Close", "Lane", "Avenue", "Gardens", "Rise")
STREETS: Final = tuple(f"{start} {end}" for start in _STREET_STARTS for end in _STREET_ENDS)

PLACES: Final[dict[Authority, tuple[tuple[str, str], ...]]] = {
    "884": (("Lower Hopfield", "HR1"), ("Wyebourne", "HR4"), ("Canonsworth", "HR6"), ("Orlecombe", "HR9")),
    "885": (("Severnhithe", "WR1"), ("Upper Malverne", "WR13"), ("Avonsholt", "WR9"), ("Kidderbrook", "WR5")),
    "893": (("Wrekinstow", "SY1"), ("Longmyndale", "SY6"), ("Temesbridge", "SY8"), ("Ellesbury", "SY11")),
    "894": (("Ironwharf", "TF1"), ("Priorsdale", "TF3"), ("Coalhurst", "TF7"), ("Newforge", "TF10")),
}
"""Villages and the outward half of their postcodes, by authority."""

SCHOOLS: Final[dict[Authority, tuple[tuple[str, str], ...]]] = {
    "884": (("998401", "Hopfield Primary"), ("998402", "Wyebourne Academy"), ("998403", "Canonsworth High")),
    "885": (
        ("998501", "Severnhithe Primary"),
        ("998502", "Avonsholt Middle"),
        ("998503", "Malverne Academy"),
    ),
    "893": (("999301", "Wrekinstow Primary"), ("999302", "Temesbridge School"), ("999303", "Ellesbury High")),
    "894": (("999401", "Ironwharf Primary"), ("999402", "Priorsdale Academy"), ("999403", "Newforge School")),
}
"""Schools by unique reference number; no school in England has one that starts with 99."""

PRACTICES: Final = ("Hopkiln Surgery", "Millrace Practice", "Lanternfield Medical Centre", "Withybed Surgery")
LANGUAGES: Final = {
    "English": 90,
    "Polish": 4,
    "Romanian": 2,
    "Bulgarian": 1,
    "Portuguese": 1,
    "Urdu": 1,
    "Welsh": 1,
}
