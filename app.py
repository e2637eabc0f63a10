"""The one entry point: settings, wiring, the commands, and the ASGI application."""

import argparse
import asyncio
import gc
import importlib
import json
import logging
import os
import pkgutil
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Protocol
from uuid import UUID

import uvicorn
from prometheus_client import REGISTRY
from pydantic import ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.routing import Match, Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send
from streamlit.starlette import App  # noqa: TID251 -- the application that serves the console's script
from tqdm import tqdm

from agents.demo.house import AGENT_NAMES
from agents.protocol import DecisionType
from db.engine import UnfitDatabaseError
from db.store import open_store
from pages import downloads, outbox, pictures, review_page, services, sign_in, streamlit_settings, typed
from pages.headers import SecurityHeaders, broken
from pages.origins import OwnOrigin
from review.anchors import Anchors
from review.api import Doors, health_routes, make_api
from review.audit import EventFilter, person_actor
from review.board import Board
from review.bulk import Bulk
from review.demo import demo_policy
from review.desk import ReviewDesk
from review.emergencies import Emergencies
from review.erasure import Eraser, ErasurePlan, Retention
from review.errors import ReviewError
from review.exports import audit_csv, decisions_csv, labels_csv, labels_jsonl
from review.governance import KEY_OVERLAP, KeyRing, PolicyBook
from review.indexer import Search
from review.intake import Intake
from review.items import DecisionFilter, ItemFilter
from review.labels import Label, training_archive
from review.manifests import RowExport
from review.metrics import QueueCollector
from review.outbound import Outbound
from review.pace import Pace, Shares
from review.pauses import Switch
from review.people import AT_COMMAND_LINE, Limits, Person, Role
from review.places import Place, place_at
from review.records import Records
from review.roster import Roster
from review.sealer import Sealer
from review.sessions import LOCAL_OPERATOR, Sessions
from review.settings import Settings
from review.signing import Receipts, adopt_successor, load_former_keys, load_signing_key, load_successor
from review.store import Store
from review.tokens import Tokens
from review.views import Views

HERE = Path(__file__).resolve().parent
SCRIPT = HERE / "pages" / "console.py"
WORKSPACE = LOCAL_OPERATOR.workspace
COMMAND_LINE = person_actor(AT_COMMAND_LINE)
SWEEP_EVERY = 1.0
SEAL_EVERY = 1.0
EXPIRE_EVERY = 60.0
INDEX_EVERY = 1.0
BUSY_EVERY = 1.0
_log = logging.getLogger("signoff")


@dataclass(frozen=True)
class House:
    """Everything that an installation is made of, wired once."""

    settings: Settings
    store: Store
    receipts: Receipts
    policies: PolicyBook
    keys: KeyRing
    intake: Intake
    desk: ReviewDesk
    board: Board
    bulk: Bulk
    records: Records
    search: Search
    sessions: Sessions
    roster: Roster
    sealer: Sealer
    anchors: Anchors
    eraser: Eraser
    retention: Retention

    def services(self) -> services.Services:
        """Return what the pages may call."""
        return services.Services(
            desk=self.desk,
            board=self.board,
            bulk=self.bulk,
            records=self.records,
            policies=self.policies,
            keys=self.keys,
            search=self.search,
            sessions=self.sessions,
            roster=self.roster,
            switch=Switch(self.store),
            emergencies=Emergencies(self.store),
            views=Views(self.store),
            settings=self.settings,
        )

    def doors(self) -> Doors:
        """Return what the machines' routes may call."""
        pace = Pace(self.store, per_minute=self.settings.submits_per_minute)
        return Doors(store=self.store, intake=self.intake, keys=self.keys, receipts=self.receipts, pace=pace)


