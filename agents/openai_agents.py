"""The gate for OpenAI's Agents SDK: its interruptions become items, and an approved tool runs by its receipt.

```python
guard = GuardedTools(gate, run_id=lambda context: context.conversation)
agent = Agent("shop", tools=[guard.tool(refund)])
result = await Runner.run(agent, "Refund R-1042, please.", context=context)
while result.interruptions:
    state = await guard.decided(result.to_state(), context)
    result = await Runner.run(agent, state)
```

The SDK is known here by its shapes alone: its import name, ``agents``, is also what this package is called in its own
checkout.
"""

import asyncio
import dataclasses
import hashlib
import json
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol, TypeVar, Unpack

from .canonical import Flaw, NotCanonicalError, action_digest, parse
from .errors import EditRefusedError
from .execution import Way
from .gate import (
    CLOSED,
    About,
    Gate,
    Permit,
    Proposal,
    Told,
    idempotency_key_for,
    is_undecided,
    remember,
    request_for,
    succeeded,
    told_instead,
    told_of_closed,
)
from .protocol import MAX_LONG_TEXT, MAX_SHORT_TEXT, ActionStatus, Args
from .protocol import Run as RunInfo


class FunctionTool(Protocol):
    """What the gate reads of the SDK's ``FunctionTool``, a dataclass."""

    name: str
    description: str
    params_json_schema: dict[str, Any]
    on_invoke_tool: Callable[[Any, str], Awaitable[Any]]


class Interruption(Protocol):
    """What the gate reads of the SDK's ``ToolApprovalItem``."""

    @property
    def name(self) -> str | None:
        """The tool's name."""

    @property
    def arguments(self) -> str | None:
        """The arguments as the model wrote them, JSON."""

    @property
    def call_id(self) -> str | None:
        """The model's id of the call."""


class RunState(Protocol):
    """What the gate calls of the SDK's ``RunState``."""

    def get_interruptions(self) -> Sequence[Any]:
        """Return the calls that wait for an approval."""

    def approve(self, approval_item: Any) -> None:  # noqa: ANN401 -- an item of the SDK
        """Let the call run when the run is resumed."""

    def reject(self, approval_item: Any, *, rejection_message: str | None = None) -> None:  # noqa: ANN401 -- as above
        """Tell the model this instead."""


Tool = TypeVar("Tool", bound=FunctionTool)
State = TypeVar("State", bound=RunState)


@dataclasses.dataclass(frozen=True, slots=True)
class _Call:
    """One call of a guarded tool: where it belongs, and what the model wrote."""

    run_id: str
    call_id: str
    tool: str
    args: Args

    @property
    def meaning(self) -> tuple[str, str]:
        """What two calls of one run have in common that would run the same."""
        return self.run_id, action_digest(self.tool, self.args)

    @property
    def key(self) -> str:
        """The idempotency key of this call, and of no other."""
        parts = json.dumps(["openai-agents", self.run_id, self.call_id, *self.meaning])
        return "call-" + hashlib.sha256(parts.encode()).hexdigest()


