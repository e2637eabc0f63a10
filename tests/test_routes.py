"""Who gets which answer: every route of the application asked by everybody, and by whoever belongs elsewhere."""

import base64
import io
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx2
import pytest
from joserfc.jwk import OKPKey
from PIL import Image
from starlette.applications import Starlette
from starlette.routing import Mount, Route
from uuid_utils.compat import uuid7

from agents.credentials import PrivateKeyJwt
from agents.protocol import Approve, ContextEntry, ContextKind
from app import COMMAND_LINE, House, console_routes, open_house
from pages import services, sign_in
from pages.downloads import EXPORTS
from pages.requests import cookie_name
from review.api import make_api
from review.desk import Seen
from review.intake import Submission
from review.people import Person, Role, SignInProof
from review.sessions import LOCAL_OPERATOR
from review.settings import Settings
from tests.builders import AGENT, ISSUER, WORKSPACE, a_request, an_action
from tests.console import serving
from tests.review.steps import a_document
from tests.waiting import PATIENCE_SECONDS

ELSEWHERE = "elsewhere"
# What only the default workspace says; nobody elsewhere may ever read it, whatever ids and keys of it they come with.
MARK = "cerulean"
HANDLES = ("first", "second")
ARGS = {"note": f"{MARK} argument"}


class Who(StrEnum):
    """Everybody who may come to a door."""

    NOBODY = "nobody"
    NO_ROLE = "no role"
    REVIEWER = "reviewer"
    LEAD = "lead"
    AUDITOR = "auditor"
    ADMIN = "admin"
    STRANGER = "every role elsewhere"
    OWNER = "the item's agent"
    OTHER = "another agent"
    FOREIGN = "an agent elsewhere"
    PROVEN = "the item's agent by its own key pair"
    REVOKED = "a revoked key"
    ENDED = "an access token of a revoked key"
    SMUGGLED = "an agent's key as a cookie"


EVERYBODY = frozenset(Who)
AGENTS = frozenset({Who.OWNER, Who.PROVEN, Who.OTHER, Who.FOREIGN})
SEEING = frozenset({Who.REVIEWER, Who.LEAD, Who.AUDITOR})
SIGNED_IN = frozenset({Who.NO_ROLE, Who.REVIEWER, Who.LEAD, Who.AUDITOR, Who.ADMIN, Who.STRANGER})


@dataclass(frozen=True, slots=True)
class Row:
    """One question to a route: who is answered, and who is told that there is no such thing.

    Everybody else is turned away: signed in without the right with 403, anybody who is not signed in with 401.
    """

    method: str
    path: str
    answered: frozenset[Who]
    unknown: frozenset[Who] = frozenset()
    body: Mapping[str, Any] | None = None
    query: str = ""

    def expects(self, who: Who, status: int) -> bool:
        """Tell whether this is how that one is to be answered."""
        if who in self.unknown:
            return status == 404
        if who in self.answered:
            # Refused for what it asks, perhaps, and not for who asks.
            return status < 500 and status not in (401, 403, 404)
        return status == (403 if who in SIGNED_IN and not self.path.startswith("/api") else 401)