@contextmanager
def open_house(settings: Settings) -> Iterator[House]:
    """Open the store, upgraded to this release's schema, and wire the use cases to it."""
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    key, former = load_signing_key(settings.key_file), load_former_keys(settings.key_file)
    receipts = Receipts(key, issuer=settings.issuer, former=former)
    store = open_store(settings.store_url, owner_url=settings.owner_url, is_guarded=settings.is_guarded)
    try:
        policies = PolicyBook(store)
        sealer = Sealer(store, receipts)
        anchors = Anchors(store, _places(settings))
        desk = ReviewDesk(store, receipts, policies, undo_for=timedelta(seconds=settings.undo_seconds))
        yield House(
            settings=settings,
            store=store,
            receipts=receipts,
            policies=policies,
            keys=KeyRing(store, Tokens(receipts, settings.origins)),
            intake=Intake(store, receipts, policies, shares=Shares(store, most_waiting=settings.most_waiting)),
            desk=desk,
            board=Board(store, policies, desk),
            bulk=Bulk(store, policies, desk),
            records=Records(store, policies, sealer, anchors),
            search=Search(store, policies),
            sessions=Sessions(store),
            roster=Roster(store),
            sealer=sealer,
            anchors=anchors,
            eraser=Eraser(store),
            retention=Retention(store, timedelta(days=settings.retention_days)),
        )
    finally:
        store.close()


def _places(settings: Settings) -> list[Place]:
    outbound = Outbound.allowed_by(settings, allows_loopback=True)
    return [place_at(url.get_secret_value(), outbound) for url in settings.anchors]


class _Server(uvicorn.Server):
    """Answers the agents that wait before it ends, so that none is cut off in the middle of an answer."""

    def __init__(self, config: uvicorn.Config, store: Store) -> None:
        super().__init__(config)
        self._store = store

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        # Streamlit gives uvicorn's loggers a handler, and one that has a handler writes a line for every request.
        logging.getLogger("uvicorn.access").handlers.clear()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        # A moment later, when no new request is taken any more.
        asyncio.get_running_loop().call_later(0.1, self._store.wakeups.wake_all)
        await super().shutdown(sockets)


class _MachinesDoor:
    """ASGI application that answers what is meant for the door, before all that Streamlit does for a browser."""

    def __init__(self, app: ASGIApp, door: Mount) -> None:
        self._app = app
        self._door = door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        match, inside = self._door.matches(scope)
        if match is Match.NONE:
            await self._app(scope, receive, send)
        else:
            await self._door.handle({**scope, **inside}, receive, send)


def console_routes(house: House) -> list[Route]:
    """Return the routes of our own that stand beside the console's screens and the machines' door."""
    return [
        *(Route(path, handler, methods=["GET"]) for path, handler in health_routes(house.store, house.anchors)),
        *sign_in.routes(),
        *downloads.routes(),
        *pictures.routes(),
        *typed.routes(),
        *outbox.routes(),
        *review_page.routes(),
    ]


def make_app(house: House) -> ASGIApp:
    """Return the ASGI application: the console, the machines' door, sign-in, downloads and health, in one process."""
    streamlit_settings.settle()
    services.install(house.services())
    console = App(
        SCRIPT,
        lifespan=partial(_lifespan, house),
        routes=console_routes(house),
        middleware=[
            Middleware(SecurityHeaders, is_https=house.settings.is_https),
            Middleware(OwnOrigin, origins=house.settings.origins),
        ],
        exception_handlers={Exception: broken},
    )
    api = SecurityHeaders(make_api(house.doors()), is_https=house.settings.is_https)
    return _MachinesDoor(console, door=Mount("/api", app=api))