class GuardedTools:
    """Function tools whose calls run only what is permitted, and the way from a stopped run to its resumption.

    ``run_id`` names the run, or conversation, from the context that is given to ``Runner.run``; with the call's id it
    makes the idempotency key. A call that the SDK is told to approve without `decided` waits for its decision when it
    is about to run. The SDK cannot run other arguments than the model's own, so an edit is handed to the model as a
    rejection that carries the corrected call; when the model makes exactly that call, it runs by the edit's receipt
    without being reviewed again.

    The outcome is reported as ``failed`` only where the tool raises: make it with ``failure_error_function=None``.
    """

    def __init__(
        self, gate: Gate, *, run_id: Callable[[Any], str], timeout: float | None = None, **about: Unpack[About]
    ) -> None:
        self._gate = gate
        self._run_id = run_id
        self._timeout = timeout
        self._about = about
        self._tools: dict[str, FunctionTool] = {}
        self._filed: dict[str, Proposal] = {}
        self._corrected: dict[tuple[str, str], Proposal] = {}

    def tool(self, tool: Tool) -> Tool:
        """Return a tool of the same name, description and arguments that runs only what is permitted."""
        self._tools[tool.name] = tool

        async def invoke(context: Any, arguments: str) -> Any:  # noqa: ANN401 -- the SDK's context, the tool's result
            return await self._run(tool, context, arguments)

        guarded: Tool = dataclasses.replace(tool, on_invoke_tool=invoke, needs_approval=True)  # type: ignore[type-var]  # a dataclass, which a Protocol cannot say
        return guarded

    async def decided(self, state: State, context: object) -> State:
        """File the calls that the run stopped at, wait for their decisions, and return the state to resume it with.

        Calls of tools that are not guarded here are left as they are. Where a call is not decided within the timeout
        it is withdrawn. Raises GateError on any doubt; called again with the same state it goes on where it was.
        """
        send = self._gate.client.asend
        filed: list[tuple[Interruption, _Call, Proposal, ActionStatus]] = []
        for interruption in state.get_interruptions():
            if interruption.name not in self._tools:
                continue
            try:
                call = self._call(interruption.name, interruption.call_id, interruption.arguments, context)
            except NotCanonicalError as error:
                state.reject(interruption, rejection_message=_unreadable(interruption.name, error))
                continue
            proposal = await self._proposal(call)
            filed.append((interruption, call, proposal, await send(self._gate.filed(proposal))))
        began = time.monotonic()
        for interruption, call, proposal, item in filed:
            left = None if self._timeout is None else max(0.0, began + self._timeout - time.monotonic())
            final = await send(self._gate.awaited(item, left))
            if is_undecided(final):
                final = await send(self._gate.withdrawn(final.id))
            refusal = await self._refusal(final, call, proposal)
            if refusal is None:
                state.approve(interruption)
            else:
                self._filed.pop(call.key, None)
                state.reject(interruption, rejection_message=refusal)
        return state

    async def _refusal(self, item: ActionStatus, call: _Call, proposal: Proposal) -> str | None:
        told = told_instead(item, call.tool)
        if told is not None:
            return told.text
        try:
            permit: Permit = await self._gate.client.asend(self._gate.permitted(item, proposal))
        except CLOSED as error:
            return told_of_closed(error, call.tool).text
        corrected = dataclasses.replace(call, args=permit.args)
        # By their digests, because to Python 1 and true are the same.
        if corrected.meaning == call.meaning:
            return None
        remember(self._corrected, corrected.meaning, proposal)
        return (
            f"A person reviewed this call to {call.tool} and corrected it, so it was not run as you made it. "
            f"Call {call.tool} once more with exactly these arguments, and do not change or undo them afterwards: "
            f"{json.dumps(permit.args, ensure_ascii=False)}"
        )

    async def _run(self, tool: FunctionTool, context: Any, arguments: str) -> Any:  # noqa: ANN401 -- as in `tool`
        try:
            call = self._call(tool.name, context.tool_call_id, arguments, context.context)
        except NotCanonicalError as error:
            return _unreadable(tool.name, error)

        def check_edit(args: Args) -> None:
            if dataclasses.replace(call, args=args).meaning != call.meaning:
                raise EditRefusedError(tool.name, why="the SDK cannot run other arguments than the model's own.")

        proposal = dataclasses.replace(await self._proposal(call), check_edit=check_edit)
        try:
            way = Way.awaited(tool.name, lambda _same: tool.on_invoke_tool(context, arguments))
            answer = await self._gate.aconduct(proposal, [way])
        finally:
            self._filed.pop(call.key, None)
        return answer.text if isinstance(answer, Told) else answer.result

    def _call(self, tool: str, call_id: str | None, arguments: str | None, context: object) -> _Call:
        args = parse((arguments or "{}").encode("utf-8", "surrogatepass"))
        if not isinstance(args, dict):
            raise NotCanonicalError(Flaw.INVALID_JSON, "arguments are an object")
        return _Call(self._run_id(context), call_id or "", tool, args)

    async def _proposal(self, call: _Call) -> Proposal:
        known = self._filed.get(call.key) or self._corrected.get(call.meaning)
        if known is None:
            known = await self._new_proposal(call)
        remember(self._filed, call.key, known)
        self._corrected.pop(call.meaning, None)
        return known

    async def _new_proposal(self, call: _Call) -> Proposal:
        tool = self._tools[call.tool]
        # In a thread, because a confidence may have to ask a model.
        request = await asyncio.to_thread(
            request_for,
            call.tool,
            call.args,
            self._about,
            description=tool.description[:MAX_LONG_TEXT] or None,
            args_schema=tool.params_json_schema,
            run=RunInfo(
                framework="openai-agents",
                run_id=call.run_id[:MAX_SHORT_TEXT],
                tool_call_id=call.call_id[:MAX_SHORT_TEXT] or None,
            ),
        )
        key = idempotency_key_for(self._about, call.args) or call.key
        return Proposal(request, key, self._timeout, _take_any, succeeded, is_models=True)


def _take_any(_args: Args) -> None:
    # An edit is not run but handed to the model, whose own call is checked like every other.
    return


def _unreadable(tool: str, error: NotCanonicalError) -> str:
    return f"The arguments of this call to {tool} cannot be read, so it was not run. {error} Mend them and call again."
