import json

import pytest

from hub_intake.api.cloudevents import (
    EVENT_TYPE,
    EnvelopeMalformed,
    check_binary,
    is_binary,
    unwrap_structured,
)

ENVELOPE = {"specversion": "1.0", "id": "e-1", "source": "/rms", "type": EVENT_TYPE}
HEADERS = {f"ce-{name}": value for name, value in ENVELOPE.items()}


def fields_of(body: bytes) -> dict[str, str]:
    with pytest.raises(EnvelopeMalformed) as caught:
        unwrap_structured(body)
    return caught.value.fields


def test_the_data_of_a_structured_event_comes_out_byte_for_byte() -> None:
    body = b'{"extension": 5, "data": {"b" :1}, ' + json.dumps(ENVELOPE).encode()[1:]
    assert unwrap_structured(body) == b'{"b" :1}'


@pytest.mark.parametrize(
    ("change", "fields"),
    [
        ({"data": {}, "specversion": "0.3"}, {"specversion": "must be 1.0"}),
        ({"data": {}, "type": "other"}, {"type": f"must be {EVENT_TYPE}"}),
        ({"data": {}, "id": None, "source": ""}, {"id": "is missing", "source": "is missing"}),
        ({"data": {}, "datacontenttype": "text/xml"}, {"datacontenttype": "must be application/json"}),
        ({}, {"data": "is missing"}),
        ({"id": 7}, {"(envelope)": "is not a JSON object of text attributes"}),
    ],
)
def test_an_envelope_fault_names_the_attribute(change: dict[str, object], fields: dict[str, str]) -> None:
    assert fields_of(json.dumps(ENVELOPE | change).encode()) == fields


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'"\xff"', b'{"data":' + b"[" * 200_000])
def test_bytes_that_are_no_envelope_are_refused(body: bytes) -> None:
    assert fields_of(body) == {"(envelope)": "is not a JSON object of text attributes"}


def test_binary_mode_is_known_by_its_headers_and_checked() -> None:
    assert is_binary(HEADERS)
    assert not is_binary({"content-type": "application/json"})
    check_binary(HEADERS)


def test_a_binary_event_of_another_type_is_refused_by_header_name() -> None:
    with pytest.raises(EnvelopeMalformed) as caught:
        check_binary(HEADERS | {"ce-type": "other"})
    assert caught.value.fields == {"ce-type": f"must be {EVENT_TYPE}"}
