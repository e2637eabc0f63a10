"""Signing in with a provider: whom it lets in, and everything that it must not be able to make us believe."""

import base64
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest
from starlette.applications import Starlette

from db.store import SqlStore
from pages import services, sign_in
from pages.requests import cookie_name
from pages.sign_in import Flow, local_path, person_of, proof_of
from review.audit import EventKind
from review.outbound import MAX_ANSWER_BYTES
from review.people import Person, Role
from review.sessions import LOCAL_OPERATOR, Sessions
from review.settings import Provider as Named
from review.settings import Settings
from tests.clock import MovableClock
from tests.console import Console, serving
from tests.provider import (
    CLIENT_ID,
    CLIENT_SECRET,
    Provider,
    a_key,
    altered,
    provider_served,
    signed_by_another,
    signed_with_the_secret,
    unsigned,
)
from tests.review.steps import kinds
from tests.waiting import PATIENCE_SECONDS

COOKIE = cookie_name(is_secure=False)
THE_PROVIDERS_HOST = "127.0.0.1"
START = "/sign-in/with/corp"


@pytest.fixture
def house(sqlite_store: SqlStore, clock: MovableClock) -> Console:
    clock.advance(datetime.now(UTC) - clock())
    return Console(sqlite_store)


@pytest.fixture
def sessions(house: Console) -> Sessions:
    return Sessions(house.store)


@pytest.fixture
def provider() -> Iterator[Provider]:
    with provider_served() as provider:
        yield provider


def named(provider: Provider, **fields: Any) -> Named:  # noqa: ANN401 -- whatever the setting takes
    given = {
        "name": "corp",
        "issuer": provider.url,
        "client_id": CLIENT_ID,
        "client_secret": CLIENT_SECRET,
        "role_claim": "groups",
        "roles": {"desk": ("reviewer",), "leads": ("reviewer", "lead")},
    }
    return Named.model_validate(given | fields)


@pytest.fixture
def installed(
    house: Console, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[], httpx2.Client]]:
    """Serves the sign-in routes; makes browsers that follow no redirect by themselves."""
    monkeypatch.setattr(services, "_installed", [])
    monkeypatch.setattr(sign_in, "_clients", {})
    browsers: list[httpx2.Client] = []
    with serving(Starlette(routes=list(sign_in.routes()))) as url:
        settings = Settings(
            public_url=url, oidc_providers=(named(provider),), outbound_private_hosts=(THE_PROVIDERS_HOST,)
        )
        services.install(house.services(settings=settings))

        def browser() -> httpx2.Client:
            browsers.append(httpx2.Client(base_url=url, trust_env=False, timeout=PATIENCE_SECONDS))
            return browsers[-1]

        yield browser
        for one in browsers:
            one.close()


@pytest.fixture
def browser(installed: Callable[[], httpx2.Client]) -> httpx2.Client:
    return installed()


def at_the_provider(browser: httpx2.Client, start: str = START) -> str:
    """Begin a sign-in, let the provider answer, and return the address that it sends the browser back to."""
    begun = browser.get(start)
    assert begun.status_code == 303, begun.text
    answered = browser.get(begun.headers["location"])
    return str(answered.headers["location"])


def sign_in_whole(browser: httpx2.Client, start: str = START) -> httpx2.Response:
    return browser.get(at_the_provider(browser, start))


def test_whoever_the_provider_vouches_for_is_signed_in_where_they_wanted_to_go(
    browser: httpx2.Client, provider: Provider, sessions: Sessions, house: Console
) -> None:
    provider.claims = {"groups": ["leads", "others"], "email": "ada@example.com"}

    answer = sign_in_whole(browser, f"{START}?to=/queue%3Fitem%3D7")

    person = sessions.person(browser.cookies[COOKIE])
    assert (answer.status_code, answer.headers["location"]) == (303, "/queue?item=7")
    roles = frozenset({Role.REVIEWER, Role.LEAD})
    assert person == Person(provider.url, "ada", "Ada Lovelace", roles, skills=frozenset())
    assert person.authenticated_at is not None
    assert [*browser.cookies] == [COOKIE]
    assert kinds(house) == [EventKind.SIGNED_IN]


