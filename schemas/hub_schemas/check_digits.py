"""Check digits of the identifiers a referral carries: pure arithmetic, no look-ups."""

from typing import Final

UPN_LETTERS: Final = "ABCDEFGHJKLMNPQRTUVWXYZ"
"""The alphabet of pupil numbers, without I, O and S; a letter's place is its value, 0 to 22."""

_NHS_LENGTH: Final = 10
_UPN_LENGTH: Final = 13
_DIGITS: Final = frozenset("0123456789")


def is_nhs_number(text: str) -> bool:
    """Whether ten digits carry the right check digit (modulus 11 over weights 10 to 2).

    A remainder that would need a check digit of 10 is never issued. Source: NHS Data Dictionary, NHS NUMBER.
    """
    if len(text) != _NHS_LENGTH or not _DIGITS.issuperset(text):
        return False
    weighted = sum(weight * int(digit) for weight, digit in zip(range(10, 0, -1), text, strict=True))
    return weighted % 11 == 0


def is_upn(text: str) -> bool:
    """Whether a unique pupil number carries the right check letter, permanent or temporary.

    One check letter, then twelve digits; a temporary number ends in a letter instead of its last digit.
    The twelve are weighted 2 to 13 and the sum taken modulo 23. Source: DfE, Unique pupil numbers guide.
    """
    if len(text) != _UPN_LENGTH or not _DIGITS.issuperset(text[1:-1]):
        return False
    last = text[-1]
    if last in _DIGITS:
        values = [int(digit) for digit in text[1:]]
    elif last in UPN_LETTERS:
        values = [*(int(digit) for digit in text[1:-1]), UPN_LETTERS.index(last)]
    else:
        return False
    weighted = sum(weight * value for weight, value in zip(range(2, 14), values, strict=True))
    return text[0] == UPN_LETTERS[weighted % len(UPN_LETTERS)]
