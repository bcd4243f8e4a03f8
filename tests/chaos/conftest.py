"""How long the chaos goes on: ``python -m pytest tests/chaos --kills 500 --chaos-seed 7``."""

import pytest

DEFAULT_KILLS = 50


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--kills", type=int, default=DEFAULT_KILLS, help="how often something is killed")
    parser.addoption("--chaos-seed", type=int, default=1, help="another number, other moments")


@pytest.fixture(scope="session")
def kills(request: pytest.FixtureRequest) -> int:
    """How many kills this run is worth."""
    return int(request.config.getoption("--kills", DEFAULT_KILLS))


@pytest.fixture(scope="session")
def chaos_seed(request: pytest.FixtureRequest) -> int:
    """Decides every moment at which something is killed."""
    return int(request.config.getoption("--chaos-seed", 1))