def test_the_provider_is_asked_with_state_nonce_and_a_challenge(browser: httpx2.Client, provider: Provider) -> None:
    sign_in_whole(browser)
    sign_in_whole(browser, f"{START}?again=1")

    first, again = provider.asked
    told = {"response_type": "code", "client_id": CLIENT_ID, "scope": "openid profile", "code_challenge_method": "S256"}
    assert {name: first[name] for name in told} == told
    assert all(len(first[name]) >= 43 for name in ("state", "nonce", "code_challenge"))
    assert not {first[name] for name in ("state", "nonce", "code_challenge")} & set(again.values())
    assert (again["prompt"], again["max_age"], "prompt" in first) == ("login", "0", False)


def test_each_sign_in_ends_the_session_before_it(browser: httpx2.Client, sessions: Sessions) -> None:
    sign_in_whole(browser)
    first = browser.cookies[COOKIE]

    sign_in_whole(browser)

    assert (sessions.person(first), sessions.person(browser.cookies[COOKIE]) is not None) == (None, True)


FAULTS: dict[str, Callable[[Provider], None]] = {
    "no signature": lambda own: setattr(own, "signed", unsigned),
    "signed with the client's secret": lambda own: setattr(own, "signed", signed_with_the_secret),
    "signed by somebody else": lambda own: setattr(own, "signed", signed_by_another),
    "changed after it was signed": lambda own: setattr(own, "signed", altered),
    "no token": lambda own: setattr(own, "signed", lambda *_: ""),
    "another nonce": lambda own: own.claims.update(nonce="another"),
    "no nonce": lambda own: own.claims.update(nonce=None),
    "for another client": lambda own: own.claims.update(aud="another"),
    "for several, and none of them named": lambda own: own.claims.update(aud=[CLIENT_ID, "another"]),
    "for another party": lambda own: own.claims.update(azp="another"),
    "of another issuer": lambda own: own.claims.update(iss="https://id.example.com"),
    "of nobody": lambda own: own.claims.update(sub=None),
    "expired": lambda own: own.claims.update(exp=int(time.time()) - 3600),
    "without an end": lambda own: own.claims.update(exp=None),
    "of a provider that signs by what is shared alone": lambda own: own.metadata.update(
        id_token_signing_alg_values_supported=["HS256", "none"]
    ),
    "of another access token": lambda own: own.claims.update(at_hash="another"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_an_id_token_that_does_not_hold_signs_nobody_in(
    browser: httpx2.Client, provider: Provider, house: Console, caplog: pytest.LogCaptureFixture, fault: str
) -> None:
    FAULTS[fault](provider)

    with caplog.at_level(logging.WARNING, "signoff.sign_in"):
        answer = sign_in_whole(browser)

    assert (answer.status_code, "You are not signed in" in answer.text) == (403, True)
    assert (COOKIE in browser.cookies, kinds(house)) == (False, [])
    assert "a sign-in with corp failed" in caplog.text
    assert CLIENT_SECRET not in caplog.text


def tampered(browser: httpx2.Client, back: str, **fields: object) -> httpx2.Response:
    """Answer the sign-in with other things in the browser's cookie than it began with."""
    (name,) = (name for name in browser.cookies if name != COOKIE)
    flow = Flow.read(browser.cookies[name])
    assert flow is not None
    browser.cookies.clear()
    browser.cookies.set(name, replace(flow, **fields).text())  # type: ignore[arg-type]  # whatever a browser could send
    return browser.get(back)


@pytest.mark.parametrize(
    "fields",
    [{"state": "another"}, {"nonce": "another"}, {"verifier": "another" * 8}, {"provider": "other"}, {"began_at": 0}],
)
def test_an_answer_to_another_sign_in_than_this_browsers_is_refused(
    browser: httpx2.Client, house: Console, fields: dict[str, object]
) -> None:
    answer = tampered(browser, at_the_provider(browser), **fields)

    assert (answer.status_code, COOKIE in browser.cookies, kinds(house)) == (403, False, [])


def test_an_answer_in_another_browser_is_refused(
    installed: Callable[[], httpx2.Client], browser: httpx2.Client, house: Console
) -> None:
    back = at_the_provider(browser)

    answer = installed().get(back)

    assert (answer.status_code, "another browser" in answer.text, kinds(house)) == (403, True, [])


def test_a_code_signs_in_once(browser: httpx2.Client, house: Console) -> None:
    back = at_the_provider(browser)
    kept = dict(browser.cookies)
    browser.get(back)
    browser.cookies.update(kept)

    answer = browser.get(back)

    assert (answer.status_code, kinds(house).count(EventKind.SIGNED_IN)) == (403, 1)


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("error=access_denied", "cancelled"),
        ("error=%3Cscript%3E&error_description=%3Cscript%3E", "cancelled"),
        ("", "cannot be trusted"),
        ("code=x&iss=https://id.example.com", "cannot be trusted"),
    ],
)
def test_what_the_provider_refuses_is_told_in_the_readers_words(browser: httpx2.Client, query: str, words: str) -> None:
    back = at_the_provider(browser)
    state = parse_qs(urlsplit(back).query)["state"][0]

    answer = browser.get(f"{START}/callback?state={state}&{query}")

    assert (answer.status_code, words in answer.text, "<script>" in answer.text) == (403, True, False)


