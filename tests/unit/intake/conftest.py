import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hub_schemas.referral import Referral

FULL = Path(__file__).parent / "full_referral.json"
THIN: dict[str, Any] = {
    "document_version": 1,
    "source": {"system": "west-mercia-rms", "record_id": "22/1/26", "version": 1},
    "force": "west-mercia",
    "authority": "893",
    "referral_type": "child",
    "times": {"submitted_at": "2026-03-07T01:15:00+00:00"},
    "subjects": [{"ref": "child-1", "kind": "child"}],
}

Json = dict[str, Any]


@pytest.fixture
def full() -> Json:
    """A referral with every field filled in, about nobody."""
    content: Json = json.loads(FULL.read_bytes())
    return content


@pytest.fixture
def thin() -> Json:
    """The least a referral may say."""
    content: Json = json.loads(json.dumps(THIN))
    return content


@pytest.fixture
def read() -> Callable[[Json], Referral]:
    """Read a document as the edge does: from JSON bytes."""
    return lambda content: Referral.model_validate_json(json.dumps(content))
