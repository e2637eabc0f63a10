"""The gate for Pydantic AI: a toolset whose calls are put off until they are decided, then run by their receipt.

```python
guarded = GuardedToolset(FunctionToolset([refund]), gate)
agent = Agent(model, toolsets=[guarded], output_type=[str, DeferredToolRequests])
result = await agent.run("Refund R-1042, please.")
while isinstance(result.output, DeferredToolRequests):
    decided = await guarded.decided(result.output)
    result = await agent.run(message_history=result.all_messages(), deferred_tool_results=decided)
```
"""

import asyncio
import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError
from pydantic_ai.exceptions import ApprovalRequired
from pydantic_ai.tools import (
    AgentDepsT,
    DeferredToolRequests,
    DeferredToolResults,
    RunContext,
    ToolApproved,
    ToolDenied,
)
from pydantic_ai.toolsets import ToolsetTool, WrapperToolset
from pydantic_core import PydanticSerializationError, to_jsonable_python

from .errors import EditRefusedError, RequestInvalidError
from .execution import Way
from .gate import (
    CLOSED,
    About,
    Gate,
    Proposal,
    Told,
    idempotency_key_for,
    is_undecided,
    request_for,
    succeeded,
    told_instead,
    told_of_closed,
)
from .protocol import MAX_LONG_TEXT, MAX_SHORT_TEXT, ActionRequest, ActionStatus, Args, Edit
from .protocol import Run as RunInfo

_OURS = "signoff"


@dataclass
class GuardedToolset(WrapperToolset[AgentDepsT]):
    """A toolset of the same tools as the one it wraps, each of whose calls runs only what is permitted.

    A call is put off by Pydantic AI's own `ApprovalRequired`; `decided` puts it before the gate and returns what
    the run is resumed with. An edit is handed on as ``override_args``. When the run is resumed, the receipt is
    verified and consumed before the tool runs, and the tool runs with what the receipt permits, whatever the run
    was told: an approval that did not come from `decided` waits for the decision then. The request travels in
    the metadata of the deferred call, so that a process that starts anew with it files nothing twice.
    """

    gate: Gate
    timeout: float | None = None
    about: About = field(default_factory=About)

    async def call_tool(
        self, name: str, tool_args: dict[str, Any], ctx: RunContext[AgentDepsT], tool: ToolsetTool[AgentDepsT]
    ) -> Any:  # noqa: ANN401 -- whatever the tool returns
        """Put the call off until it is decided; then run it as its receipt permits."""
        metadata = ctx.tool_call_metadata
        if not ctx.tool_call_approved:
            raise ApprovalRequired(metadata={_OURS: await self._filing(name, tool_args, ctx, tool)})
        if not isinstance(metadata, Mapping) or _OURS not in metadata:
            metadata = {_OURS: await self._filing(name, tool_args, ctx, tool)}

        def check_edit(args: Args) -> None:
            try:
                _validated(args, ctx, tool)
            except (ValidationError, ValueError, TypeError) as error:
                raise EditRefusedError(name, why=str(error)) from error

        async def run(args: Args) -> Any:  # noqa: ANN401 -- whatever the tool returns
            return await self.wrapped.call_tool(name, _validated(args, ctx, tool), ctx, tool)

        proposal = _proposal(metadata, self.timeout, check_edit)
        filed = proposal.request.action.name
        if filed != name:
            # The permission of one tool's call must not run another's.
            raise RequestInvalidError(why=f"the metadata of this call to {name} is that of a call to {filed[:80]!r}.")
        answer = await self.gate.aconduct(proposal, [Way.awaited(name, run)])
        return answer.text if isinstance(answer, Told) else answer.result

    async def decided(self, requests: DeferredToolRequests) -> DeferredToolResults:
        """File the deferred calls of this toolset, wait for their decisions, and return them for the run's resumption.

        Calls that other toolsets put off are left out. Where a call is not decided within ``timeout`` seconds it is
        withdrawn. Raises GateError on any doubt; called again with the same requests it goes on where it was.
        """
        ours = {call: known for call, known in requests.metadata.items() if _OURS in known}
        proposals = {call: _proposal(known, self.timeout, _take_any) for call, known in ours.items()}
        send = self.gate.client.asend
        filed = {call: await send(self.gate.filed(proposal)) for call, proposal in proposals.items()}
        began = time.monotonic()
        results = DeferredToolResults(metadata=ours)
        for call, item in filed.items():
            left = None if self.timeout is None else max(0.0, began + self.timeout - time.monotonic())
            final = await send(self.gate.awaited(item, left))
            if is_undecided(final):
                final = await send(self.gate.withdrawn(final.id))
            results.approvals[call] = await self._answer(final, proposals[call])
        return results

    async def _answer(self, item: ActionStatus, proposal: Proposal) -> ToolApproved | ToolDenied:
        told = told_instead(item, proposal.request.action.name)
        if told is not None:
            return ToolDenied(told.text)
        try:
            permit = await self.gate.client.asend(self.gate.permitted(item, proposal))
        except CLOSED as error:
            return ToolDenied(told_of_closed(error, proposal.request.action.name).text)
        return ToolApproved(override_args=permit.args if isinstance(item.decision, Edit) else None)

    async def _filing(
        self, name: str, tool_args: dict[str, Any], ctx: RunContext[AgentDepsT], tool: ToolsetTool[AgentDepsT]
    ) -> dict[str, Any]:
        args = _plain(name, tool_args, ctx, tool)
        # In a thread, because a confidence may have to ask a model.
        request = await asyncio.to_thread(
            request_for,
            name,
            args,
            self.about,
            description=(tool.tool_def.description or "")[:MAX_LONG_TEXT] or None,
            args_schema=tool.tool_def.parameters_json_schema,
            run=RunInfo(
                framework="pydantic-ai",
                thread_id=_id(ctx.conversation_id),
                run_id=_id(ctx.run_id),
                tool_call_id=_id(ctx.tool_call_id),
            ),
        )
        key = idempotency_key_for(self.about, args) or _derived_key(name, ctx)
        return {"request": request.model_dump(mode="json"), "key": key}


