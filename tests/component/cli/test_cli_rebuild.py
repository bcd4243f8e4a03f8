from typing import Any

STRAY = "INSERT INTO oversight.deliveries VALUES (gen_random_uuid(), '893', 'planned', false)"


async def test_read_models_that_hold_what_the_logs_say_equal_their_rebuild(recorded: Any) -> None:
    code, out, error = await recorded.hub("rebuild", "oversight")
    assert (code, error) == (0, "")
    assert out == "0 events folded again; 0 left out, being parked.\nThe rebuilt equal the live ones.\n"


async def test_a_read_model_that_differs_is_found_and_then_replaced(recorded: Any) -> None:
    await recorded.tamper(STRAY)
    found = await recorded.hub("rebuild", "oversight")
    replaced = await recorded.hub("rebuild", "oversight", "--replace")
    again = await recorded.hub("rebuild", "oversight")
    differing = "deliveries: 1 differing\nThe rebuilt differ from the live ones.\n"
    assert (found[0], found[1].endswith(differing)) == (1, True)
    assert (replaced[0], replaced[1].endswith(differing + "The rebuilt are in their place.\n")) == (0, True)
    assert (again[0], again[1].endswith("The rebuilt equal the live ones.\n")) == (0, True)


async def test_only_services_with_read_models_can_be_rebuilt(recorded: Any) -> None:
    code, out, error = await recorded.hub("rebuild", "intake")
    assert (code, out, "'intake' is not" in error) == (2, "", True)
