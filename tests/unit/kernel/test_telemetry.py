import sys

from hub_kernel.telemetry import _without_traceback_values, current_traceparent

SECRET = "Jane Doe of 12 Acacia Avenue"  # noqa: S105  a name, to look for where none may be


def handle(name: str) -> None:
    raise ValueError(name)


def test_a_logged_exception_is_its_class_and_its_place_and_none_of_its_text() -> None:
    try:
        handle(SECRET)
    except ValueError:
        line = _without_traceback_values(None, "error", {"event": "failed", "exc_info": True})
    assert sys.exc_info()[1] is None
    assert line == {
        "event": "failed",
        "error": "ValueError",
        "error_at": f"handle:{handle.__code__.co_firstlineno + 1}",
    }


def test_a_line_without_an_exception_stays_as_it_is() -> None:
    assert _without_traceback_values(None, "info", {"event": "fine"}) == {"event": "fine"}


def test_without_a_collector_nothing_is_traced() -> None:
    assert current_traceparent() is None