ACTION = "/api/v1/actions/{item_id}"
NOT_OWN = frozenset({Who.OTHER, Who.FOREIGN})
TABLE = (
    Row("POST", "/api/v1/actions", AGENTS, body=a_request().model_dump(mode="json")),
    Row("GET", "/api/v1/actions", AGENTS),
    Row("GET", ACTION, AGENTS, NOT_OWN),
    Row("POST", f"{ACTION}/cancel", AGENTS, NOT_OWN),
    Row("POST", f"{ACTION}/notes", AGENTS, NOT_OWN, {"text": "An answer."}),
    Row("POST", f"{ACTION}/consume", AGENTS, NOT_OWN, {"receipt": "{receipt}", "args": ARGS}),
    Row("POST", f"{ACTION}/outcome", AGENTS, NOT_OWN, {"status": "succeeded"}),
    Row("GET", "/api/v1/policy", AGENTS),
    Row("GET", "/api/v1/.well-known/jwks.json", EVERYBODY),
    # What is asked here proves by itself who asks: `tests/review/test_tokens.py`.
    Row("POST", "/api/v1/oauth/token", EVERYBODY),
    Row("GET", "/api/v1/checkpoint", EVERYBODY),
    Row("GET", "/api/v1/openapi.json", EVERYBODY),
    Row("GET", "/api/v1/docs", EVERYBODY),
    Row("GET", "/api/v1/docs/start.js", EVERYBODY),
    Row("GET", "/healthz", EVERYBODY),
    Row("GET", "/readyz", EVERYBODY),
    Row("GET", "/metrics", EVERYBODY),
    # Signing in is for whoever is not signed in yet; without a provider there is none to be found.
    Row("GET", "/sign-in/with/{provider}", frozenset(), EVERYBODY),
    Row("GET", "/sign-in/with/{provider}/callback", frozenset(), EVERYBODY),
    Row("POST", "/sign-in/with/{provider}/logout", frozenset(), EVERYBODY),
    Row("GET", "/sign-in/{secret}", EVERYBODY),
    Row("POST", "/sign-out", EVERYBODY),
    Row("GET", "/download/verify.py", EVERYBODY),
    Row("GET", "/download/{name}", frozenset({Who.AUDITOR, Who.STRANGER}), query="audit.csv"),
    Row("GET", "/download/{name}", SEEING | {Who.STRANGER}, query="decisions.csv"),
    *(
        Row("GET", "/download/{name}", frozenset({Who.LEAD, Who.AUDITOR, Who.STRANGER}), query=name)
        for name in ("labels.csv", "labels.jsonl", "labels-hf.zip")
    ),
    # Where the screen stands, its gate does.
    Row("GET", "/review", EVERYBODY),
    Row("GET", "/pictures/{item:uuid}/{number}", SEEING, frozenset({Who.STRANGER})),
    # Whose sitting it is, is told apart in `tests/pages/test_outbox.py`.
    Row("POST", "/sittings/{sitting}", frozenset({Who.REVIEWER, Who.STRANGER}), body={}),
    Row("PUT", "/drafts/{item:uuid}/{version}", frozenset({Who.REVIEWER}), frozenset({Who.STRANGER}), {"at": 1}),
)
# What these do for whoever asks is told by the tests of signing in: the link is the credential, and so is the cookie.
BY_SECRET = {("POST", "/sign-in/{secret}"), ("POST", "/sign-in/again")}


@dataclass(frozen=True)
class Site:
    """The application served, everybody who comes to it, and what there is to be found."""

    house: House
    http: Callable[[Who], httpx2.Client]
    item_id: UUID
    picture_of: UUID
    receipt: str


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setattr(services, "_installed", [])
    monkeypatch.setattr(sign_in, "_clients", {})
    settings = Settings(data_dir=tmp_path / "data", undo_seconds=0)
    with open_house(settings) as house:
        services.install(house.services())
        app = Starlette(routes=[Mount("/api", app=make_api(house.doors())), *console_routes(house)])
        with serving(app) as url:
            clients: dict[Who, httpx2.Client] = {}
            found = _furnish(house)

            def come(who: Who) -> httpx2.Client:
                if who not in clients:
                    headers, cookies = _shown(house, who)
                    clients[who] = httpx2.Client(
                        base_url=url, headers=headers, cookies=cookies, trust_env=False, timeout=PATIENCE_SECONDS
                    )
                return clients[who]

            yield Site(house, come, *found)
            for client in clients.values():
                client.close()


def _furnish(house: House) -> tuple[UUID, UUID, str]:
    """Fill the default workspace with what only it knows: an item that waits with a picture, and one decided."""
    house.policies.save(a_document(), LOCAL_OPERATOR, based_on=0, comment=f"{MARK} policy")
    owner = house.keys.recognise(house.keys.create(AGENT, WORKSPACE, COMMAND_LINE)[1])
    out = io.BytesIO()
    Image.new("RGB", (2, 2)).save(out, "PNG")
    seen = ContextEntry(kind=ContextKind.IMAGE, content=base64.b64encode(out.getvalue()).decode())
    request = a_request(
        action=an_action(f"{MARK}_tool", **ARGS),
        description=f"{MARK} words",
        context=(seen,),
        metadata={"kept": f"{MARK} metadata"},
    )
    decided = house.intake.submit(owner, Submission(request, HANDLES[0], "body"))[0]
    taken = house.desk.claim(LOCAL_OPERATOR)
    assert taken is not None
    done = house.desk.decide(decided.id, Approve(), LOCAL_OPERATOR, seen=Seen.of(taken))
    waiting = house.intake.submit(owner, Submission(request, HANDLES[1], "body"))[0]
    house.sealer.tick()
    return decided.id, waiting.id, done.receipt or ""


