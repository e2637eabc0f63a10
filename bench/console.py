"""What a person feels: how soon the console is there, how soon the next item is, and what it keeps in memory."""

import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
from playwright.sync_api import Browser, Locator, Page, sync_playwright

from bench import house, server
from bench.databases import Database
from bench.figures import Figure, Table, at_most
from tests.ensure_chromium import chromium_path

START_S = 5.0
IDLE_MB = 350.0
PAINTED_MS = 30.0
CONFIRMED_MS = 150.0
RERUN_MS = 150.0
SCREENS = ("Queue", "Overview", "History", "Labels", "Audit", "Agents", "Policy", "People")
PATIENCE_MS = 30_000
# A press sooner than this after the painting is taken for a slip and refused.
LOOK_MS = 600
IDLE_S = 2.0
TRIES = 3
WARMING = 5  # Runs after which the browser has compiled what a page runs often.

_IDLE = '[data-testid="stApp"][data-test-script-state="notRunning"]'

_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)

# Presses Approve, and resolves with the milliseconds until the headline names another order and has been painted, and
# until the server has confirmed the decision.
_PRESS = """
() => new Promise((resolve, reject) => {
  const surface = document.querySelector(".focus");
  const shown = () => (document.querySelector(".so-sentence") || {}).textContent || "";
  const before = shown();
  const began = performance.now();
  const late = setTimeout(() => reject(new Error("no next item came")), 15000);
  let painted = null, confirmed = null;
  const look = new MutationObserver(() => {
    if (painted === null && shown() !== "" && shown() !== before) {
      painted = 0;
      requestAnimationFrame(() => setTimeout(() => { painted = performance.now() - began; end(); }));
    }
    if (confirmed === null && surface.dataset.unconfirmed === "0") {
      confirmed = performance.now() - began;
      end();
    }
  });
  const end = () => {
    if (!painted || !confirmed) return;
    look.disconnect();
    clearTimeout(late);
    resolve([painted, confirmed]);
  };
  surface.querySelector(".focus-bar .primary").click();
  look.observe(document.body, {
    subtree: true, childList: true, characterData: true, attributes: true, attributeFilter: ["data-unconfirmed"],
  });
  if (shown() !== before) {
    painted = 0;
    requestAnimationFrame(() => setTimeout(() => { painted = performance.now() - began; end(); }));
  }
})
"""
# Presses the link to the page that is open, which runs it anew; resolves with the milliseconds until the run has ended,
# and with null where no run was seen: one whose beginning and end are drawn at once leaves nothing to see.
_RERUN = """
(link) => new Promise((resolve, reject) => {
  const app = document.querySelector('[data-testid="stApp"]');
  const state = () => app.getAttribute("data-test-script-state");
  const began = performance.now();
  const late = setTimeout(() => (ran ? reject(new Error("the run did not end")) : resolve(null)), 15000);
  let ran = false;
  const look = new MutationObserver(() => {
    ran = ran || state() === "running";
    if (!ran || state() !== "notRunning") return;
    look.disconnect();
    clearTimeout(late);
    resolve(performance.now() - began);
  });
  look.observe(app, { attributes: true, attributeFilter: ["data-test-script-state"] });
  link.click();
})
"""


def measure(database: Database, table: Table, folder: Path, *, waiting: int, presses: int) -> None:
    """Start the console on so many waiting items, sign in, look at its memory, and decide item after item."""
    url = database.fresh()
    with house.open_house(url) as opened:
        opened.fill(max(waiting, presses + 5))
    with server.serving(url, folder):
        pass  # The very first start also compiles; the second is what a person meets.
    with _chromium() as browser, server.serving(url, folder) as served:
        page = browser.new_page()
        page.goto(served.url)
        page.get_by_text("You are signed out").wait_for(timeout=PATIENCE_MS)
        painted_after = time.monotonic() - served.began
        goal = at_most(START_S)
        table.add(Figure(database.name, "cold start to /readyz", served.ready_after, "s", goal=goal))
        table.add(Figure(database.name, "cold start to painted sign-in page", painted_after, "s", goal=goal))
        _sign_in(page, served.sign_in_link())
        time.sleep(IDLE_S)
        resident = psutil.Process(served.pid).memory_info().rss / 2**20
        table.add(Figure(database.name, "resident memory, idle", resident, "MiB", goal=at_most(IDLE_MB)))
        painted, confirmed = zip(*(_pressed(page) for _ in range(presses)), strict=True)
        for what, spent, most in (
            ("press to next item painted", painted, PAINTED_MS),
            ("press to decision confirmed", confirmed, CONFIRMED_MS),
        ):
            table.add(
                Figure(
                    database.name, f"{what}, {waiting:,} waiting", statistics.median(spent), "ms", goal=at_most(most)
                )
            )
            table.add(Figure(database.name, f"{what}, slowest", max(spent), "ms"))
        for screen in SCREENS:
            link = page.get_by_role("link", name=screen, exact=True)
            link.click()
            page.get_by_role("heading", name=screen, level=1).wait_for(timeout=PATIENCE_MS)
            runs = [_rerun(page, link) for _ in range(WARMING + presses)]
            median = statistics.median(runs[WARMING:])
            table.add(
                Figure(database.name, f"rerun of {screen}, {waiting:,} waiting", median, "ms", goal=at_most(RERUN_MS))
            )


def _sign_in(page: Page, link: str) -> None:
    page.goto(link)
    page.get_by_role("button", name="Sign in").click()
    page.locator(".so-sentence").wait_for(timeout=PATIENCE_MS)


def _pressed(page: Page) -> tuple[float, float]:
    page.wait_for_timeout(LOOK_MS)
    painted, confirmed = page.evaluate(_PRESS)
    return painted, confirmed


def _rerun(page: Page, link: Locator) -> float:
    for _ in range(TRIES):
        page.locator(_IDLE).wait_for(timeout=PATIENCE_MS)
        page.wait_for_timeout(LOOK_MS)
        took: float | None = link.evaluate(_RERUN)
        if took is not None:
            return took
    raise TimeoutError(TRIES)


@contextmanager
def _chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium_path(), args=list(_FLAGS))
        try:
            yield browser
        finally:
            browser.close()
