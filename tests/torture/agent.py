"""An agent that is killed: real guarded tools, one call after the other, and after a restart the same calls again."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from joserfc import jws
from langchain_core.tools import BaseTool, StructuredTool

from agents import AlreadyConsumedError, Gate, GateError, ServerAwayError
from agents.client import Client, Steps
from agents.protocol import ActionRequest, ActionStatus, Args, Outcome, OutcomeStatus
from agents.receipts import ReceiptClaims
from tests.torture.ledger import Effect, Journal, Ledger

TOOLS = ("reply", "refund", "reply", "pay", "reply", "refund", "reply", "reply", "reply", "wipe")
POLL_SECONDS = 1
# Few, because the agent itself comes back for its call until the console is there again.
ATTEMPTS = 2
PAUSE_SECONDS = 0.2
_STANDARD_ERROR = 2
# How long a tool works before its effect is there, and again before it returns.
RUN_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class Post:
    """Where an agent works: the console, its key and name, how many calls it makes at once, and its folder."""

    url: str
    key: str
    name: str
    threads: int
    folder: Path

    @property
    def closing_time(self) -> Path:
        """Once this file is there, the agent ends with the calls that it has in hand."""
        return self.folder / "closing-time"

    @property
    def log(self) -> Path:
        """Where the agent says what is wrong."""
        return self.folder / "agents.log"

    @property
    def ledger(self) -> Path:
        """Where the effects are."""
        return self.folder / "ledger.sqlite3"

    def progress(self, thread: int) -> Path:
        """Where the agent keeps which call it is at."""
        return self.folder / f"{self.name}-{thread}.progress"


def action_of(call: str) -> tuple[str, Args]:
    """Return the tool and the arguments of a call, the same whenever it is made."""
    number = int(call.rpartition("-")[2])
    return TOOLS[number % len(TOOLS)], {"order": call, "amount": f"{number % 90 + 10}.00"}


class KeepingClient(Client):
    """The client, which writes down what it was told before anybody acts on it."""

    def __init__(self, url: str, key: str, journal: Journal) -> None:
        super().__init__(url, key, attempts=ATTEMPTS)
        self._journal = journal
        self.in_hand = threading.local()

    def submit(self, request: ActionRequest, *, idempotency_key: str) -> Steps[ActionStatus]:
        """File an action, and note its item."""
        item = yield from super().submit(request, idempotency_key=idempotency_key)
        self._journal.note(told="filed", call=idempotency_key, item=str(item.id), digest=item.digest)
        return item

    def consume(self, item_id: UUID, *, receipt: str, args: Args) -> Steps[ActionStatus]:
        """Use up the receipt, and note its id."""
        item = yield from super().consume(item_id, receipt=receipt, args=args)
        payload = jws.extract_compact(receipt.encode()).payload
        self.in_hand.jti = str(ReceiptClaims.model_validate_json(payload or b"").jti)
        self._journal.note(told="consumed", item=str(item_id), jti=self.in_hand.jti)
        return item

    def report(self, item_id: UUID, outcome: Outcome, **options: Any) -> Steps[ActionStatus]:  # noqa: ANN401 -- as Client.report
        """Tell what happened, and note that it was heard."""
        item = yield from super().report(item_id, outcome, **options)
        self._journal.note(told="reported", item=str(item_id), status=outcome.status.value)
        return item


class Agent:
    """Makes its calls until closing time; each thread goes on with the call that it was at."""

    def __init__(self, post: Post) -> None:
        self._post = post
        self._ledger = Ledger(post.ledger)
        self._gate = Gate(post.url, post.key, wait=POLL_SECONDS)
        self._client = KeepingClient(post.url, post.key, Journal(post.folder / f"{post.name}-{os.getpid()}.jsonl"))
        self._gate.client = self._client
        self._tools = {name: self._tool(name) for name in set(TOOLS)}
        self._pause = threading.Event()

    def work(self, thread: int) -> None:
        """Make this thread's calls, one after the other, beginning with the one that a lost process had in hand."""
        progress = self._post.progress(thread)
        number = thread
        if progress.exists():
            number = int(progress.read_text())
            self._make(f"{self._post.name}-{number}")
        while not self._post.closing_time.exists():
            number += self._post.threads
            draft = progress.with_suffix(".new")
            draft.write_text(str(number))
            draft.replace(progress)
            self._make(f"{self._post.name}-{number}")

    def _make(self, call: str) -> None:
        name, args = action_of(call)
        self._client.in_hand.call = call
        guarded = self._gate.guard(self._tools[name], idempotency_key=call, confidence=0.5)
        while True:
            try:
                guarded.invoke(args)
            except AlreadyConsumedError as used:
                self._wonder(used.item_id)
            except ServerAwayError:
                # The same call again, under the same key, until the console is back.
                self._pause.wait(PAUSE_SECONDS)
                continue
            return

    def _wonder(self, item_id: UUID) -> None:
        """Say that nobody knows how the run of a lost process ended; what was reported before stands."""
        outcome = Outcome(status=OutcomeStatus.UNKNOWN, error="The agent was restarted.")
        try:
            self._client.send(self._client.report(item_id, outcome))
        except GateError as refusal:
            if refusal.code not in ("outcome_stands", "server_away"):
                raise

    def _tool(self, name: str) -> BaseTool:
        def run(order: str, amount: str) -> str:
            """Do it, once, for good."""
            hand = self._client.in_hand
            self._pause.wait(RUN_SECONDS)
            self._ledger.add(Effect(hand.call, hand.jti, name, {"order": order, "amount": amount}))
            self._pause.wait(RUN_SECONDS)
            return f"Done: {amount} on {order}."

        return StructuredTool.from_function(run, name=name)


def work(post: Post) -> None:
    """Be an agent until closing time: what a process of its own does."""
    # What the hook has to say goes to a file, as any agent's does.
    os.dup2(os.open(post.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), _STANDARD_ERROR)
    agent = Agent(post)
    with ThreadPoolExecutor(max_workers=post.threads) as pool:
        for done in [pool.submit(agent.work, thread) for thread in range(post.threads)]:
            done.result()