def _shown(house: House, who: Who) -> tuple[dict[str, str], dict[str, str]]:
    """Return the headers and cookies that this one comes with."""
    keys = {
        Who.OWNER: (AGENT, WORKSPACE),
        Who.OTHER: ("other", WORKSPACE),
        Who.FOREIGN: (AGENT, ELSEWHERE),
        Who.REVOKED: (AGENT, WORKSPACE),
        Who.SMUGGLED: (AGENT, WORKSPACE),
    }
    if who in (Who.PROVEN, Who.ENDED):
        return {"Authorization": f"Bearer {_access_token(house, is_ended=who is Who.ENDED)}"}, {}
    if who in keys:
        key, bearer = house.keys.create(*keys[who], COMMAND_LINE)
        if who is Who.REVOKED:
            house.keys.revoke(key.prefix, WORKSPACE, COMMAND_LINE)
        if who is Who.SMUGGLED:
            return {}, {cookie_name(is_secure=False): bearer}
        return {"Authorization": f"Bearer {bearer}"}, {}
    if who not in SIGNED_IN:
        return {}, {}
    roles: dict[Who, frozenset[Role]] = {Who.NO_ROLE: frozenset(), Who.STRANGER: frozenset(Role)}
    known = roles[who] if who in roles else frozenset({Role(who.value)})
    workspace = ELSEWHERE if who is Who.STRANGER else WORKSPACE
    person = Person(ISSUER, who.value, who.value.title(), known, workspace)
    return {}, {cookie_name(is_secure=False): house.sessions.admit(person, SignInProof(None))}


def _access_token(house: House, *, is_ended: bool) -> str:
    pair = OKPKey.generate_key("Ed25519")
    client = house.keys.register(AGENT, WORKSPACE, COMMAND_LINE, public_key=pair.as_pem(private=False).decode())
    mine = PrivateKeyJwt(client.prefix, pair.as_pem(private=True))
    token = house.keys.exchange(mine.assertion(house.settings.issuer), admit=lambda _: None).access_token
    if is_ended:
        house.keys.revoke(client.prefix, WORKSPACE, COMMAND_LINE)
    return token


def ask(site: Site, who: Who, row: Row) -> httpx2.Response:
    path = (
        row.path.replace("{item_id}", str(site.item_id))
        .replace("{item:uuid}", str(site.picture_of))
        .replace("{number}", "0")
        .replace("{version}", "1")
        .replace("{provider}", "corp")
        .replace("{secret}", "no-such-link")
        .replace("{name}", row.query)
    )
    headers = {"Idempotency-Key": str(uuid7())} if path == "/api/v1/actions" else {}
    body = row.body and {**row.body, **({"receipt": site.receipt} if "receipt" in row.body else {})}
    return site.http(who).request(row.method, path, json=body, headers=headers, follow_redirects=False)


def served_routes(house: House) -> set[tuple[str, str]]:
    """Return every route as (method, path); what is mounted as files counts as what it is mounted at."""
    found = set()
    for prefix, routes in (("/api", make_api(house.doors()).routes), ("", console_routes(house))):
        for route in routes:
            assert isinstance(route, Route | Mount), route
            if isinstance(route, Route):
                found |= {(method, prefix + route.path) for method in route.methods or ()}
            else:
                found.add(("GET", prefix + route.path))
    return {(method, path) for method, path in found if method != "HEAD"}


def test_every_route_stands_in_the_table(site: Site) -> None:
    files = {("GET", "/api/v1/docs/assets")}

    told = {(row.method, row.path) for row in TABLE}

    assert served_routes(site.house) == told | BY_SECRET | files
    assert {row.query for row in TABLE if row.path == "/download/{name}"} == set(EXPORTS)


