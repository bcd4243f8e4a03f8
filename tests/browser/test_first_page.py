"""The first page in a real browser: it shows what happens while it happens, and says so when it cannot."""

import asyncio
import json
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest
import uvicorn
from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Page, async_playwright, expect
from tests.component.oversight_courses import NOW, Course, World, a_crowd, in_turns

from hub_kernel.clock import FixedClock
from hub_oversight.service import SERVICE

CHROMIUM = os.environ.get("HUB_TEST_CHROMIUM") or shutil.which("chromium")  # noqa: TID251  where a test finds its browser
FULL = Path(__file__).parents[1] / "unit" / "intake" / "full_referral.json"
FLAGS = (
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
assert CHROMIUM is not None, "needs Chromium: install it or set HUB_TEST_CHROMIUM"


@pytest.fixture
async def world(start_hub: Any) -> AsyncIterator[World]:
    clock = FixedClock(NOW)
    hub = await start_hub([SERVICE], clock=clock)
    async with asyncpg.create_pool(hub.dsn, min_size=1, max_size=4) as pool:
        told = World(hub, pool, clock)
        await told.say(*in_turns(a_crowd(120), seed=11))
        await told.heard()
        yield told


@asynccontextmanager
async def served(world: World, port: int = 0) -> AsyncIterator[str]:
    """The hub behind a real port of loopback; gives its base URL."""
    config = uvicorn.Config(world.hub.hub.app, host="127.0.0.1", port=port, log_config=None, access_log=False)
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    async with asyncio.timeout(10):
        while not server.started:  # noqa: ASYNC110  uvicorn offers no event to await
            await asyncio.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        await serving


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    flags = [*FLAGS, "--no-sandbox"] if os.geteuid() == 0 else FLAGS
    async with async_playwright() as playwright:
        opened = await playwright.chromium.launch(executable_path=CHROMIUM, args=[*flags])
        yield opened
        await opened.close()


@dataclass
class Watched:
    """A browser context, with all it asked for and every fault it complained of."""

    context: BrowserContext
    asked_hosts: set[str | None] = field(default_factory=set)
    faults: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.context.on("request", lambda request: self.asked_hosts.add(urlsplit(request.url).hostname))
        self.context.on("console", self._heed)
        self.context.on("weberror", lambda error: self.faults.append(str(error.error)))

    def _heed(self, said: ConsoleMessage) -> None:
        if said.type == "error":
            self.faults.append(said.text)

    async def sign_in(self, world: World, base_url: str) -> Page:
        """Open the hub by its one-time link."""
        assert world.hub.hub.sign_in is not None
        page = await self.context.new_page()
        await page.goto(world.hub.hub.sign_in.link(base_url))
        return page


async def test_the_page_shows_referrals_and_follows_them_without_a_fault_or_a_call_abroad(
    world: World, browser: Browser, tmp_path: Path
) -> None:
    async with served(world) as base_url:
        watched = Watched(await browser.new_context(viewport={"width": 1280, "height": 900}))
        page = await watched.sign_in(world, base_url)
        await expect(page).to_have_title("Referrals now - Referral hub")
        await expect(page.locator('[data-live="arrivals"] tbody tr')).to_have_count(20)
        waiting = page.locator('[data-live="tile-waiting"] .tile-number')
        before = int(await waiting.inner_text())

        newcomer = Course(
            number=5_000, received_at=NOW + timedelta(minutes=1), level_of_need="red", graded=0.04
        )
        world.clock.instant = newcomer.at(5)
        await world.say(*newcomer.intake(), *newcomer.triage())

        await expect(waiting).to_have_text(str(before + 1))
        first = page.locator('[data-live="arrivals"] tbody tr').first
        await expect(first).to_have_attribute("data-row", str(newcomer.referral_id))
        await expect(first).to_contain_text("Red")
        await expect(first).to_contain_text("in 59 min")
        await page.screenshot(path=tmp_path / "now.png", full_page=True)

        await first.get_by_role("link").click()
        await expect(page.get_by_role("heading", level=1)).to_have_text("Referral 00001388")
        await expect(page.locator(".timeline-sentence")).to_have_text(
            [
                "Received from records: child, 1 subject, the youngest 5 to 10, Shropshire; 0% complete.",
                "Graded medium, level of need red, as no rule spoke.",
                "The assessment clock started: 1 h round the clock, due 11 Mar 2026 at 10:01.",
            ]
        )
        await page.screenshot(path=tmp_path / "referral.png", full_page=True)
        assert watched.faults == []
        assert watched.asked_hosts == {"127.0.0.1"}


async def test_the_page_says_when_the_hub_stops_answering_and_when_it_is_back(
    world: World, browser: Browser
) -> None:
    watched = Watched(await browser.new_context())
    async with served(world) as base_url:
        page = await watched.sign_in(world, base_url)
        await expect(page.get_by_role("heading", level=1)).to_be_visible()
    alarm = page.get_by_role("alert")
    await expect(alarm).to_have_text(
        "The hub has stopped answering. This page shows how things stood on 11 Mar 2026 at 09:00:00."
        " Trying again."
    )
    world.clock.instant = NOW + timedelta(minutes=2)
    async with served(world, port=urlsplit(base_url).port or 0):
        await expect(page.locator('[data-live="as-of"]')).to_contain_text("11 Mar 2026 at 09:02:00")
        await expect(alarm).to_be_hidden()
        await expect(page.get_by_role("status")).to_have_text("The hub answers again. The page is current.")


async def test_updates_wait_while_they_are_paused_and_the_keyboard_keeps_its_place(
    world: World, browser: Browser
) -> None:
    async with served(world) as base_url:
        page = await Watched(await browser.new_context()).sign_in(world, base_url)
        link = page.locator('[data-live="arrivals"] a').nth(3)
        await link.focus()
        focused = await link.get_attribute("id")
        world.clock.instant = NOW + timedelta(minutes=1)
        as_of = page.locator('[data-live="as-of"]')
        await expect(as_of).to_contain_text("09:01:00")
        assert await page.evaluate("document.activeElement.id") == focused

        pause = page.get_by_role("button", name="Pause updates")
        await pause.click()
        await expect(pause).to_have_attribute("aria-pressed", "true")
        world.clock.instant = NOW + timedelta(minutes=2)
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        await page.wait_for_timeout(4_500)  # more than two turns of the refresh
        assert asked == []
        await expect(as_of).to_contain_text("09:01:00")
        await pause.click()
        await expect(as_of).to_contain_text("09:02:00")


async def test_without_javascript_the_page_is_whole_and_asks_to_be_loaded_again(
    world: World, browser: Browser
) -> None:
    async with served(world) as base_url:
        page = await Watched(await browser.new_context(java_script_enabled=False)).sign_in(world, base_url)
        await expect(page.locator('[data-live="arrivals"] tbody tr')).to_have_count(20)
        await expect(page.get_by_role("button")).to_have_count(0)
        assert '<meta http-equiv="refresh" content="10">' in await page.content()


async def test_the_page_reflows_on_a_narrow_screen(world: World, browser: Browser) -> None:
    """WCAG 2.2, 1.4.10: at 320 CSS pixels nothing but a table scrolls sideways."""
    async with served(world) as base_url:
        narrow = await browser.new_context(viewport={"width": 320, "height": 640})
        page = await Watched(narrow).sign_in(world, base_url)
        assert await page.evaluate("document.documentElement.scrollWidth") == 320


async def test_a_posted_referral_is_graded_and_sent_on_before_the_eyes_of_an_operator(
    start_hub: Any, browser: Browser
) -> None:
    """The four services together, from the records system's post to the page."""
    hub = await start_hub()
    async with asyncpg.create_pool(hub.dsn, min_size=1, max_size=1) as pool:
        world = World(hub, pool, FixedClock(NOW))
        async with served(world) as base_url:
            page = await Watched(await browser.new_context()).sign_in(world, base_url)
            await expect(page.get_by_text("No referral has been received yet.")).to_be_visible()
            async with hub.client("records_system", system="west-mercia-rms") as records_system:
                posted = await records_system.post("/v1/referrals", json=json.loads(FULL.read_bytes()))
            assert posted.status_code == 201
            row = page.locator(f'[data-row="{posted.json()["referral_id"]}"]').first
            await expect(row).to_contain_text("Domestic abuse")
            await expect(row.locator(".tag")).not_to_have_text("Not graded")
            await row.get_by_role("link").click()
            await expect(page.locator(".timeline-sentence").first).to_contain_text(
                "Received from west-mercia-rms"
            )
            await expect(page.locator(".source-triage").first).to_contain_text("Graded")
            await expect(page.locator(".source-partner_gateway").first).to_contain_text("A contact for")
