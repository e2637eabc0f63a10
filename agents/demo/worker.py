"""One agent at work: several cases at once, a new one at a steady pace, every tool call through the gate.

What cannot be put before a reviewer is not run. While the console is away the same call is tried again under
the same idempotency key, also after a restart of the agent, so that it finds its item and its decision.
"""

import json
import logging
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from threading import Event, Lock, Thread
from time import monotonic

from langchain_core.tools import BaseTool
from pydantic import ValidationError

from ..canonical import is_same
from ..errors import GateError, ReceiptKeyError, ServerAwayError, ServerRefusedError
from ..gate import Gate
from .cases import Case, stream
from .house import AGENT_VERSION
from .minds import Mind, Proposal
from .store import HouseError, HouseStore, LedgerRun, case_in_hand

IN_FLIGHT = 5
MAX_TURNS = 3
FIRST_RETRY_SECONDS = 2.0
LONGEST_RETRY_SECONDS = 30.0
UNAUTHORIZED = 401

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Agent:
    """What one agent is made of; ``gate`` opens a gate with the agent's key as it stands now."""

    name: str
    mind: Mind
    tools: dict[str, BaseTool]
    store: HouseStore
    gate: Callable[[], Gate]


@dataclass(frozen=True)
class Work:
    """A case in hand: what was heard of the earlier proposals, and the one that is before the reviewers."""

    case: Case
    heard: tuple[str, ...] = ()
    proposal: Proposal | None = None