def test_each_is_answered_as_the_table_says_and_nobody_else(site: Site) -> None:
    wrong = []

    for row in TABLE:
        # Signing out last: it ends the sessions that the others come with.
        for who in () if row.path == "/sign-out" else Who:
            status = ask(site, who, row).status_code
            if not row.expects(who, status):
                wrong.append(f"{row.method} {row.path} {row.query}: {who} got {status}")

    assert wrong == []


DIGITS = "9" * 5_000
EDGES = ("0001-01-01T00:00:00%2B14:00", "9999-12-31T23:59:59-14:00")
HOSTILE = (
    *(
        (Who.AUDITOR, "GET", f"/pictures/{{item}}/{number}", 404)
        for number in (DIGITS, "9" * 10, "-1", "0x0", "%D9%A1", "1_0")
    ),
    (Who.AUDITOR, "GET", "/pictures/{item}/9", 404),
    (Who.AUDITOR, "GET", f"/download/audit.csv?since={DIGITS}", 422),
    *(
        (Who.AUDITOR, "GET", f"/download/{name}?{end}={at}", 200)
        for at in EDGES
        for name in ("audit.csv", "labels.csv")
        for end in ("since", "until")
    ),
    (Who.AUDITOR, "GET", f"/download/audit.csv?item={DIGITS}", 422),
    (Who.AUDITOR, "GET", "/download/labels.csv?agent=%00", 422),
    (Who.AUDITOR, "GET", "/download/decisions.csv?agent=%ED%A0%80", 200),
    *((Who.OWNER, "GET", f"/api/v1/actions?{name}={DIGITS}", 422) for name in ("limit", "cursor", "status")),
    *((Who.OWNER, "GET", f"/api/v1/actions/{{item}}?wait={wait}", 422) for wait in ("nan", "inf", "1e999", DIGITS)),
    (Who.OWNER, "GET", f"/api/v1/actions/{{item}}?notes={DIGITS}", 422),
    (Who.OWNER, "GET", f"/api/v1/actions/{DIGITS}", 422),
    *((Who.REVIEWER, "PUT", f"/drafts/{{item}}/{version}", 404) for version in (DIGITS, "9" * 10, "-1", "x")),
)


def test_what_cannot_be_read_of_an_address_is_refused_and_breaks_nothing(site: Site) -> None:
    wrong = []

    for who, method, path, status in HOSTILE:
        told = site.http(who).request(method, path.replace("{item}", str(site.picture_of)), json={"at": 1})
        if told.status_code != status:
            wrong.append(f"{method} {path[:120]} got {told.status_code}")

    assert wrong == []


def test_the_review_screens_own_address_leads_to_where_it_stands(site: Site) -> None:
    led = [site.http(Who.NOBODY).get(f"/review{query}", follow_redirects=False) for query in ("", "?item=7&x=//evil")]

    assert [(answer.status_code, answer.headers["location"]) for answer in led] == [
        (307, "/"),
        (307, "/?item=7&x=//evil"),
    ]


@pytest.mark.parametrize("who", sorted(AGENTS | {Who.SMUGGLED}))
def test_an_agents_key_decides_claims_exports_and_administers_nothing(site: Site, who: Who) -> None:
    client = site.http(who)
    verbs = ("decide", "claim", "approve", "reveal", "assign", "undo", "erase", "reconcile")
    asked = [
        *(("GET", f"/download/{name}") for name in EXPORTS),
        ("GET", f"/pictures/{site.picture_of}/0"),
        *(("POST", f"/api/v1/actions/{site.picture_of}/{verb}") for verb in verbs),
        *((method, f"/api/v1/{what}") for method in ("POST", "PUT", "DELETE") for what in ("policy", "keys", "people")),
    ]

    told = {(method, path): client.request(method, path, json={}).status_code for method, path in asked}

    assert {status for (_, path), status in told.items() if not path.startswith("/api")} == {401}
    assert {status for (_, path), status in told.items() if path.startswith("/api")} <= {401, 403, 404, 405}
    item = site.house.store.read(lambda tx: tx.item(WORKSPACE, site.picture_of))
    assert item is not None
    assert (item.status.value, item.epoch) == ("waiting", 0)


