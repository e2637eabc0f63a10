"""An agent at work: real LangChain tools behind a real gate, in threads of their own."""

from collections.abc import Callable, Mapping
from concurrent import futures
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Annotated, Any, Literal
from uuid import UUID

from langchain_core.tools import BaseTool, StructuredTool
from pydantic import Field
from uuid_utils.compat import uuid7

from agents import Gate
from agents.protocol import ActionRequest, ActionStatus, Status
from review.policy import Policy
from tests.waiting import PATIENCE_SECONDS, eventually

OrderId = Annotated[str, Field(pattern=r"^R-\d{4}$", description="As it stands on the receipt.")]
Amount = Annotated[str, Field(pattern=r"^\d+\.\d{2}$")]
Items = Annotated[int, Field(ge=1, le=20)]

CALL: dict[str, Any] = {"order_id": "R-1042", "amount": "49.00", "items": 2}
ABOUT: dict[str, Any] = {
    "confidence": 0.62,
    "rationale": "The customer sent a photo of the broken cup.",
    "context": [{"kind": "message", "role": "user", "content": "Both cups arrived broken: 49.00 back, please."}],
    "impact": {"amount": "49.00", "currency": "EUR", "reversible": True, "subject": "a pair of cups"},
}


class WorkingAgent:
    """An agent with a key, a gate, and tools that write down what they were run with."""

    def __init__(self, name: str, url: str, key: str, beside: ThreadPoolExecutor) -> None:
        self.name = name
        self.runs: list[dict[str, Any]] = []
        self.gate = Gate(url, key, timeout=PATIENCE_SECONDS)
        self._beside = beside
        self._answers: list[Future[Any]] = []

    def works(self, task: Callable[[], Any]) -> "Future[Any]":
        """Do something in a thread of its own, which may block."""
        self._answers.append(self._beside.submit(task))
        return self._answers[-1]

    def guarded(self, **about: Any) -> BaseTool:  # noqa: ANN401 -- what Gate.guard takes
        """Return a guarded tool that refunds orders."""

        def refund_order(
            order_id: OrderId, amount: Amount, items: Items, channel: Literal["email", "post"] = "email"
        ) -> str:
            """Refund an order."""
            self.runs.append({"order_id": order_id, "amount": amount, "items": items, "channel": channel})
            return f"Refunded {amount} on {order_id}."

        return self.gate.guard(StructuredTool.from_function(refund_order), **{**ABOUT, **about})

    def calls(self, args: Mapping[str, Any] = CALL, **about: Any) -> "Future[Any]":  # noqa: ANN401 -- what Gate.guard takes
        """Refund an order in a thread, which blocks until the call is decided."""
        guarded = self.guarded(**about)
        return self.works(lambda: guarded.invoke(dict(args)))

    def writes(self, text: str) -> "Future[Any]":
        """Send a letter in a thread, which blocks until the call is decided."""

        def send_letter(text: str) -> str:
            """Send a letter."""
            self.runs.append({"text": text})
            return "Sent."

        guarded = self.gate.guard(StructuredTool.from_function(send_letter))
        return self.works(lambda: guarded.invoke({"text": text}))

    def items(self) -> tuple[ActionStatus, ...]:
        """Return what became of the calls, as the console tells the agent, newest first."""
        return self.gate.client.send(self.gate.client.items()).items

    def proposes(self, request: ActionRequest) -> UUID:
        """Submit an action without waiting for what becomes of it, and return its id."""
        return self.gate.client.send(self.gate.client.submit(request, idempotency_key=uuid7().hex)).id

    def holds(self, count: int) -> None:
        """Wait until this many calls have come to the console."""
        assert eventually(lambda: len(self.items()) >= count), f"{count} calls did not come to the console"

    def is_under(self, policy: Policy) -> None:
        """Wait until the console answers by this version of the policy."""
        client = self.gate.client
        assert eventually(lambda: client.send(client.policy())["number"] == policy.number), "it is not in force"

    def withdraws(self) -> None:
        """Take back every call that nobody decided."""
        client = self.gate.client
        for status in (Status.WAITING, Status.CLAIMED):
            while items := client.send(client.items(status=status)).items:
                for item in items:
                    client.send(client.cancel(item.id))

    def ends(self) -> None:
        """Take back what is open until every thread has come back, those that make another call included."""
        for _ in range(int(PATIENCE_SECONDS / 0.1)):
            self.withdraws()
            if not futures.wait(self._answers, timeout=0.1).not_done:
                return