@asynccontextmanager
async def _lifespan(house: House, _: object) -> AsyncIterator[None]:
    collector = QueueCollector(house.store, house.anchors, WORKSPACE)
    REGISTRY.register(collector)
    _put_out_of_the_collectors_sight()
    tasks = [
        asyncio.create_task(_again_and_again(step, every=every, busy=BUSY_EVERY, trouble=trouble))
        for step, every, trouble in (
            (house.intake.sweep, SWEEP_EVERY, "lapsed claims and overdue items could not be swept"),
            (house.desk.settling.tick, SWEEP_EVERY, "decisions could not be settled"),
            (house.sealer.tick, SEAL_EVERY, "the audit log could not be sealed"),
            (house.desk.drafts.tick, EXPIRE_EVERY, "what was typed on closed items could not be removed"),
            (house.search.tick, INDEX_EVERY, "what items say could not be made findable"),
            (house.retention.tick, EXPIRE_EVERY, "content that is to be kept no longer could not be erased"),
        )
    ]
    try:
        with house.desk.settling.running(), house.anchors.running(), _demo_agents(house.settings):
            _print_link(house)
            yield
    finally:
        for task in tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        REGISTRY.unregister(collector)


def _put_out_of_the_collectors_sight() -> None:
    """Import all that the pages' script needs, and let the garbage collector never look through it again.

    It is there to stay. Before anybody comes: two first visitors at once would import the same side by side, one of
    them half.
    """
    gc.disable()  # What is imported is there to stay, and would be looked through again and again meanwhile.
    ours = (each.name for each in pkgutil.iter_modules([str(SCRIPT.parent)]) if each.name != SCRIPT.stem)
    for name in ("pandas", "pyarrow", *(f"pages.{name}" for name in ours)):
        importlib.import_module(name)
    gc.collect()
    gc.freeze()
    gc.enable()
    # A page makes and drops thousands of objects; looking after every 700, as Python does, finds nothing most times.
    gc.set_threshold(20_000)


async def _again_and_again(step: Callable[[], int], *, every: float, busy: float, trouble: str) -> None:
    """Take the step without end, soon again (``busy`` seconds) where it did something."""
    while True:
        done = 0
        try:
            done = await run_in_threadpool(step)
        except Exception:  # noqa: BLE001 -- it must go on; what failed is in the log, and a lasting fault of sealing alarms
            _log.exception("%s; trying again", trouble)
        await asyncio.sleep(busy if done else every)


def _print_link(house: House) -> None:
    if house.settings.oidc_providers:
        print(f"\nSignoff is ready. Sign in at:\n\n  {house.settings.issuer}\n", flush=True)
        return
    link = f"{house.settings.issuer}/sign-in/{house.sessions.create_link(by=AT_COMMAND_LINE)}"
    print(
        f"\nSignoff is ready. Open this link to sign in; it works once, for 15 minutes:\n\n  {link}\n",
        flush=True,
    )


@contextmanager
def _demo_agents(settings: Settings) -> Iterator[None]:
    """Run the four demo agents beside the server, where the settings ask for them, and end them with it."""
    if not settings.demo:
        yield
        return
    command = [
        sys.executable,
        "-m",
        "agents.demo",
        "--url",
        settings.issuer,
        "--data",
        str(settings.data_dir.resolve()),
    ]
    agents = subprocess.Popen(command, cwd=HERE)  # noqa: S603 -- our own module, with our own settings
    try:
        yield
    finally:
        agents.send_signal(signal.SIGTERM)
        try:
            agents.wait(timeout=10)
        except subprocess.TimeoutExpired:
            agents.kill()
            agents.wait()


def _furnish_demo(house: House) -> None:
    """Give the demo house its policy, and its agents keys that are still good, in DATA_DIR/demo_keys.json."""
    house.policies.install(demo_policy(), WORKSPACE, COMMAND_LINE)
    path = house.settings.data_dir / "demo_keys.json"
    known: dict[str, str] = json.loads(path.read_text()) if path.exists() else {}
    if all(agent in known and _is_good(house.keys, known[agent]) for agent in AGENT_NAMES):
        return
    fresh = {agent: house.keys.create(agent, WORKSPACE, COMMAND_LINE)[1] for agent in AGENT_NAMES}
    draft = path.with_suffix(".new")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        json.dump(fresh, file)
    draft.replace(path)


def _is_good(keys: KeyRing, bearer: str) -> bool:
    try:
        keys.recognise(bearer)
    except ReviewError:
        return False
    return True


