"""The gate for LangChain's ``create_agent``: a middleware that guards the tools an agent has already."""

from collections.abc import Awaitable, Callable, Collection
from typing import Any

from langchain.agents.middleware import AgentMiddleware, ToolCallRequest
from langchain_core.messages import ToolMessage
from langgraph.types import Command

from .conversation import context_of
from .gate import About, Gate, Terms


class GateMiddleware(AgentMiddleware[Any, Any, Any]):
    """Each call of the named tools, or of all where none is named, is run by a guarded tool; see `Gate.guard`.

    A tool that the agent does not have is not run, also where a later middleware would supply it. Unless ``about``
    tells the context, it is the agent's conversation; see `context_of` for the tools in ``untrusted``.
    """

    def __init__(
        self, gate: Gate, tools: Collection[str], *, about: About, terms: Terms, untrusted: Collection[str]
    ) -> None:
        super().__init__()
        self._gate = gate
        self._named = frozenset(tools)
        self._about = about
        self._terms = terms
        self._untrusted = frozenset(untrusted)

    @property
    def name(self) -> str:
        """Tells several of these in one agent apart, which LangChain demands."""
        return f"GateMiddleware[{','.join(sorted(self._named)) or '*'}]"

    def wrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], ToolMessage | Command[Any]]
    ) -> ToolMessage | Command[Any]:
        """Let the call run as it is, guarded, or not at all."""
        guarded = self._guarded(request)
        return guarded if isinstance(guarded, ToolMessage) else handler(guarded)

    async def awrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Awaitable[ToolMessage | Command[Any]]]
    ) -> ToolMessage | Command[Any]:
        """Let the call run as it is, guarded, or not at all."""
        guarded = self._guarded(request)
        return guarded if isinstance(guarded, ToolMessage) else await handler(guarded)

    def _guarded(self, request: ToolCallRequest) -> ToolCallRequest | ToolMessage:
        name = request.tool_call["name"]
        if self._named and name not in self._named:
            return request
        if request.tool is None:
            text = (
                f"{name} is not a tool that is at hand here, so nothing was run. Use one of the tools you were given."
            )
            return ToolMessage(text, name=name, tool_call_id=request.tool_call["id"], status="error")
        # The tool is exchanged, not the call: the agent's state is injected, and errors are handled, as ever.
        terms = self._terms
        about: About = {"context": context_of(request.state, untrusted=self._untrusted), **self._about}
        guarded = self._gate.guard(request.tool, timeout=terms.timeout, plan=terms.plan, answer=terms.answer, **about)
        return request.override(tool=guarded)
