"""A running console for tests: the real machines' door over real HTTP, with the desk at hand in the same process."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta

import uvicorn
from joserfc.jwk import OKPKey
from starlette.applications import Starlette
from starlette.routing import Mount, Route

from pages.services import Services
from review.anchors import Anchors
from review.api import Doors, health_routes, make_api
from review.audit import SYSTEM
from review.board import Board
from review.bulk import Bulk
from review.desk import ReviewDesk
from review.emergencies import Emergencies
from review.erasure import Eraser
from review.governance import KeyRing, PolicyBook
from review.indexer import Search
from review.intake import Intake
from review.pace import Pace
from review.pauses import Switch
from review.people import Person
from review.places import Place
from review.policy import PolicyDocument
from review.records import Records
from review.roster import Roster
from review.sealer import Sealer
from review.sessions import LOCAL_OPERATOR, Sessions
from review.settings import Settings
from review.signing import Receipts
from review.store import Store
from review.tokens import Tokens
from review.views import Views
from tests.waiting import PATIENCE_SECONDS, eventually


class Console:
    """The use cases of one installation, and where its machines' door is served."""

    def __init__(
        self,
        store: Store,
        *,
        issuer: str = "http://console.test",
        places: Sequence[Place] = (),
        undo_for: timedelta = timedelta(0),
    ) -> None:
        self.store = store
        self.url = issuer
        self.signing_key = OKPKey.generate_key("Ed25519")
        self.receipts = Receipts(self.signing_key, issuer=issuer)
        self.policies = PolicyBook(store)
        self.keys = KeyRing(store, Tokens(self.receipts))
        self.intake = Intake(store, self.receipts, self.policies, draw=lambda: 1.0)
        self.desk = ReviewDesk(store, self.receipts, self.policies, undo_for=undo_for)
        self.board = Board(store, self.policies, self.desk)
        self.bulk = Bulk(store, self.policies, self.desk)
        self.sealer = Sealer(store, self.receipts)
        self.anchors = Anchors(store, places)
        self.records = Records(store, self.policies, self.sealer, self.anchors)
        self.eraser = Eraser(store)
        self.sessions = Sessions(store)
        self.roster = Roster(store)
        self.switch = Switch(store)
        self.emergencies = Emergencies(store)
        self.views = Views(store)
        self.person: Person = LOCAL_OPERATOR
        self.pace = Pace(store, per_minute=1_000_000)

    def agent_key(self, agent: str = "shopper") -> str:
        """Return a fresh bearer key of the agent."""
        return self.keys.create(agent, self.person.workspace, SYSTEM)[1]

    def save_policy(self, document: PolicyDocument) -> None:
        """Put the document in force, whatever was before."""
        current = self.policies.in_force(self.person.workspace).number
        self.policies.save(document, self.person, based_on=current)

    def doors(self) -> Doors:
        """Return what the routes call."""
        return Doors(store=self.store, intake=self.intake, keys=self.keys, receipts=self.receipts, pace=self.pace)

    def services(self, *, settings: Settings | None = None) -> Services:
        """Return what the pages may call."""
        return Services(
            desk=self.desk,
            board=self.board,
            bulk=self.bulk,
            records=self.records,
            policies=self.policies,
            keys=self.keys,
            search=Search(self.store, self.policies),
            sessions=self.sessions,
            roster=self.roster,
            switch=self.switch,
            emergencies=self.emergencies,
            views=self.views,
            settings=settings or Settings(),
        )

    def asgi(self) -> Starlette:
        """Return the machines' door as the application serves it."""
        health = [Route(path, handler) for path, handler in health_routes(self.store, self.anchors)]
        return Starlette(routes=[Mount("/api", app=make_api(self.doors())), *health])


@contextmanager
def served(console: Console, *, port: int = 0) -> Iterator[Console]:
    """Serve the console's door on this port of this machine, 0 for a free one; its ``url`` says where."""
    with serving(console.asgi(), port=port) as console.url:
        yield console


@contextmanager
def serving(app: Starlette, *, port: int = 0) -> Iterator[str]:
    """Serve the application on this port of this machine, 0 for a free one, and return its address."""
    server = uvicorn.Server(
        uvicorn.Config(app, host="127.0.0.1", port=port, log_level="warning", timeout_graceful_shutdown=1)
    )
    thread = threading.Thread(target=server.run, name="console", daemon=True)
    thread.start()
    assert eventually(lambda: server.started), "the console did not start"
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(PATIENCE_SECONDS)
        assert not thread.is_alive(), "the console did not end"