class Worker:
    """Works through an agent's stream of cases until it is stopped or has taken its number of cases.

    The threads are daemons: one that waits for a reviewer never keeps the program from ending. What it
    has in hand then is taken up again at the next start.
    """

    def __init__(
        self,
        agent: Agent,
        *,
        seconds_between: float,
        limit: int | None,
        say: Callable[[str], None],
        stop: Event,
    ) -> None:
        self._agent = agent
        self._seconds_between = seconds_between
        self._say = say
        self._stop = stop
        self._left = limit
        self._position = agent.store.position(agent.name)
        self._stream: Iterator[Case] = stream(agent.name, position=self._position)
        self._unfinished = deque(_loaded(text) for text in agent.store.unfinished(agent.name))
        self._due = monotonic()
        self._taking = Lock()
        self._opening = Lock()
        self._gate: Gate | None = None
        self._threads = [
            Thread(target=self._work, name=f"{agent.name}-{number}", daemon=True) for number in range(IN_FLIGHT)
        ]

    def start(self) -> None:
        """Begin to work."""
        for thread in self._threads:
            thread.start()

    def is_at_work(self) -> bool:
        """Tell whether a case is still in hand or to come."""
        return any(thread.is_alive() for thread in self._threads)

    def close(self, *, by: float) -> None:
        """Let the threads end until then (monotonic clock); close the gate where none of them needs it."""
        for thread in self._threads:
            thread.join(max(0.0, by - monotonic()))
        if self._gate is not None and not self.is_at_work():
            self._gate.close()

    def _work(self) -> None:
        while (work := self._next()) is not None:
            case_in_hand.set(work.case.id)
            if self._see_to(work):
                self._agent.store.finish(work.case.id)

    def _next(self) -> Work | None:
        with self._taking:
            if self._unfinished and not self._stop.is_set():
                return self._unfinished.popleft()
            if self._left == 0 or self._stop.wait(max(0.0, self._due - monotonic())):
                return None
            self._due = monotonic() + self._seconds_between
            if self._left is not None:
                self._left -= 1
            self._position += 1
            self._agent.store.advance(self._agent.name, self._position)
            return Work(next(self._stream))

    def _see_to(self, work: Work) -> bool:
        while len(work.heard) < MAX_TURNS:
            proposal = work.proposal or self._proposal(work)
            if proposal is None:
                return True
            work = replace(work, proposal=proposal)
            self._agent.store.begin(self._agent.name, work.case.id, json.dumps(asdict(work)))
            answer = self._answer(work, proposal)
            if answer is None:
                return not self._stop.is_set()
            work = replace(work, heard=(*work.heard, f"{proposal.tool}: {answer}"), proposal=None)
        return True

    def _proposal(self, work: Work) -> Proposal | None:
        try:
            proposal = self._agent.mind.propose(work.case, work.heard)
        except Exception:
            # A provider's client raises errors of its own kind; the agent outlives all of them.
            log.exception("%s could not make up its mind about %s", self._agent.name, work.case.id)
            return None
        if proposal is None and not work.heard:
            self._say(f"{self._agent.name} {work.case.id}: nothing to do")
        return proposal

    def _answer(self, work: Work, proposal: Proposal) -> str | None:
        pause = FIRST_RETRY_SECONDS
        while not self._stop.is_set():
            gate = self._open_gate()
            try:
                return self._asked(gate, work, proposal)
            except GateError as error:
                self._tell(work, proposal, f"not run: {error}")
                may_try_again = self._may_try_again(gate, error)
            if not may_try_again:
                return None
            self._stop.wait(pause)
            pause = min(LONGEST_RETRY_SECONDS, pause * 2)
        return None

    def _asked(self, gate: Gate, work: Work, proposal: Proposal) -> str:
        store, case_id = self._agent.store, work.case.id
        before = len(store.runs(case_id=case_id))
        try:
            answer = gate.run(
                self._agent.tools[proposal.tool],
                proposal.args,
                confidence=proposal.confidence,
                confidence_source=proposal.confidence_source,
                context=proposal.context,
                impact=proposal.impact,
                rationale=proposal.rationale,
                agent_version=AGENT_VERSION,
                idempotency_key=f"{store.house_id}/{self._agent.name}/{case_id}/{len(work.heard)}",
            )
        except HouseError as error:
            self._tell(work, proposal, f"permitted, but the house refused: {error}")
            return f"failed: {error}"
        except ValidationError as error:
            self._tell(work, proposal, "not proposed: its arguments are not the tool's")
            return f"not run, bad arguments: {error}"
        self._tell(work, proposal, _what_happened(proposal, store.runs(case_id=case_id)[before:], str(answer)))
        return str(answer)

    def _may_try_again(self, gate: Gate, error: GateError) -> bool:
        key_refused = isinstance(error, ServerRefusedError) and error.status == UNAUTHORIZED
        if key_refused or isinstance(error, ReceiptKeyError):
            # The console was set up anew: the next gate reads the agent's key and the signing keys again.
            with self._opening:
                if self._gate is gate:
                    self._gate = None
        return key_refused or isinstance(error, ServerAwayError)

    def _open_gate(self) -> Gate:
        with self._opening:
            if self._gate is None:
                self._gate = self._agent.gate()
            return self._gate

    def _tell(self, work: Work, proposal: Proposal, what: str) -> None:
        subject = proposal.impact.get("subject") or ""
        sure = f"{proposal.confidence:.2f} sure"
        self._say(f"{self._agent.name} {work.case.id}: {proposal.tool} {subject} ({sure}) → {what}")


def _loaded(text: str) -> Work:
    members = json.loads(text)
    proposal = members["proposal"]
    return Work(
        case=Case(**members["case"]),
        heard=tuple(members["heard"]),
        proposal=None if proposal is None else Proposal(**proposal),
    )


def _what_happened(proposal: Proposal, runs: list[LedgerRun], answer: str) -> str:
    if not runs:
        return f"did not run. {answer.splitlines()[0] if answer else ''}"
    times = "ran once" if len(runs) == 1 else f"ran {len(runs)} times"
    args = runs[-1].args
    changes = [
        f"{name} {proposal.args.get(name)!r} became {value!r}"
        for name, value in args.items()
        if not is_same(proposal.args.get(name), value)
    ]
    edited = f", edited: {'; '.join(changes)}" if changes else " as proposed"
    return f"{times}{edited}. {runs[-1].did}"
