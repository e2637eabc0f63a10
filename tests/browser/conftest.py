"""One console and one Chromium for each worker; a fresh browser profile and fresh people for each test."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, expect, sync_playwright
from uuid_utils.compat import uuid7

from review.people import Person, Role
from tests.browser.agent import WorkingAgent
from tests.browser.house import House, running
from tests.browser.visitor import PATIENCE_MS, STILLNESS, Visitor, Watch
from tests.ensure_chromium import chromium_path

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

# A browser, a server and an agent share what is left of a busy machine: what a page did not show in time is looked for
# once more, and the summary counts it. What was seen and is wrong is never tried again.
TRIED_AGAIN = pytest.mark.flaky(
    reruns=1, only_rerun=["TimeoutError", "(Locator|Page) expected", "strict mode violation"]
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker(TRIED_AGAIN)


# The scope matters: while Playwright holds its event loop, no test elsewhere could run one of its own.
@pytest.fixture(scope="package")
def chromium() -> Iterator[Browser]:
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium_path(), args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="package")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with running(tmp_path_factory.mktemp("house")) as house:
        yield house


@pytest.fixture(scope="package")
def profiles() -> list[BrowserContext]:
    """Browser profiles that tests use one after the other: their caches stay, their cookies go."""
    return []


@pytest.fixture
def strangers(chromium: Browser, profiles: list[BrowserContext]) -> Iterator[Callable[[House], Visitor]]:
    """Makes visitors with browsers of their own, not signed in; each is watched to the end of the test."""
    watches: list[Watch] = []

    def come(house: House) -> Visitor:
        if len(watches) == len(profiles):
            profiles.append(chromium.new_context(viewport={"width": 1440, "height": 900}))
            profiles[-1].set_default_timeout(PATIENCE_MS)
            profiles[-1].add_init_script(STILLNESS)
        watches.append(Watch(house.url, profiles[len(watches)]))
        watches[-1].known_hosts.update(house.known_hosts)
        return Visitor(house, watches[-1].context.new_page())

    yield come
    for watch in watches:
        watch.end()
    assert [fault for watch in watches for fault in watch.faults] == []


@pytest.fixture
def stranger(house: House, strangers: Callable[[House], Visitor]) -> Visitor:
    return strangers(house)


@pytest.fixture
def people(house: House, strangers: Callable[[House], Visitor]) -> Callable[[str], Visitor]:
    """Makes people with every role, signed in in browsers of their own, on the Review screen."""

    def come(name: str) -> Visitor:
        visitor = strangers(house)
        visitor.page.goto(house.link(_anybody(name)))
        visitor.page.get_by_role("button", name="Sign in").click()
        visitor.wait()
        return visitor

    return come


@pytest.fixture
def bystanders(house: House, strangers: Callable[[House], Visitor]) -> Callable[[str, str], Visitor]:
    """Makes people with every role who go straight to an address: no Review screen of theirs may take what comes."""

    def come(name: str, address: str) -> Visitor:
        visitor = strangers(house)
        answer = visitor.page.request.post(house.link(_anybody(name)), headers={"Origin": house.url}, max_redirects=0)
        assert answer.status == 303
        visitor.open(address)
        return visitor

    return come


def _anybody(name: str) -> Person:
    return Person("https://id.example.com", uuid7().hex, name, frozenset(Role))


@pytest.fixture
def ada(people: Callable[[str], Visitor]) -> Visitor:
    return people("Ada Lovelace")


@pytest.fixture
def agent(house: House) -> Iterator[WorkingAgent]:
    """An agent of this test alone; what nobody decided is withdrawn after it."""
    name = f"shop_{uuid7().hex[-8:]}"
    with ThreadPoolExecutor(max_workers=4) as beside:
        agent = WorkingAgent(name, house.url, house.agent_key(name), beside)
        yield agent
        agent.ends()
    agent.gate.close()
