import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub_schemas.check_digits import UPN_LETTERS, is_nhs_number, is_upn

nine_digits = st.text("0123456789", min_size=9, max_size=9)
twelve_digits = st.text("0123456789", min_size=12, max_size=12)


def nhs_number(body: str) -> str | None:
    return next((body + digit for digit in "0123456789" if is_nhs_number(body + digit)), None)


def upn(body: str) -> str:
    return next(letter + body for letter in UPN_LETTERS if is_upn(letter + body))


nhs_numbers = nine_digits.map(nhs_number).filter(bool)
upns = twelve_digits.map(upn)


@pytest.mark.parametrize("number", ["9434765919", "4010232137", "9990012350"])
def test_a_published_or_test_nhs_number_is_accepted(number: str) -> None:
    assert is_nhs_number(number)


@pytest.mark.parametrize(
    "number", ["", "943476591", "94347659190", "943476591a", "943 476 5919", "٩٤٣٤٧٦٥٩١٩"]
)
def test_what_is_not_ten_ascii_digits_is_no_nhs_number(number: str) -> None:
    assert not is_nhs_number(number)


@given(nine_digits)
def test_each_nhs_body_has_one_check_digit_or_is_never_issued(body: str) -> None:
    right = [digit for digit in "0123456789" if is_nhs_number(body + digit)]
    weighted = sum(weight * int(digit) for weight, digit in zip(range(10, 1, -1), body, strict=True))
    assert len(right) == (0 if (11 - weighted % 11) == 10 else 1)


@given(nhs_numbers, st.integers(0, 9), st.integers(1, 9))
def test_any_single_digit_changed_in_an_nhs_number_is_refused(number: str, place: int, by: int) -> None:
    changed = number[:place] + str((int(number[place]) + by) % 10) + number[place + 1 :]
    assert not is_nhs_number(changed)


@given(nhs_numbers, st.integers(0, 8))
def test_two_differing_neighbours_swapped_in_an_nhs_number_are_refused(number: str, place: int) -> None:
    swapped = number[:place] + number[place + 1] + number[place] + number[place + 2 :]
    assert is_nhs_number(swapped) == (number[place] == number[place + 1])


@given(twelve_digits)
def test_each_pupil_number_body_has_exactly_one_check_letter(body: str) -> None:
    assert sum(is_upn(letter + body) for letter in UPN_LETTERS) == 1


@given(upns, st.integers(1, 12), st.integers(1, 9))
def test_any_single_digit_changed_in_a_pupil_number_is_refused(number: str, place: int, by: int) -> None:
    changed = number[:place] + str((int(number[place]) + by) % 10) + number[place + 1 :]
    assert not is_upn(changed)


@given(upns, st.integers(1, 11))
def test_two_differing_neighbours_swapped_in_a_pupil_number_are_refused(number: str, place: int) -> None:
    swapped = number[:place] + number[place + 1] + number[place] + number[place + 2 :]
    assert is_upn(swapped) == (number[place] == number[place + 1])


def test_a_temporary_pupil_number_ends_in_a_letter_that_counts() -> None:
    assert is_upn("U88420001800A")
    assert not is_upn("U88420001800B")


@pytest.mark.parametrize("number", ["", "H88420001800", "H8842000180011", "h884200018001", "I884200018001"])
def test_what_has_not_the_shape_of_a_pupil_number_is_none(number: str) -> None:
    assert not is_upn(number)


def test_the_pupil_number_alphabet_leaves_out_the_letters_mistaken_for_digits() -> None:
    assert len(UPN_LETTERS) == 23
    assert not set("IOS") & set(UPN_LETTERS)