def _take_any(_args: Args) -> None:
    # Whether the tool can run an edit shows when the run is resumed, before the receipt is consumed.
    return


def _proposal(metadata: Mapping[str, Any], timeout: float | None, check_edit: Any) -> Proposal:  # noqa: ANN401 -- as Proposal has it
    try:
        known = metadata[_OURS]
        request, key = ActionRequest.model_validate_json(json.dumps(known["request"])), str(known["key"])
    except (ValidationError, LookupError, TypeError) as error:
        raise RequestInvalidError(why=f"the metadata of the deferred call cannot be read: {error}") from error
    return Proposal(request, key, timeout, check_edit, succeeded, is_models=True)


def _validated(args: Args, ctx: RunContext[Any], tool: ToolsetTool[Any]) -> dict[str, Any]:
    validated: dict[str, Any] = tool.args_validator.validate_json(json.dumps(args), context=ctx.validation_context)
    return validated


def _plain(name: str, tool_args: dict[str, Any], ctx: RunContext[Any], tool: ToolsetTool[Any]) -> Args:
    why = f"the arguments of {name} do not come back from JSON as they went"
    try:
        args: Args = to_jsonable_python(tool_args)
        unchanged = _validated(args, ctx, tool) == tool_args
    except (PydanticSerializationError, ValidationError, ValueError, TypeError) as error:
        raise RequestInvalidError(why=f"{why}: {error}") from error
    if not unchanged:
        raise RequestInvalidError(why=f"{why}.")
    return args


def _derived_key(name: str, ctx: RunContext[Any]) -> str:
    parts = json.dumps(["pydantic-ai", ctx.conversation_id, ctx.run_id, ctx.run_step, ctx.tool_call_id, name])
    return "call-" + hashlib.sha256(parts.encode()).hexdigest()


def _id(value: str | None) -> str | None:
    return value[:MAX_SHORT_TEXT] if value else None
