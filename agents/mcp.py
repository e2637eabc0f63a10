"""The gate for MCP (Model Context Protocol): a server that agents ask for approval, and a proxy before another server.

``python -m signoff.mcp approvals`` serves the first over stdio, ``python -m signoff.mcp proxy -- COMMAND …`` puts
the second before the server that the command starts; the console's address and the agent's key come from
``SIGNOFF_URL`` and ``SIGNOFF_KEY``.
"""

import argparse
import asyncio
import hashlib
import json
import os
import sys
from collections.abc import AsyncGenerator, Collection, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Annotated, Any, Unpack
from uuid import UUID

from mcp import Client, StdioServerParameters
from mcp.server.lowlevel import Server
from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.stdio import stdio_server
from mcp.types import (
    CallToolRequestParams,
    CallToolResult,
    ListToolsResult,
    PaginatedRequestParams,
    TextContent,
    Tool,
)
from pydantic import Field, JsonValue
from uuid_utils import uuid7

from .canonical import NotCanonicalError, canonical
from .client import Steps
from .errors import GateError, RequestInvalidError
from .execution import Way
from .gate import (
    About,
    Gate,
    Proposal,
    Told,
    failed,
    idempotency_key_for,
    is_undecided,
    remember,
    request_for,
    succeeded,
    told_instead,
)
from .protocol import MAX_LONG_TEXT, MAX_SHORT_TEXT, MAX_WAIT_SECONDS, Args, Outcome, OutcomeStatus
from .protocol import Run as RunInfo

CALL_ID = "signoff/call_id"

_MAX_PAGES = 100

Answer = dict[str, JsonValue]


def approval_server(gate: Gate) -> MCPServer:
    """Return a server by which an agent asks for approval of an action that it runs itself.

    ``request_approval`` files the action, ``check_approval`` waits for the decision and hands out what is permitted:
    once, because its receipt is verified and consumed before the arguments are told. ``report_outcome`` tells what
    became of it. The idempotency key is made from the agent's own id of the call.
    """
    approvals = _Approvals(gate)
    server = MCPServer("signoff-approvals", instructions="Ask here before you act, and do exactly what is approved.")
    for tool in (approvals.request_approval, approvals.check_approval, approvals.report_outcome):
        server.add_tool(tool)
    return server


