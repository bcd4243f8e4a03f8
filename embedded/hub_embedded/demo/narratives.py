"""Free text as officers write it, from templates; it names people, so it must never be found in clear."""

from collections.abc import Mapping
from typing import Final

from hub_embedded.demo.dice import Dice
from hub_embedded.demo.people import Household, Individual
from hub_schemas.codes import ReferralType

_OPENINGS: Final[Mapping[ReferralType, tuple[str, ...]]] = {
    "domestic_abuse": (
        "{first} rang at {time} to say that {second} had come to {street} shouting and would not leave.",
        "A neighbour reported raised voices from {street}; {first} answered the door in tears.",
        "{first} attended the front counter and spoke of an argument with {second} at {street}.",
        "Call from {street}: {first} whispered that {second} was there and then the line went dead.",
    ),
    "missing": (
        "{about} was reported missing from {street} at {time} and had not been seen since the afternoon.",
        "{first} rang because {about} had not come home to {street} by {time}.",
        "Staff and friends could not reach {about}, last seen near {street} with a rucksack.",
    ),
    "child": (
        "Officers went to {street} on another matter and found {about} in the living room.",
        "A teacher told the neighbourhood team that {about} had come to school hungry again.",
        "{about} told an officer on patrol near {street} about what happens at home at night.",
    ),
    "adult": (
        "{about} was found confused in {street} at {time} and could not say where home was.",
        "A carer reported that {about} of {street} had handed over money to two callers.",
        "Welfare check on {about} at {street}: the house was cold and there was little food.",
    ),
}
_WITH_CHILDREN: Final = (
    "{child} was awake upstairs and could hear what was said.",
    "{child} stood between the adults and asked them to stop.",
    "{child} was asleep throughout, according to {first}.",
)
_MIDDLES: Final = (
    "{first} was spoken to alone and was guarded at first, then gave an account which was recorded.",
    "Body-worn video shows the state of the hallway and what {first} said about last week.",
    "{first} said that it has been getting worse since the summer and that nobody had been told before.",
    "The house was tidy; there was food in the kitchen and {first} engaged well with officers.",
)
_WITH_SECOND: Final = (
    "{second} had left before police came and was later found at a friend's address.",
    "{second} denied everything and said that {first} had made it up.",
    "{second} was told to stay away and agreed to sleep elsewhere tonight.",
)
_ENDINGS: Final = (
    "Advice was given and {first} asked that nobody telephone before ten in the morning.",
    "No further police action was sought by {first}; this report is for the partner agencies to consider.",
    "Officers left {first} with a crime number and the telephone number of the local support service.",
)
_CHILD_WORDS: Final = (
    "I don't like it when {second} shouts at {first}.",
    "I just want everyone at home to be friends.",
    "I hide behind the sofa with my rabbit until it goes quiet.",
    "{first} told me not to say anything.",
)
_DEMEANOURS: Final = (
    "quiet and watchful",
    "tearful but calm",
    "chatty and relaxed",
    "clung to an older sibling",
)
_ADULT_WISHES: Final = (
    "{name} wants the visits to stop and would like somebody to talk to.",
    "{name} wants help with the shopping and nothing more.",
    "{name} would like to move nearer to family.",
)


def narrative(kind: ReferralType, home: Household, about: Individual, time: str, dice: Dice) -> str:
    """The officer's account of what happened, in three to six sentences."""
    sentences = [dice.pick(_OPENINGS[kind])]
    if kind == "domestic_abuse" and home.children:
        sentences.append(dice.pick(_WITH_CHILDREN))
    sentences += dice.several(_MIDDLES, dice.whole(1, 2))
    if home.second is not None:
        sentences.append(dice.pick(_WITH_SECOND))
    sentences.append(dice.pick(_ENDINGS))
    return " ".join(sentences).format_map(_words(home, about) | {"time": time})


def child_words(home: Household, dice: Dice) -> str:
    """What a child said, in the child's words."""
    return dice.pick(_CHILD_WORDS).format_map(_words(home, home.first))


def demeanour(dice: Dice) -> str:
    """How a child seemed."""
    return dice.pick(_DEMEANOURS)


def adult_wish(person: Individual, dice: Dice) -> str:
    """What an adult wants to come of it."""
    return dice.pick(_ADULT_WISHES).format(name=person.given)


def later_information(home: Household, dice: Dice) -> str:
    """What an officer adds hours later."""
    return dice.pick(
        (
            "{first} rang back and said that {second} has sent eleven messages since the officers left.",
            "The school telephoned: {child} was not in class today and {first} does not answer.",
            "Neighbours at {street} have now given statements which support what {first} said.",
        )
    ).format_map(_words(home, home.first))


def rationale(grade: str, home: Household, dice: Dice) -> str:
    """Why the officer graded it so."""
    return dice.pick(
        (
            "Graded {grade} on what {first} disclosed and the history at this address.",
            "I consider {first} to be at {grade} risk given what I saw and heard tonight.",
            "{grade} risk: {first} has support from family close by.",
        )
    ).format_map(_words(home, home.first) | {"grade": grade})


def _words(home: Household, about: Individual) -> dict[str, str]:
    return {
        "first": home.first.name,
        "second": home.second.name if home.second else "a former friend",
        "child": home.children[0].given if home.children else "a visiting child",
        "about": about.name,
        "street": home.lines[0],
    }