@pytest.mark.parametrize(
    "metadata",
    [
        {"issuer": "https://id.example.com"},
        {"token_endpoint": "http://id.example.com/token"},
        {"authorization_endpoint": "javascript:alert(1)"},
        {"jwks_uri": None},
    ],
)
def test_a_provider_that_describes_itself_wrongly_is_not_asked(
    browser: httpx2.Client, provider: Provider, metadata: Mapping[str, Any]
) -> None:
    provider.metadata = dict(metadata)

    answer = browser.get(START)

    assert (answer.status_code, "cannot be trusted" in answer.text, provider.asked) == (403, True, [])


def test_a_provider_that_is_away_is_said_to_be_away(
    browser: httpx2.Client, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    (here,) = services._installed  # noqa: SLF001 -- the same services, with another address
    gone = Settings(
        oidc_providers=(named(provider, issuer="http://127.0.0.1:9"),), outbound_private_hosts=(THE_PROVIDERS_HOST,)
    )
    monkeypatch.setattr(services, "_installed", [replace(here, settings=gone)])

    answer = browser.get(START)

    assert (answer.status_code, "cannot be reached" in answer.text) == (403, True)


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({}, "only https is, except to this machine"),
        ({"outbound_private": True}, "only https is, except to this machine"),
        ({"outbound_private_hosts": ("localhost",)}, "only https is, except to this machine"),
    ],
)
def test_a_provider_of_this_machine_is_asked_only_where_a_setting_names_it(
    browser: httpx2.Client,
    provider: Provider,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    fields: dict[str, Any],
    why: str,
) -> None:
    (here,) = services._installed  # noqa: SLF001 -- the same services, with other settings
    unnamed = Settings(oidc_providers=(named(provider),), **fields)
    monkeypatch.setattr(services, "_installed", [replace(here, settings=unnamed)])

    with caplog.at_level(logging.WARNING, "signoff.sign_in"):
        answer = browser.get(START)

    assert (answer.status_code, provider.asked) == (403, [])
    assert f"Nothing is sent to 127.0.0.1: {why}" in caplog.text


@pytest.mark.parametrize(
    "metadata",
    [{"token_endpoint": "https://169.254.169.254/token"}, {"token_endpoint": "https://10.0.0.7/token"}],
)
def test_a_code_is_taken_to_no_private_address_that_the_provider_names(
    browser: httpx2.Client, provider: Provider, caplog: pytest.LogCaptureFixture, metadata: Mapping[str, Any]
) -> None:
    provider.metadata = dict(metadata)

    with caplog.at_level(logging.WARNING, "signoff.sign_in"):
        answer = sign_in_whole(browser)

    assert (answer.status_code, "cannot be trusted" in answer.text) == (403, True)
    assert "its address is not public" in caplog.text


