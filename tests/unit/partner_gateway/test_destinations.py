import json
from typing import Any

import pytest

from hub_partner_gateway.policies.destinations import (
    HttpDestination,
    PartnersMisconfigured,
    TopicDestination,
    read_destinations,
)

HTTP = {"url": "https://partner.example/mosaic", "token": "s3cret"}
TOPIC = {"topic": True, "principal": "User:herefordshire"}


def test_a_partner_is_reached_at_its_url_or_by_its_topic() -> None:
    setting = {
        "884-childrens_services": HTTP | {"timeout_seconds": 5, "poll_seconds": [1, 2]},
        "885-childrens_services": TOPIC | {"callback_seconds": [60], "retry_seconds": [2]},
    }
    assert read_destinations(json.dumps(setting)) == {
        "884-childrens_services": HttpDestination(
            url="https://partner.example/mosaic",
            token=HTTP["token"],
            timeout_seconds=5.0,
            poll_seconds=(1.0, 2.0),
        ),
        "885-childrens_services": TopicDestination(
            topic=True, principal="User:herefordshire", callback_seconds=(60.0,), retry_seconds=(2.0,)
        ),
    }


def test_without_the_setting_nobody_is_reached() -> None:
    assert read_destinations(None) == {}


def test_a_certificates_name_is_a_principal() -> None:
    setting = {"a": {"topic": True, "principal": "User:CN=reader,OU=Social Care,O=Herefordshire"}}
    assert isinstance(read_destinations(json.dumps(setting))["a"], TopicDestination)


@pytest.mark.parametrize(
    "entry",
    [
        {},
        {"url": "https://partner.example"},
        {"url": "ftp://partner.example", "token": "s3cret"},
        HTTP | TOPIC,
        HTTP | {"principal": "User:s3cret"},
        {"topic": True},
        {"topic": False, "principal": "User:s3cret"},
        {"topic": "s3cret", "principal": "User:herefordshire"},
        TOPIC | {"principal": "s3cret"},
        TOPIC | {"principal": "User:"},
        TOPIC | {"principal": "User:*"},
        TOPIC | {"principal": "User:ANONYMOUS"},
        TOPIC | {"principal": "User:s3cret\nUser:b"},
        TOPIC | {"principal": "User:s3cret'"},
        TOPIC | {"poll_seconds": [1]},
        TOPIC | {"retry_seconds": [0]},
    ],
)
def test_what_cannot_be_used_is_refused_without_echoing_it(entry: dict[str, Any]) -> None:
    with pytest.raises(PartnersMisconfigured) as refused:
        read_destinations(json.dumps({"884-childrens_services": entry}))
    assert "s3cret" not in str(refused.value)


@pytest.mark.parametrize("setting", ["[]", "{", '{"a": 1}', '{"a": []}'])
def test_what_is_no_map_of_partners_is_refused(setting: str) -> None:
    with pytest.raises(PartnersMisconfigured):
        read_destinations(setting)
