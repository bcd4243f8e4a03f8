"""Identifiers that check but belong to nobody: numbers, postcodes and telephones kept free for such use."""

from typing import Final

from hub_embedded.demo.dice import Dice
from hub_schemas.check_digits import UPN_LETTERS
from hub_schemas.codes import Authority

_UNUSED_POSTCODE_LETTERS: Final = "CIKMOV"
_NHS_SERIALS: Final = 100_000
_TEN: Final = 10


def nhs_number(serial: int) -> str:
    """The NHS number of this serial (0 to 99,999, all different) in the range 999, which is kept for tests.

    Source: NHS Data Dictionary, NHS NUMBER. Where the check digit would be 10 the last free digit moves on by
    one, which moves the check digit as well.
    """
    for spare in "01":
        body = f"999{serial % _NHS_SERIALS:05d}{spare}"
        weighted = sum(weight * int(digit) for weight, digit in zip(range(10, 1, -1), body, strict=True))
        check = (11 - weighted % 11) % 11
        if check < _TEN:
            break
    return f"{body}{check}"


def unique_pupil_number(authority: Authority, serial: int) -> str:
    """A permanent pupil number of this authority. Source: DfE, Unique pupil numbers guide."""
    body = f"{authority}{serial % 1_000_000_000:09d}"
    weighted = sum(weight * int(digit) for weight, digit in zip(range(2, 14), body, strict=True))
    return UPN_LETTERS[weighted % len(UPN_LETTERS)] + body


def mobile_number(dice: Dice) -> str:
    """A number from the mobile range Ofcom keeps for drama."""
    return f"07700 900{dice.whole(0, 999):03d}"


def office_number(dice: Dice) -> str:
    """A number from the geographic range Ofcom keeps for drama."""
    return f"01632 960{dice.whole(0, 999):03d}"


def postcode(outward: str, dice: Dice) -> str:
    """A postcode of this district that no address has: its last letters are never used there."""
    letters = dice.pick(_UNUSED_POSTCODE_LETTERS) + dice.pick(_UNUSED_POSTCODE_LETTERS)
    return f"{outward} {dice.whole(0, 9)}{letters}"