def test_a_provider_that_is_not_in_the_list_of_hosts_is_not_asked(
    browser: httpx2.Client, provider: Provider, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (here,) = services._installed  # noqa: SLF001 -- the same services, with other settings
    elsewhere = named(provider, issuer="https://id.elsewhere.example")
    listed = Settings(oidc_providers=(elsewhere,), outbound_hosts=("id.example", "login.example"))
    monkeypatch.setattr(services, "_installed", [replace(here, settings=listed)])

    with caplog.at_level(logging.WARNING, "signoff.sign_in"):
        answer = browser.get(START)

    assert answer.status_code == 403
    assert "it is none of the hosts in SIGNOFF_OUTBOUND_HOSTS" in caplog.text


def test_an_answer_of_the_providers_that_is_too_long_is_not_read(browser: httpx2.Client, provider: Provider) -> None:
    provider.metadata = {"padding": "x" * MAX_ANSWER_BYTES}

    answer = browser.get(START)

    assert (answer.status_code, provider.asked) == (403, [])


def test_a_key_that_was_published_since_is_looked_up(
    browser: httpx2.Client, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    sign_in_whole(browser)
    monkeypatch.setattr(sign_in, "KEYS_PAUSE_S", 0.0)
    provider.key = a_key("second")

    answer = sign_in_whole(browser)

    assert answer.status_code == 303


@pytest.mark.parametrize(
    ("auth_time", "is_let_in"),
    [(0, True), (-240, True), (-360, False), (None, False), ("now", False)],
)
def test_signing_in_again_counts_only_where_the_provider_says_that_it_was_just_now(
    browser: httpx2.Client,
    provider: Provider,
    auth_time: object,
    is_let_in: bool,  # noqa: FBT001 -- a column of the table
) -> None:
    moment = int(time.time()) + auth_time if isinstance(auth_time, int) else auth_time
    provider.claims = {"auth_time": moment}

    answer = sign_in_whole(browser, f"{START}?again=1")

    assert answer.status_code == (303 if is_let_in else 403)


def test_nobody_signed_in_later_than_now(browser: httpx2.Client, provider: Provider, sessions: Sessions) -> None:
    provider.claims = {"auth_time": int(time.time()) + 3600}

    sign_in_whole(browser)

    person = sessions.person(browser.cookies[COOKIE])
    assert person is not None
    assert person.authenticated_at is not None
    assert person.authenticated_at <= datetime.now(UTC) + timedelta(seconds=5)


def test_with_a_provider_nobody_confirms_themselves(browser: httpx2.Client) -> None:
    sign_in_whole(browser)

    assert browser.post("/sign-in/again").status_code == 403


def test_at_this_machine_a_press_confirms_and_leads_back(browser: httpx2.Client, sessions: Sessions) -> None:
    browser.post(f"/sign-in/{sessions.create_link()}")

    answer = browser.post("/sign-in/again?to=%2F%3Fitem%3D7")

    assert (answer.status_code, answer.headers["location"]) == (303, "/?item=7")
    assert browser.post("/sign-in/again?to=//evil.example").headers["location"] == "/"


@pytest.mark.usefixtures("browser")
def test_each_is_offered_their_own_way_to_sign_in_again(provider: Provider) -> None:
    with_a_provider = Person(provider.url, "ada", "Ada", frozenset())

    offered = [sign_in.way_to_sign_in_again(person, "/?item=7") for person in (with_a_provider, LOCAL_OPERATOR)]

    assert 'href="/sign-in/with/corp?to=%2F%3Fitem%3D7&amp;again=1"' in offered[0]
    assert 'action="/sign-in/again?to=%2F%3Fitem%3D7"' in offered[1]


def test_signing_out_leads_on_to_the_provider(browser: httpx2.Client, provider: Provider, sessions: Sessions) -> None:
    sign_in_whole(browser)
    secret = browser.cookies[COOKIE]

    answer = browser.post("/sign-out")

    assert (answer.status_code, sessions.person(secret), COOKIE in browser.cookies) == (200, None, False)
    assert f'content="0;url={provider.url}/logout?id_token_hint=' in answer.text
    assert "post_logout_redirect_uri=" in answer.text


def test_without_a_logout_of_the_providers_signing_out_leads_home(browser: httpx2.Client, provider: Provider) -> None:
    provider.metadata = {"end_session_endpoint": None}
    sign_in_whole(browser)

    answer = browser.post("/sign-out")

    assert (answer.status_code, answer.headers["location"]) == (303, "/")


def test_the_provider_ends_the_sessions_of_one_stay_or_of_a_person(
    installed: Callable[[], httpx2.Client], provider: Provider, sessions: Sessions, house: Console
) -> None:
    stays = []
    for sid, sub in (("one", "ada"), ("two", "ada"), ("three", "ada"), ("four", "grace")):
        provider.claims = {"sid": sid, "sub": sub}
        one = installed()
        sign_in_whole(one)
        stays.append(one.cookies[COOKIE])

    def live() -> list[bool]:
        return [sessions.person(stay) is not None for stay in stays]

    def log_out(token: str) -> int:
        return one.post(f"{START}/logout", data={"logout_token": token}).status_code

    assert (log_out(provider.logout_token(sid="one")), live()) == (200, [False, True, True, True])
    assert (log_out(provider.logout_token(sid="two", sub=None)), live()) == (200, [False, False, True, True])
    assert (log_out(provider.logout_token(sub="ada")), live()) == (200, [False, False, False, True])
    assert (log_out(provider.logout_token(sub="ada")), live()) == (200, [False, False, False, True])
    assert kinds(house).count(EventKind.SIGNED_OUT) == 3


def test_the_end_of_a_stay_ends_the_persons_sessions_of_which_no_stay_is_known(
    installed: Callable[[], httpx2.Client], provider: Provider, sessions: Sessions
) -> None:
    stays = []
    for claims in ({"sub": "ada"}, {"sub": "ada", "sid": "two"}, {"sub": "grace"}):
        provider.claims = claims
        one = installed()
        sign_in_whole(one)
        stays.append(one.cookies[COOKIE])

    answer = one.post(f"{START}/logout", data={"logout_token": provider.logout_token(sub="ada", sid="one")})

    live = [sessions.person(stay) is not None for stay in stays]
    assert (answer.status_code, live) == (200, [False, True, True])


@pytest.mark.parametrize(
    "claims",
    [
        {"nonce": "x"},
        {"events": {}},
        {"events": None},
        {"events": "http://schemas.openid.net/event/backchannel-logout"},
        {"aud": "another"},
        {"iss": "https://id.example.com"},
        {"iat": 1},
        {"iat": None},
        {"sub": None},
        {"sub": 7},
    ],
)
def test_a_logout_token_that_does_not_hold_ends_nothing(
    browser: httpx2.Client, provider: Provider, sessions: Sessions, claims: dict[str, Any]
) -> None:
    sign_in_whole(browser)

    answer = browser.post(f"{START}/logout", data={"logout_token": provider.logout_token(**claims)})

    assert (answer.status_code, sessions.person(browser.cookies[COOKIE]) is not None) == (400, True)


@pytest.mark.parametrize("body", [b"", b"logout_token=", b"logout_token=a.b.c", b"\xff", b"x" * 1_200_000])
def test_what_is_no_logout_token_ends_nothing(browser: httpx2.Client, body: bytes) -> None:
    answer = browser.post(f"{START}/logout", content=body)

    assert answer.status_code in (400, 413)


@pytest.mark.parametrize(
    ("public_url", "name", "secure"),
    [("https://desk.example.com", "__Host-signoff", ["secure"]), ("http://127.0.0.1:8501", "signoff", [])],
)
def test_over_https_a_cookie_is_secure_and_of_this_host_alone(
    browser: httpx2.Client,
    sessions: Sessions,
    monkeypatch: pytest.MonkeyPatch,
    public_url: str,
    name: str,
    secure: list[str],
) -> None:
    (here,) = services._installed  # noqa: SLF001 -- the same services, seen from another address
    seen = here.settings.model_copy(update={"public_url": public_url})
    monkeypatch.setattr(services, "_installed", [replace(here, settings=seen)])
    signed_in = browser.post(f"/sign-in/{sessions.create_link(LOCAL_OPERATOR)}")
    begun = browser.get(START)

    cookies = [answer.headers["set-cookie"].split("; ") for answer in (signed_in, begun)]

    session, flow = (cookie[0].partition("=")[0] for cookie in cookies)
    assert (session, flow.startswith(f"{name}-flow-")) == (name, True)
    told = [sorted(part.lower() for part in cookie[1:]) for cookie in cookies]
    assert told == [sorted(["httponly", f"max-age={age}", "path=/", "samesite=lax", *secure]) for age in (43_200, 600)]


@pytest.mark.parametrize("path", ["", "/callback", "/logout"])
def test_a_provider_that_is_none_of_ours_is_not_there(browser: httpx2.Client, path: str) -> None:
    address = f"/sign-in/with/nobody{path}"

    answer = browser.post(address) if path == "/logout" else browser.get(address)

    assert answer.status_code == 404


def test_beyond_this_machine_a_provider_takes_the_place_of_links(
    browser: httpx2.Client, provider: Provider, sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    (here,) = services._installed  # noqa: SLF001 -- the same services, seen from outside
    public = Settings(
        host="0.0.0.0",  # noqa: S104 -- what is to be tested
        public_url="https://desk.example.com",
        oidc_providers=(named(provider),),
    )
    link = sessions.create_link(LOCAL_OPERATOR)
    monkeypatch.setattr(services, "_installed", [replace(here, settings=public)])

    assert browser.post(f"/sign-in/{link}").status_code == 403
    monkeypatch.setattr(services, "_installed", [here])
    assert browser.post(f"/sign-in/{link}").status_code == 303


@pytest.mark.parametrize(
    ("to", "expected"),
    [
        ("/", "/"),
        ("/queue?item=1&x=%2F", "/queue?item=1&x=%2F"),
        ("", "/"),
        ("queue", "/"),
        ("//evil.example", "/"),
        ("/\\evil.example", "/"),
        ("/a\\..\\b", "/"),
        ("https://evil.example/", "/"),
        ("javascript:alert(1)", "/"),
        ("/a\r\nSet-Cookie: x=y", "/"),
        ("/\u202e", "/"),
    ],
)
def test_a_sign_in_leads_nowhere_but_into_this_console(to: str, expected: str) -> None:
    assert local_path(to) == expected


@pytest.mark.parametrize(
    "text", ["", "!", "bm90IGpzb24=", "e30=", "eyJwcm92aWRlciI6IDF9", base64.b64encode(b"[" * 9_999).decode()]
)
def test_a_cookie_that_is_none_of_ours_begins_nothing(text: str) -> None:
    assert Flow.read(text) is None


@pytest.mark.parametrize(
    ("claims", "claim", "roles"),
    [
        ({"groups": ["desk"]}, "groups", {Role.REVIEWER}),
        ({"groups": "leads"}, "groups", {Role.REVIEWER, Role.LEAD}),
        ({"groups": ["others", 7, None]}, "groups", set()),
        ({"groups": {"desk": True}}, "groups", set()),
        ({}, "groups", set()),
        ({"realm": {"groups": ["desk"]}}, "realm.groups", {Role.REVIEWER}),
        ({"realm.groups": ["leads"], "realm": {"groups": ["desk"]}}, "realm.groups", {Role.REVIEWER, Role.LEAD}),
        ({"realm": "x"}, "realm.groups", set()),
        ({"groups": ["desk"]}, None, set()),
    ],
)
def test_groups_bring_the_roles_that_the_setting_says(
    claims: dict[str, Any], claim: str | None, roles: set[Role]
) -> None:
    provider = Named.model_validate(
        {
            "name": "corp",
            "issuer": "https://id.example.com",
            "client_id": "x",
            "role_claim": claim,
            "roles": {"desk": ["reviewer"], "leads": ["reviewer", "lead"]},
            "workspace": "paris",
        }
    )

    person = person_of(provider, {"sub": "ada", "email": "ada@example.com", **claims})

    assert person == Person("https://id.example.com", "ada", "ada", frozenset(roles), "paris")


def test_a_provider_that_does_not_say_when_proves_no_moment() -> None:
    assert [proof_of({"auth_time": at}, "").authenticated_at for at in (None, "1", True)] == [None, None, None]