class _Approvals:
    """The tools of the approval server; what their docstrings say, the agent's model reads."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._proposals: dict[UUID, Proposal] = {}

    async def request_approval(
        self,
        action: str,
        args: dict[str, JsonValue],
        call_id: Annotated[str, Field(description="Your own id of this call; the same id is the same call.")],
        rationale: str | None = None,
        confidence: Annotated[float | None, Field(description="How sure you are, 0 to 1.")] = None,
    ) -> Answer:
        """Put an action before the policy and, in doubt, before a person. Do not run it before it is approved."""
        about = About(rationale=rationale, confidence=confidence)
        if confidence is not None:
            about["confidence_source"] = "stated by the model itself"
        with _told_to_the_model():
            run = RunInfo(framework="mcp", tool_call_id=call_id[:MAX_SHORT_TEXT])
            request = request_for(action, args, about, run=run)
            proposal = Proposal(request, _derived_key(call_id, action, args), None, _take_any, succeeded)
            item = await self._gate.client.asend(self._gate.filed(proposal))
        remember(self._proposals, item.id, proposal)
        return {"id": str(item.id), "status": "filed", "text": "Call check_approval with this id."}

    async def check_approval(
        self,
        id: UUID,
        wait: Annotated[float, Field(ge=0, le=MAX_WAIT_SECONDS, description="Seconds to wait at most.")] = 30,
    ) -> Answer:
        """Wait for the decision. What is approved may be run once, with exactly the arguments that are told."""
        proposal = self._proposals.get(id)
        if proposal is None:
            message = "This id is not known here. Call request_approval again with the same call_id and arguments."
            raise ToolError(message)
        with _told_to_the_model():
            return await self._gate.client.asend(_checked(self._gate, id, proposal, wait))

    async def report_outcome(self, id: UUID, status: OutcomeStatus, text: str = "") -> Answer:
        """Tell what became of an approved action: its result, or its error."""
        error = failed(text).error if status is not OutcomeStatus.SUCCEEDED else None
        outcome = Outcome(status=status, error=error) if error is not None else succeeded(text)
        with _told_to_the_model():
            item = await self._gate.client.asend(self._gate.client.report(id, outcome))
        return {"id": str(id), "status": item.execution.value}


@contextmanager
def _told_to_the_model() -> Generator[None]:
    try:
        yield
    except GateError as error:
        raise ToolError(str(error)) from error


def _checked(gate: Gate, item_id: UUID, proposal: Proposal, wait: float) -> Steps[Answer]:
    item = yield from gate.awaited((yield from gate.client.status(item_id)), wait)
    if is_undecided(item):
        return {"status": "waiting", "text": "Nobody has decided yet. Check again later; do not run it meanwhile."}
    action = proposal.request.action.name
    told = told_instead(item, action)
    if told is not None:
        return {"status": "refused" if told.is_error else "answered", "text": told.text}
    permit = yield from gate.permitted(item, proposal)
    yield from gate.consumed(permit)
    text = f"Run {action} now, once, with exactly these arguments, then call report_outcome."
    return {"status": "approved", "action": action, "args": permit.args, "text": text}


def guarded_server(
    client: Client,
    gate: Gate,
    *,
    tools: Collection[str] = (),
    timeout: float | None = None,
    **about: Unpack[About],
) -> Server[dict[str, Any]]:
    """Return a server with the tools of ``client``'s, which passes on only the calls that are permitted.

    ``tools`` names those that are gated; none named, all are. ``client`` is connected while the server runs. A
    rejection, or an answer, comes back as the call's result; a GateError as an error that says that nothing ran. A
    call that fails on its way to the other server is reported as ``unknown``, for nobody can tell whether it ran.

    The idempotency key is made from ``signoff/call_id`` in the request's ``_meta``, where the caller comes back with
    the same id after a crash; a request without it is a call of its own.
    """
    return _Proxy(client, gate, tools=frozenset(tools), timeout=timeout, about=about).server()


class _Proxy:
    """What stands between an MCP client and the server that it means to call."""

    def __init__(
        self, client: Client, gate: Gate, *, tools: frozenset[str], timeout: float | None, about: About
    ) -> None:
        self._client = client
        self._gate = gate
        self._named = tools
        self._timeout = timeout
        self._about = about

    def server(self) -> Server[dict[str, Any]]:
        """Return the server that the client sees."""

        async def list_tools(_context: object, params: PaginatedRequestParams | None) -> ListToolsResult:
            page = await self._client.list_tools(cursor=params.cursor if params else None)
            return page.model_copy(update={"tools": [self._shown(tool) for tool in page.tools]})

        async def call_tool(_context: object, params: CallToolRequestParams) -> CallToolResult:
            if not self._is_gated(params.name):
                return await self._client.call_tool(params.name, params.arguments)
            return await self._gated(params)

        return Server("signoff-proxy", on_list_tools=list_tools, on_call_tool=call_tool)

    def _is_gated(self, name: str) -> bool:
        return not self._named or name in self._named

    def _shown(self, tool: Tool) -> Tool:
        # A person's answer in place of a result is text, which no schema of results foresees.
        return tool.model_copy(update={"output_schema": None}) if self._is_gated(tool.name) else tool

    async def _gated(self, params: CallToolRequestParams) -> CallToolResult:
        try:
            way = Way.awaited(params.name, lambda args: self._passed_on(params, args))
            answer = await self._gate.aconduct(await self._proposal(params), [way])
        except GateError as error:
            return _said(f"{params.name} was not run: {error}", is_error=True)
        if isinstance(answer, Told):
            return _said(answer.text, is_error=answer.is_error)
        if isinstance(answer.result, CallToolResult):
            return answer.result
        return _said(f"Whether {params.name} ran is not known, so do not call it again: {answer.result}", is_error=True)

    async def _passed_on(self, params: CallToolRequestParams, args: Args) -> CallToolResult | Exception:
        try:
            return await self._client.call_tool(params.name, args)
        except Exception as error:  # noqa: BLE001 -- whatever it is, it is reported and told
            return error

    async def _proposal(self, params: CallToolRequestParams) -> Proposal:
        tool, args = await self._tool(params.name), params.arguments or {}
        call_id = (params.meta or {}).get(CALL_ID)
        # In a thread, because a confidence may have to ask a model.
        request = await asyncio.to_thread(
            request_for,
            params.name,
            args,
            self._about,
            description=(tool.description or "")[:MAX_LONG_TEXT] or None,
            args_schema=tool.input_schema,
            run=RunInfo(framework="mcp", tool_call_id=str(call_id)[:MAX_SHORT_TEXT] if call_id else None),
        )
        derived = _derived_key(str(call_id), params.name, args) if call_id else f"call-{uuid7()}"
        key = idempotency_key_for(self._about, args) or derived
        return Proposal(request, key, self._timeout, _take_any, _outcome_of)

    async def _tool(self, name: str) -> Tool:
        cursor: str | None = None
        for _ in range(_MAX_PAGES):
            page = await self._client.list_tools(cursor=cursor)
            for tool in page.tools:
                if tool.name == name:
                    return tool
            cursor = page.next_cursor
            if cursor is None:
                break
        raise RequestInvalidError(why=f"the server behind this one has no tool {name[:80]!r}.")


def _take_any(_args: Args) -> None:
    # Who runs the action, the agent or the other server, checks its arguments itself.
    return


def _derived_key(call_id: str, action: str, args: Args) -> str:
    try:
        parts = canonical(["mcp", call_id, action, args])
    except NotCanonicalError as error:
        raise RequestInvalidError(why=str(error)) from error
    return "call-" + hashlib.sha256(parts).hexdigest()


def _outcome_of(result: CallToolResult | Exception) -> Outcome:
    if isinstance(result, Exception):
        return Outcome(status=OutcomeStatus.UNKNOWN, error=failed(f"{type(result).__name__}: {result}").error)
    plain = result.model_dump(mode="json", by_alias=True, exclude_none=True)
    return failed(json.dumps(plain["content"])) if result.is_error else succeeded(plain)


def _said(text: str, *, is_error: bool) -> CallToolResult:
    return CallToolResult(content=[TextContent(text=text)], is_error=is_error)


@asynccontextmanager
async def _behind(command: Sequence[str]) -> AsyncGenerator[Client]:
    # The other server starts with this one's surroundings, but for the key, which is not its business.
    surroundings = {name: value for name, value in os.environ.items() if name != "SIGNOFF_KEY"}
    parameters = StdioServerParameters(command=command[0], args=list(command[1:]), env=surroundings)
    async with Client(parameters) as client:
        yield client


async def _serve_proxy(gate: Gate, command: Sequence[str], tools: Collection[str]) -> None:
    async with _behind(command) as client, stdio_server() as (read, write):
        server = guarded_server(client, gate, tools=tools)
        await server.run(read, write, server.create_initialization_options())


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve approvals, or stand before another server, over stdio."""
    parser = argparse.ArgumentParser(prog="python -m signoff.mcp", description=__doc__)
    modes = parser.add_subparsers(dest="mode", required=True)
    modes.add_parser("approvals", help="serve request_approval, check_approval and report_outcome")
    proxy = modes.add_parser("proxy", help="gate the tools of another server")
    proxy.add_argument("--tool", action="append", default=[], help="gate this tool alone; repeatable")
    proxy.add_argument("command", nargs="+", help="what starts the other server, after --")
    options = parser.parse_args(arguments)
    url, key = os.environ.get("SIGNOFF_URL"), os.environ.get("SIGNOFF_KEY")
    if not url or not key:
        parser.error("set SIGNOFF_URL to the console's address and SIGNOFF_KEY to the agent's key")
    with Gate(url, key) as gate:
        if options.mode == "approvals":
            approval_server(gate).run("stdio")
        else:
            asyncio.run(_serve_proxy(gate, options.command, options.tool))
    return 0


if __name__ == "__main__":
    sys.exit(main())
