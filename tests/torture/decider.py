"""The people of the torture: they decide whatever waits, and remember what they were told is decided."""

import threading
from dataclasses import dataclass
from pathlib import Path
from random import Random
from uuid import UUID

from agents.protocol import Action, Approve, Decision, Edit, Reject, Respond, Route
from db.store import SqlStore
from review.audit import SYSTEM
from review.desk import ReviewDesk, Seen
from review.errors import ReviewError
from review.governance import KeyRing, PolicyBook
from review.items import ReviewItem
from review.people import Person, Role
from review.policy import Autonomy, PolicyDocument, Rule, ToolRule
from review.signing import Receipts, load_signing_key
from tests.builders import EVER_AFTER, ISSUER, WORKSPACE

IDLE_SECONDS = 0.02
END_SECONDS = 60

PEOPLE = tuple(
    Person(ISSUER, name, name, frozenset({Role.REVIEWER}), authenticated_at=EVER_AFTER)
    for name in ("ada", "edith", "grace", "mary", "rosa")
)


@dataclass(frozen=True, slots=True)
class Made:
    """A decision that was acknowledged to the person who made it."""

    item_id: UUID
    person: str
    epoch: int
    decision: Decision


def furnish(store: SqlStore, agents: list[str]) -> dict[str, str]:
    """Put the policy in force and return a key for each agent."""
    autonomies = {"reply": Autonomy.AUTONOMOUS, "refund": Autonomy.SUPERVISED, "pay": Autonomy.SUPERVISED}
    document = PolicyDocument(
        rules=(
            Rule(name="two people", when='action.name == "pay"', route=Route.REVIEW, quorum=2),
            Rule(name="never", when='action.name == "wipe"', route=Route.DENY),
        ),
        tools=tuple(
            ToolRule(agent=agent, tool=tool, autonomy=autonomy)
            for agent in agents
            for tool, autonomy in autonomies.items()
        ),
    )
    PolicyBook(store).install(document, WORKSPACE, SYSTEM)
    keys = KeyRing(store)
    return {agent: keys.create(agent, WORKSPACE, SYSTEM)[1] for agent in agents}


class Decider:
    """Five people at the desk, on a store of their own beside the server's, until they are told to go home."""

    def __init__(self, store: SqlStore, folder: Path, *, issuer: str, seed: int) -> None:
        receipts = Receipts(load_signing_key(folder / "signing-key.pem"), issuer=issuer)
        self._desk = ReviewDesk(store, receipts, PolicyBook(store))
        self._random = Random(seed)  # noqa: S311 -- chooses what is decided, keeps no secret
        self._go_home = threading.Event()
        self._thread = threading.Thread(target=self._decide_all, name="decider", daemon=True)
        self.made: list[Made] = []
        self.trouble: BaseException | None = None

    def start(self) -> None:
        """Begin to decide."""
        self._thread.start()

    def end(self) -> None:
        """Return when the last decision is made."""
        self._go_home.set()
        self._thread.join(END_SECONDS)
        assert not self._thread.is_alive(), "the decider did not end"

    def _decide_all(self) -> None:
        try:
            while not self._go_home.is_set():
                if not sum(self._decided_one(person) for person in PEOPLE):
                    self._go_home.wait(IDLE_SECONDS)
        except BaseException as trouble:  # noqa: BLE001 -- whoever runs the torture must hear of it
            self.trouble = trouble

    def _decided_one(self, person: Person) -> bool:
        item = self._desk.claim(person)
        if item is None:
            return False
        decision = self._answer(item)
        try:
            self._desk.decide(item.id, decision, person, seen=Seen.of(item))
        except ReviewError:
            return True  # The agent withdrew it meanwhile, or its time was over.
        self.made.append(Made(item.id, person.sub, item.epoch, decision))
        return True

    def _answer(self, item: ReviewItem) -> Decision:
        drawn = self._random.random()
        if drawn < 0.6:
            return Approve()
        if drawn < 0.8 and item.draft is None:
            args = {**item.request.action.args, "amount": f"{self._random.randint(1, 9)}.00"}
            return Edit(edited_action=Action(name=item.request.action.name, args=args))
        return Reject(message="No.") if drawn < 0.93 else Respond(message="I did it by hand.")