def serve(settings: Settings, _: argparse.Namespace) -> None:
    """Serve the console and the machines' door until the process is told to end."""
    _require_a_shut_door(settings)
    with open_house(settings) as house:
        if settings.demo:
            _furnish_demo(house)
        config = uvicorn.Config(
            make_app(house),
            host=settings.host,
            port=settings.port,
            log_level="warning",
            access_log=False,
            server_header=False,
            # Longer than between two questions for news, and than proxies keep a connection that nobody uses.
            timeout_keep_alive=75,
            timeout_graceful_shutdown=5,
        )
        _Server(config, house.store).run()


def migrate(settings: Settings, _: argparse.Namespace) -> None:
    """Bring the database to this release; with SIGNOFF_DATABASE_OWNER_URL as its owner, for the server's role."""
    open_store(settings.store_url, owner_url=settings.owner_url, is_guarded=settings.is_guarded).close()
    _say("The database has the schema of this release.")


def _require_a_shut_door(settings: Settings) -> None:
    if settings.is_loopback:
        return
    if not settings.oidc_providers:
        sys.exit(
            f"SIGNOFF_HOST={settings.host} can be reached from other machines, and sign-in links are for this machine "
            "alone. Name an identity provider in SIGNOFF_OIDC_PROVIDERS, or serve on 127.0.0.1."
        )
    if not settings.is_https:
        sys.exit(
            f"SIGNOFF_HOST={settings.host} can be reached from other machines, so people must reach the console over "
            f"https; SIGNOFF_PUBLIC_URL says {settings.issuer}."
        )


def link(settings: Settings, options: argparse.Namespace) -> None:
    """Print a fresh sign-in link."""
    if not settings.takes_links:
        sys.exit(
            "With an identity provider, links open nothing on a console that other machines reach. "
            "Sign in there, then: python app.py role give ISSUER SUBJECT admin"
        )
    with open_house(settings) as house:
        person = replace(LOCAL_OPERATOR, workspace=options.workspace)
        _say(f"{settings.issuer}/sign-in/{house.sessions.create_link(person, by=AT_COMMAND_LINE)}")


def people(settings: Settings, options: argparse.Namespace) -> None:
    """Print everybody who has signed in, with the roles that hold."""
    with open_house(settings) as house:
        for present in house.roster.people(_operator(options)):
            member = present.member
            roles = ", ".join(sorted(member.roles)) or "no role"
            _say(f"{member.iss}  {member.sub}  {member.name!r}  {roles}  seen {member.last_seen_at:%Y-%m-%d %H:%M}")


def role_give(settings: Settings, options: argparse.Namespace) -> None:
    """Give somebody who has signed in a role: so the first admin is made."""
    _change_roles(settings, options, given=frozenset({Role(options.role)}))


def role_take(settings: Settings, options: argparse.Namespace) -> None:
    """Take a role from somebody."""
    _change_roles(settings, options, taken=frozenset({Role(options.role)}))


def _change_roles(
    settings: Settings,
    options: argparse.Namespace,
    *,
    given: frozenset[Role] = frozenset(),
    taken: frozenset[Role] = frozenset(),
) -> None:
    with open_house(settings) as house:
        member = house.roster.give_and_take(
            options.workspace, options.issuer, options.subject, given=given, taken=taken, actor=COMMAND_LINE
        )
        _say(f"{member.name!r} is now: {', '.join(sorted(member.roles)) or 'in no role'}.")


def key_create(settings: Settings, options: argparse.Namespace) -> None:
    """Print a new key of the agent, as the last word."""
    with open_house(settings) as house:
        key, text = house.keys.create(options.agent, options.workspace, COMMAND_LINE, limits=_limits(options))
        _say(f"Key of {key.agent}, good until {key.expires_at:%Y-%m-%d}, shown this once: {text}")


