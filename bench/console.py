"""What a person feels: how soon the console is there, how soon the next item is, and what it keeps in memory."""

import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
from playwright.sync_api import Browser, Page, sync_playwright

from bench import house, server
from bench.databases import Database
from bench.figures import Figure, Table, at_most
from bench.workload import seed
from tests.ensure_chromium import chromium_path

START_S = 5.0
IDLE_MB = 350.0
NEXT_MS = 150.0
PATIENCE_MS = 30_000
# A press sooner than this after the painting is taken for a slip and refused.
LOOK_MS = 600
IDLE_S = 2.0

_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)

# Presses Approve, and resolves with the milliseconds until the headline names another order and has been painted.
_PRESS = """
() => new Promise((resolve, reject) => {
  const shown = () => (document.querySelector(".so-sentence") || {}).textContent || "";
  const before = shown();
  const button = [...document.querySelectorAll("button")].find((one) => one.innerText.trim().endsWith("Approve"));
  const began = performance.now();
  const late = setTimeout(() => reject(new Error("no next item came")), 15000);
  const look = new MutationObserver(() => {
    if (shown() === "" || shown() === before) return;
    look.disconnect();
    clearTimeout(late);
    requestAnimationFrame(() => setTimeout(() => resolve(performance.now() - began)));
  });
  look.observe(document.body, {subtree: true, childList: true, characterData: true});
  button.click();
})
"""


def measure(database: Database, table: Table, folder: Path, *, presses: int) -> None:
    """Start the console, sign in, look at its memory, and decide item after item."""
    url = database.fresh()
    with house.open_house(url) as opened:
        seed(opened.store, presses + 5)
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
        spent = [_pressed(page) for _ in range(presses)]
        median = statistics.median(spent)
        table.add(Figure(database.name, "press to next item in Chromium", median, "ms", goal=at_most(NEXT_MS)))
        table.add(Figure(database.name, "press to next item in Chromium, slowest", max(spent), "ms"))


def _sign_in(page: Page, link: str) -> None:
    page.goto(link)
    page.get_by_role("button", name="Sign in").click()
    page.locator(".so-sentence").wait_for(timeout=PATIENCE_MS)


def _pressed(page: Page) -> float:
    page.wait_for_timeout(LOOK_MS)
    took: float = page.evaluate(_PRESS)
    return took


@contextmanager
def _chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium_path(), args=list(_FLAGS))
        try:
            yield browser
        finally:
            browser.close()
