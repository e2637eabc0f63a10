"""Signing in with a real identity provider in real browsers: in, a second tab, out, another role, an ended session."""

import json
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from urllib.error import URLError

import pytest
from playwright.sync_api import expect

from review.people import Person, Role
from review.roster import Roster
from review.sessions import Sessions
from tests.browser.house import House, running
from tests.browser.visitor import Visitor
from tests.outside import a_port
from tests.waiting import PATIENCE_SECONDS, eventually

pytestmark = pytest.mark.browser

GATE = "You are signed out"


@dataclass(frozen=True, slots=True)
class MockProvider:
    """The provider of oidc-provider-mock, a program of its own."""

    url: str

    def knows(self, sub: str, **claims: object) -> None:
        """Let there be somebody of this subject, of whom the provider claims this."""
        request = urllib.request.Request(  # noqa: S310 -- our own address
            f"{self.url}/users/{sub}",
            data=json.dumps(claims).encode(),
            headers={"Content-Type": "application/json"},
            method="PUT",
        )
        urllib.request.urlopen(request, timeout=PATIENCE_SECONDS).close()  # noqa: S310 -- as above

    def is_ready(self) -> bool:
        """Tell whether it answers."""
        try:
            urllib.request.urlopen(f"{self.url}/jwks", timeout=PATIENCE_SECONDS).close()  # noqa: S310 -- as above
        except (URLError, OSError):
            return False
        return True


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MockProvider]:
    log = tmp_path_factory.mktemp("provider") / "log"
    command = [sys.executable, "-W", "ignore", "-m", "oidc_provider_mock", "--host", "127.0.0.1"]
    with a_port() as port:
        with log.open("wb") as out:
            program = subprocess.Popen([*command, "--port", str(port)], stdout=out, stderr=subprocess.STDOUT)
        try:
            started = MockProvider(f"http://127.0.0.1:{port}")
            assert eventually(started.is_ready), f"the provider did not start:\n{log.read_text()}"
            yield started
        finally:
            program.terminate()
            program.wait(timeout=PATIENCE_SECONDS)


@pytest.fixture(scope="module")
def corporate(provider: MockProvider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A console whose people sign in with the provider."""
    named = {
        "name": "corp",
        "title": "the house's account",
        "issuer": provider.url,
        "client_id": "signoff",
        "client_secret": "a secret of the client",
        "role_claim": "groups",
        "roles": {"desk": ["reviewer"], "heads": ["reviewer", "lead", "admin"]},
    }
    with running(
        tmp_path_factory.mktemp("corporate"),
        settings={"SIGNOFF_OIDC_PROVIDERS": json.dumps([named]), "SIGNOFF_OUTBOUND_PRIVATE_HOSTS": "127.0.0.1"},
    ) as house:
        # The provider's own pages ask for their stylesheet from the second.
        yield replace(house, known_hosts=(provider.url.removeprefix("http://"), "cdn.jsdelivr.net"))


def signs_in(visitor: Visitor, sub: str, path: str = "/") -> None:
    visitor.page.goto(visitor.house.url + path)
    visitor.page.get_by_role("link", name="Sign in with the house's account").click()
    visitor.page.get_by_placeholder("sub").fill(sub)
    visitor.page.get_by_role("button", name="Authorize").click()


def test_a_person_signs_in_with_their_provider_and_out_of_every_tab(
    corporate: House, provider: MockProvider, strangers: Callable[[House], Visitor]
) -> None:
    provider.knows("ada", name="Ada Lovelace", groups=["desk"])
    ada = strangers(corporate)

    signs_in(ada, "ada", "/queue")

    expect(ada.page.get_by_role("heading", name="Queue", level=1)).to_be_visible()
    expect(ada.page.get_by_role("link", name="People")).to_have_count(0)
    other = ada.another_tab()
    other.sees("Nothing is waiting for you")
    ada.press("Account")
    ada.sees("Ada Lovelace")
    ada.button("Sign out").click()
    ada.page.wait_for_url(f"{provider.url}/**")  # And on to the provider, to sign out there as well.
    expect(other.page.get_by_role("heading", name=GATE)).to_be_visible()


def test_whoever_has_no_role_waits_for_one_and_feels_it_when_it_comes_and_goes(
    corporate: House, provider: MockProvider, strangers: Callable[[House], Visitor]
) -> None:
    provider.knows("lin", name="Lin Ming", groups=["others"])
    root = Person(provider.url, "root", "Root", frozenset({Role.ADMIN}))
    roster = Roster(corporate.store)
    lin = strangers(corporate)
    signs_in(lin, "lin")
    lin.sees("You have no role here yet")

    roster.change_roles(root, provider.url, "lin", roles=(Role.REVIEWER,))

    lin.sees("Nothing is waiting for you")
    roster.change_roles(root, provider.url, "lin", roles=())
    lin.sees("You have no role here yet")


def test_an_admin_gives_roles_and_ends_sessions_on_the_people_screen(
    corporate: House, provider: MockProvider, strangers: Callable[[House], Visitor]
) -> None:
    provider.knows("grace", name="Grace Hopper", groups=["heads"])
    provider.knows("mary", name="Mary Shelley", groups=["desk"])
    mary, grace = strangers(corporate), strangers(corporate)
    signs_in(mary, "mary")
    mary.sees("Nothing is waiting for you")
    signs_in(grace, "grace", "/people")
    expect(grace.page.get_by_role("button", name="Show: Mary Shelley")).to_be_visible()
    grace.look()
    grace.page.get_by_role("button", name="Show: Mary Shelley").click()

    grace.press("Sign out everywhere")

    grace.sees("Mary Shelley is signed out everywhere.")
    expect(mary.page.get_by_role("heading", name=GATE)).to_be_visible()


def test_a_session_that_ended_shows_the_gate_and_leads_back_to_where_one_was(
    corporate: House, provider: MockProvider, strangers: Callable[[House], Visitor]
) -> None:
    provider.knows("kay", name="Kay McNulty", groups=["desk"])
    kay = strangers(corporate)
    signs_in(kay, "kay", "/history")
    expect(kay.page.get_by_role("heading", name="History", level=1)).to_be_visible()

    Sessions(corporate.store).sign_out_everywhere(provider.url, sub="kay")

    expect(kay.page.get_by_role("heading", name=GATE)).to_be_visible()
    signs_in(kay, "kay", "/history")
    expect(kay.page.get_by_role("heading", name="History", level=1)).to_be_visible()


def test_a_sign_in_that_the_provider_declines_is_told(corporate: House, strangers: Callable[[House], Visitor]) -> None:
    somebody = strangers(corporate)
    somebody.open()
    somebody.page.get_by_role("link", name="Sign in with the house's account").click()

    somebody.page.get_by_role("button", name="Deny").click()

    somebody.sees("You are not signed in")
    somebody.sees("The sign-in was cancelled")
