"""``hub run``: the hub itself, alone or with the demo day coming in."""

from typing import Annotated, ClassVar

import typer

from hub_embedded.demo.generator import SEED
from hub_embedded.demo.run import DAY_SPEED, run_demo_day, run_hub
from hub_embedded.launch import start
from hub_kernel.errors import Rejected
from hub_kernel.settings import Settings


class DemoNeedsEmbeddedHub(Rejected):
    """Invented people belong in an embedded hub only. Unset HUB_DATABASE_URL and HUB_ISSUER."""

    slug: ClassVar[str] = "demo-needs-embedded-hub"


def run(
    *,
    demo: Annotated[bool, typer.Option("--demo", help="With the demo day and simulated partners.")] = False,
    speed: Annotated[float, typer.Option(min=0.1, max=10_000, help="Demo day: times real time.")] = DAY_SPEED,
    seed: Annotated[int, typer.Option(help="Demo day: another number, other people.")] = SEED,
) -> None:
    """Run the hub until Ctrl-C; a second Ctrl-C ends it at once."""
    settings = Settings()
    if not demo:
        start(run_hub(settings))
        return
    if settings.database_url is not None or settings.has_real_issuer:
        raise DemoNeedsEmbeddedHub
    start(run_demo_day(settings, speed=speed, seed=seed))