def key_register(settings: Settings, options: argparse.Namespace) -> None:
    """Register an agent's public key (PEM, JWK or JWK set), and print its client id as the last word."""
    with open_house(settings) as house:
        with _touching(options.public_key, "read"):
            public_key = options.public_key.read_text(encoding="utf-8")
        key = house.keys.register(
            options.agent, options.workspace, COMMAND_LINE, public_key=public_key, limits=_limits(options)
        )
        _say(f"Public key of {key.agent}, good until {key.expires_at:%Y-%m-%d}; its client id: {key.prefix}")


def key_renew(settings: Settings, options: argparse.Namespace) -> None:
    """Print the successor of a key, as the last word; the key itself stays good for the overlap."""
    with open_house(settings) as house:
        overlap = timedelta(hours=options.overlap_hours)
        old, new, text = house.keys.renew(options.prefix, options.workspace, COMMAND_LINE, overlap=overlap)
        _say(
            f"The key {old.prefix} of {old.agent} is good until {old.expires_at:%Y-%m-%d %H:%M} UTC, "
            f"its successor until {new.expires_at:%Y-%m-%d}, shown this once: {text}"
        )


def key_limit(settings: Settings, options: argparse.Namespace) -> None:
    """Hold a key to limits of its own; to those of the installation where none are given."""
    with open_house(settings) as house:
        key = house.keys.limit(options.prefix, options.workspace, COMMAND_LINE, limits=_limits(options))
        pace = f"{key.limits.per_minute or settings.submits_per_minute} submissions a minute"
        waiting = f"{key.limits.most_waiting or settings.most_waiting} items waiting"
        _say(f"The key {key.prefix} of {key.agent}: {pace}, {waiting}.")


def _limits(options: argparse.Namespace) -> Limits:
    return Limits(options.per_minute, options.most_waiting)


def key_list(settings: Settings, options: argparse.Namespace) -> None:
    """Print every key, without its secret."""
    with open_house(settings) as house:
        for key in house.keys.keys(options.workspace):
            state = "revoked" if key.revoked_at else f"until {key.expires_at:%Y-%m-%d}"
            used = f"used {key.last_used_at:%Y-%m-%d %H:%M}" if key.last_used_at else "never used"
            form = "  public key" if key.is_public else ""
            _say(f"{key.prefix}  {key.agent:32}  {state:18}  {used}{form}")


def key_revoke(settings: Settings, options: argparse.Namespace) -> None:
    """End a key at once."""
    with open_house(settings) as house:
        key = house.keys.revoke(options.prefix, options.workspace, COMMAND_LINE)
        _say(f"The key {key.prefix} of {key.agent} is revoked.")


def key_rotate(settings: Settings, _: argparse.Namespace) -> None:
    """Replace the signing key; the old one first signs its word on the new one into the audit log."""
    with open_house(settings) as house:
        successor = Receipts(load_successor(settings.key_file), issuer=settings.issuer)
        house.sealer.announce(successor.verifying_key, COMMAND_LINE)
    adopt_successor(settings.key_file)
    _say(f"Start the servers again, so that they sign with the new key {successor.jwks()['keys'][0]['kid']}")


def key_public(settings: Settings, options: argparse.Namespace) -> None:
    """Write the public key that receipts and the audit log verify with."""
    _require_writable(options.out)
    with open_house(settings) as house:
        with _touching(options.out, "written"):
            options.out.write_bytes(house.receipts.public_pem())
        _say(f"Wrote {options.out}; its id is {house.receipts.jwks()['keys'][0]['kid']}")


def export(settings: Settings, options: argparse.Namespace) -> None:
    """Write the audit events, the decisions or the labels to a file, in constant memory."""
    _require_writable(options.out)
    with open_house(settings) as house:
        rows, chunks = _exported(house.records, _operator(options), options)
        # Rows are counted only for whoever watches: of a long log that takes a moment.
        total = rows.size if sys.stderr.isatty() else None
        with (
            _touching(options.out, "written"),
            options.out.open("wb") as file,
            tqdm(total=total, unit=" rows", disable=None) as progress,
        ):
            for chunk in chunks:
                file.write(chunk)
                progress.update(rows.passed - progress.n)
    _say(f"Wrote {options.out}, {options.out.stat().st_size} bytes.")


