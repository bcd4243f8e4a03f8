"""How long the chaos goes on: ``make chaos KILLS=500``, ``pytest tests/chaos --kills 500 --chaos-seed 7``.

``KILLS`` counts those of the hub in one process and, as many again, those over its process-level twin.
"""

import os

import pytest

ASKED_KILLS = int(os.environ.get("HUB_CHAOS_KILLS", "0"))  # noqa: TID251  a switch of this test alone
EMBEDDED_KILLS, TOPOLOGY_KILLS = 20, 40
"""Where nobody asks for more: what an ordinary run of all tests has time for."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--kills", type=int, default=ASKED_KILLS, help="how often something is killed")
    parser.addoption("--chaos-seed", type=int, default=1, help="another number, other moments")


@pytest.fixture(scope="session")
def kills(request: pytest.FixtureRequest) -> int:
    """How many kills this run is worth to the hub in one process."""
    return int(request.config.getoption("--kills", ASKED_KILLS)) or EMBEDDED_KILLS


@pytest.fixture(scope="session")
def chaos_seed(request: pytest.FixtureRequest) -> int:
    """Decides every moment at which something is killed."""
    return int(request.config.getoption("--chaos-seed", 1))


@pytest.fixture(scope="session")
def topology_kills(request: pytest.FixtureRequest) -> int:
    """How many kills the process-level twin is worth."""
    return int(request.config.getoption("--kills", ASKED_KILLS)) or TOPOLOGY_KILLS
