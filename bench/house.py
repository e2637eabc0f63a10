"""The use cases over one database, wired as `app.py` wires them, to be called in this process."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from joserfc.jwk import OKPKey

from bench.workload import WORKSPACE, policy, seed
from db.store import SqlStore, open_store
from review.api import Doors
from review.audit import SYSTEM
from review.desk import ReviewDesk
from review.governance import KeyRing, PolicyBook
from review.indexer import Search
from review.intake import Intake
from review.pace import Pace, Shares
from review.people import AgentKey
from review.sealer import Sealer
from review.signing import Receipts


@dataclass(frozen=True, slots=True)
class House:
    """One installation, with the policy of the measurements in force."""

    store: SqlStore
    intake: Intake
    desk: ReviewDesk
    keys: KeyRing
    receipts: Receipts

    def key(self, agent: str) -> tuple[AgentKey, str]:
        """Return a fresh key of the agent, and its bearer text."""
        return self.keys.create(agent, WORKSPACE, SYSTEM)

    def fill(self, size: int) -> None:
        """Let so many items wait, sealed and findable: so many at once never come."""
        seed(self.store, size)
        Sealer(self.store, self.receipts).seal()
        search = Search(self.store, PolicyBook(self.store))
        while search.tick():
            pass

    def doors(self) -> Doors:
        """Return what the machines' routes may call."""
        pace = Pace(self.store, per_minute=10_000_000)
        return Doors(store=self.store, intake=self.intake, keys=self.keys, receipts=self.receipts, pace=pace)


@contextmanager
def open_house(url: str) -> Iterator[House]:
    """Open the database, make its schema and put the policy in force."""
    store = open_store(url)
    try:
        receipts = Receipts(OKPKey.generate_key("Ed25519"), issuer="http://127.0.0.1")
        policies = PolicyBook(store)
        policies.install(policy(), WORKSPACE, SYSTEM)
        yield House(
            store=store,
            intake=Intake(store, receipts, policies, shares=Shares(store, most_waiting=10_000_000)),
            desk=ReviewDesk(store, receipts, policies),
            keys=KeyRing(store),
            receipts=receipts,
        )
    finally:
        store.close()