def test_signing_out_ends_the_session_that_asked_and_no_other(site: Site) -> None:
    row = next(row for row in TABLE if row.path == "/sign-out")
    export = next(row for row in TABLE if row.query == "audit.csv")

    answers = {who: ask(site, who, row).status_code for who in Who if who is not Who.AUDITOR}

    assert set(answers.values()) == {303}
    assert ask(site, Who.AUDITOR, export).status_code == 200
    assert ask(site, Who.STRANGER, export).status_code == 401


def known_here(site: Site) -> list[str]:
    """Return all that has a name in the default workspace: ids, prefixes, receipts, idempotency keys, words."""
    house = site.house
    _, keys, _ = house.keys.overview(LOCAL_OPERATOR)
    owner = house.keys.recognise(house.keys.create(AGENT, WORKSPACE, COMMAND_LINE)[1])
    page = house.intake.statuses(owner, status=None, limit=1)
    named = [str(site.item_id), str(site.picture_of), *(key.prefix for key in keys)]
    return [*named, str(page.next_cursor), site.receipt, HANDLES[0], AGENT, WORKSPACE]


SEEDS = range(3)
ROUNDS = 60


@pytest.mark.parametrize("seed", SEEDS)
def test_nothing_of_another_workspace_comes_back_whatever_is_asked(site: Site, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 -- chance here is to be the same again
    named = known_here(site)
    before = _rows_here(site)
    leaks = []

    for _ in range(ROUNDS):
        who = chance.choice([Who.FOREIGN, Who.STRANGER])
        method, path, parameters, body, headers = _a_question(chance, named)
        answer = site.http(who).request(
            method, path, params=parameters, json=body, headers=headers, follow_redirects=False
        )
        sent = f"{path} {parameters} {body} {headers}"
        found = [word for word in named[:2] if word in answer.text and word not in sent]
        assert answer.status_code < 500, (method, path, parameters, body, answer.text)
        if found or MARK in answer.text or (answer.status_code < 300 and any(f"/{word}" in path for word in named[:2])):
            leaks.append((who, method, path, parameters, answer.status_code, answer.text[:200]))

    assert leaks == []
    assert _rows_here(site) == before


def _a_question(
    chance: random.Random, named: list[str]
) -> tuple[str, str, dict[str, str], dict[str, Any] | None, dict[str, str]]:
    row = chance.choice([row for row in TABLE if row.path not in ("/sign-out", "/metrics", "/api/v1/checkpoint")])
    path = row.path
    for part, fitting in (
        ("{item_id}", named[:2]),
        ("{item:uuid}", named[:2]),
        ("{number}", ["0", "1"]),
        ("{version}", ["0", "1"]),
        ("{name}", sorted(EXPORTS)),
        ("{provider}", named[2:]),
        ("{secret}", named[2:]),
    ):
        path = path.replace(part, httpx2.URL("/").copy_with(path=f"/{chance.choice(fitting)}").path[1:])
    filters = ("status", "cursor", "limit", "wait", "workspace", "agent", "tool", "reviewer", "item", "actor", "kind")
    parameters = {name: chance.choice([*named, "waiting", "1"]) for name in filters if chance.random() < 0.2}
    if parameters.get("wait"):
        parameters["wait"] = "0"
    body = dict(row.body) if row.body else None
    if body is not None and chance.random() < 0.7:
        name = chance.choice([*body, "workspace", "agent", "receipt", "run"])
        body[name] = chance.choice([*named, {"thread_id": named[0]}])
    headers = {"Idempotency-Key": chance.choice([HANDLES[0], HANDLES[1], str(uuid7())])}
    return row.method, path, parameters, body, headers


def _rows_here(site: Site) -> object:
    def work(tx: Any) -> object:  # noqa: ANN401 -- what a work is given
        items = [tx.item(WORKSPACE, item_id) for item_id in (site.item_id, site.picture_of)]
        threads = [tx.notes_of(WORKSPACE, item.id) for item in items]
        return items, threads, tx.policy(WORKSPACE), tx.members(WORKSPACE)

    return site.house.store.read(work)