class _Rows(Protocol):
    """What an export goes through, and how far it is."""

    @property
    def size(self) -> int: ...

    @property
    def passed(self) -> int: ...


def _exported(records: Records, operator: Person, options: argparse.Namespace) -> tuple[_Rows, Iterator[bytes]]:
    if (options.what, options.format) not in _FORMATS:
        sys.exit(
            f"{options.what} cannot be exported as {options.format}; "
            "csv always can, labels also as jsonl and hf (a zip)."
        )
    if options.what == "audit":
        events = records.audit_events(operator, _event_filter(options))
        return events, audit_csv(events)
    where = _decision_filter(options)
    if options.what == "decisions":
        decisions = records.decisions(operator, where, shows_values=options.unmasked)
        return decisions, decisions_csv(decisions)
    labels = records.labels(operator, where, shows_values=options.unmasked)
    return labels, _LABELS[options.format](labels)


_LABELS: dict[str, Callable[[RowExport[Label]], Iterator[bytes]]] = {
    "csv": labels_csv,
    "jsonl": labels_jsonl,
    "hf": training_archive,
}
_FORMATS = {("audit", "csv"), ("decisions", "csv"), *(("labels", form) for form in _LABELS)}


def _event_filter(options: argparse.Namespace) -> EventFilter:
    given = [name for name in ("agent", "tool", "decision", "reviewer", "unmasked") if getattr(options, name)]
    if given:
        sys.exit(f"--{given[0]} is for decisions and labels; the audit log is exported by --since and --until.")
    return EventFilter(since=options.since, until=options.until)


def _decision_filter(options: argparse.Namespace) -> DecisionFilter:
    return DecisionFilter(
        items=ItemFilter(agent=options.agent, tool=options.tool),
        decision=options.decision,
        reviewer=options.reviewer,
        since=options.since,
        until=options.until,
    )


def erase(settings: Settings, options: argparse.Namespace) -> None:
    """Remove the content of an item, or of all items that concern a subject; without --yes, say what would go."""
    operator = _operator(options)
    with open_house(settings) as house:
        if options.item is not None:
            plan = house.eraser.plan_item(operator, options.item)
        else:
            plan = house.eraser.plan_subject(operator, options.subject)
        _say(_foretold(plan))
        if not options.yes or not plan.items:
            return
        done = house.eraser.erase(operator, plan)
        _say(
            f"Erased. Items: {done.items}, of which withdrawn: {done.withdrawn}; decisions: {done.decisions}; notes: "
            f"{done.notes}. The audit log verifies as before."
        )


def _foretold(plan: ErasurePlan) -> str:
    if not plan.items:
        return "Nothing concerns this subject."
    listed = "\n".join(f"  {item_id}" for item_id in plan.items)
    withdrawn = (
        f"\n{plan.undecided} of them wait for a decision and would be withdrawn first." if plan.undecided else ""
    )
    return (
        f"Of these items, everything that was proposed, said and decided in words would be removed for good, and what "
        f"opens it in the audit log:\n{listed}{withdrawn}\nAdd --yes to do it. Exports and backups made before keep it."
    )


def _operator(options: argparse.Namespace) -> Person:
    """Return whoever runs the command, at the desk that it is about."""
    return replace(AT_COMMAND_LINE, workspace=options.workspace)


def _require_writable(path: Path) -> None:
    """Return only where the file can be written, before anything is done, or recorded as done, for it."""
    if path.is_dir():
        sys.exit(f"{path} is a folder; name a file in it.")
    if not path.parent.is_dir():
        sys.exit(f"There is no folder {path.parent} to write {path.name} into.")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        sys.exit(f"{path} may not be written by whoever runs this.")


@contextmanager
def _touching(path: Path, done: str) -> Iterator[None]:
    """Refuse in one line where the file cannot be read or written after all; ``done`` says which."""
    try:
        yield
    except OSError as error:
        sys.exit(f"{path} could not be {done}: {error.strerror}.")
    except UnicodeDecodeError:
        sys.exit(f"{path} could not be {done}: it is no text in UTF-8.")


def _say(text: str) -> None:
    print(text)


def _date(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _commands() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python app.py", description="The desk where uncertain actions wait for a person."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _command(commands, serve)
    _command(commands, migrate)
    _in_workspace(_command(commands, link))
    _in_workspace(_command(commands, people))
    roles = commands.add_parser("role", help="Give and take people's roles.").add_subparsers(required=True)
    for giving in (_command(roles, role_give, "give"), _command(roles, role_take, "take")):
        giving.add_argument("issuer")
        giving.add_argument("subject")
        giving.add_argument("role", choices=[role.value for role in Role])
        _in_workspace(giving)
    keys = commands.add_parser("key", help="Create, list and revoke agents' keys.").add_subparsers(required=True)
    _with_limits(_in_workspace(_command(keys, key_create, "create"))).add_argument("agent")
    registering = _with_limits(_in_workspace(_command(keys, key_register, "register")))
    registering.add_argument("agent")
    registering.add_argument("--public-key", type=Path, required=True, help="a file: PEM, JWK or JWK set")
    _with_limits(_in_workspace(_command(keys, key_limit, "limit"))).add_argument("prefix")
    _in_workspace(_command(keys, key_list, "list"))
    _in_workspace(_command(keys, key_revoke, "revoke")).add_argument("prefix")
    renewing = _in_workspace(_command(keys, key_renew, "renew"))
    renewing.add_argument("prefix")
    renewing.add_argument("--overlap-hours", type=float, default=KEY_OVERLAP / timedelta(hours=1))
    _command(keys, key_rotate, "rotate")
    _command(keys, key_public, "public").add_argument("--out", type=Path, required=True)
    exporting = _in_workspace(_command(commands, export))
    exporting.add_argument("what", choices=["audit", "decisions", "labels"])
    exporting.add_argument("--out", type=Path, required=True)
    exporting.add_argument("--since", type=_date, help="RFC 3339; without an offset it is UTC")
    exporting.add_argument("--until", type=_date)
    exporting.add_argument("--agent", help="only what this agent proposed; as --tool and below not for audit")
    exporting.add_argument("--tool")
    exporting.add_argument("--decision", type=DecisionType, choices=list(DecisionType))
    exporting.add_argument("--reviewer", help="a reviewer's pseudonym, name, or issuer#subject")
    exporting.add_argument("--format", default="csv", choices=list(_LABELS))
    exporting.add_argument("--unmasked", action="store_true", help="with what is masked on the screens as it is")
    erasing = _in_workspace(_command(commands, erase))
    which = erasing.add_mutually_exclusive_group(required=True)
    which.add_argument("--item", type=UUID, help="an item's id")
    which.add_argument("--subject", help="whom or what items concern, as their agents gave it in impact.subject")
    erasing.add_argument("--yes", action="store_true", help="do it; it cannot be undone")
    return parser


def _in_workspace(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    parser.add_argument("--workspace", default=WORKSPACE, help="whose desk it is about")
    return parser


def _with_limits(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    parser.add_argument("--per-minute", type=_positive, help="how fast it may submit")
    parser.add_argument("--most-waiting", type=_positive, help="how many of its agent's items may wait at once")
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError
    return number


def _command(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]",
    run: Callable[[Settings, argparse.Namespace], None],
    name: str | None = None,
) -> argparse.ArgumentParser:
    parser = commands.add_parser(name or run.__name__, help=run.__doc__)
    parser.set_defaults(run=run)
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command. A refusal is told in one line and ends with 1; wrong words end with 2."""
    options = _commands().parse_args(arguments)
    try:
        options.run(Settings(), options)
    except (ReviewError, ValidationError, UnfitDatabaseError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
