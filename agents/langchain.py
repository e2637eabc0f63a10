"""The gate for LangChain: a tool that looks like the one it guards and runs only what is permitted."""

import functools
import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any

from langchain_core.messages import ToolMessage
from langchain_core.runnables import ensure_config
from langchain_core.tools import BaseTool, Tool
from langchain_core.tools.base import FILTERED_ARGS, ArgsSchema
from pydantic import BaseModel, PrivateAttr, ValidationError
from pydantic.errors import PydanticInvalidForJsonSchema
from pydantic_core import PydanticSerializationError, to_jsonable_python
from uuid_utils import uuid7

from .errors import EditRefusedError, RequestInvalidError
from .gate import About, Gate, Proposal, Ran, Told, failed, idempotency_key_for, request_for, succeeded
from .protocol import Args, Outcome
from .protocol import Run as RunInfo

_MAX_DESCRIPTION = 20_000
_MAX_ID = 256
_LARGEST_INTEGER = 2**53 - 1


class GuardedTool(BaseTool):
    """A tool of the same name, description and arguments as the one it guards; see `Gate.guard`."""

    _guarded: BaseTool = PrivateAttr()
    _gate: Gate = PrivateAttr()
    _about: About = PrivateAttr()
    _timeout: float | None = PrivateAttr()

    def __init__(self, tool: BaseTool, *, gate: Gate, about: About, timeout: float | None) -> None:
        super().__init__(
            name=tool.name,
            description=tool.description,
            args_schema=_args_schema(tool),
            return_direct=tool.return_direct,
            tags=tool.tags,
            metadata=tool.metadata,
            response_format=tool.response_format,
            extras=tool.extras,
        )
        self._guarded = tool
        self._gate = gate
        self._about = about
        self._timeout = timeout

    @property
    def args(self) -> dict[str, Any]:
        """The guarded tool's arguments, as JSON Schema properties."""
        return self._guarded.args

    @property
    def func(self) -> Callable[..., Any] | None:
        """A gated function with the guarded one's annotations, by which frameworks see what to inject."""
        source = getattr(self._guarded, "func", None) or getattr(self._guarded, "coroutine", None)
        if source is None:
            return None

        @functools.wraps(source)
        def gated(**kwargs: Any) -> Any:  # noqa: ANN401 -- the guarded function's own arguments and result
            return self.run(kwargs)

        return gated

    def get_input_schema(self, config: Any = None) -> Any:  # noqa: ANN401 -- as langchain-core declares it
        """Return the guarded tool's input schema, injected arguments included."""
        return self._guarded.get_input_schema(config)

    def run(self, tool_input: str | dict[str, Any], *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 -- as BaseTool.run
        """Take the call through the gate, then run the guarded tool as it would have been run."""
        call = _Call(self._guarded, tool_input, kwargs)
        answer = self._gate.conduct(
            call.proposal(self._about, self._timeout),
            lambda approved: self._guarded.run({**approved, **call.injected}, *args, **kwargs),
        )
        return _as_result(answer, self.name, call.tool_call_id)

    async def arun(self, tool_input: str | dict[str, Any], *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 -- as BaseTool.arun
        """Take the call through the gate, then run the guarded tool as it would have been run."""
        call = _Call(self._guarded, tool_input, kwargs)
        answer = await self._gate.aconduct(
            call.proposal(self._about, self._timeout),
            lambda approved: self._guarded.arun({**approved, **call.injected}, *args, **kwargs),
        )
        return _as_result(answer, self.name, call.tool_call_id)

    def _run(self, **kwargs: Any) -> Any:  # noqa: ANN401 -- as BaseTool._run
        return self.run(kwargs)


def _args_schema(tool: BaseTool) -> ArgsSchema | None:
    if tool.args_schema is None and isinstance(tool, Tool):
        # langchain-core knows the single argument of this class by the class alone.
        return {"type": "object", "properties": tool.args, "required": list(tool.args)}
    return tool.args_schema


class _Call:
    """One call of a guarded tool: what is submitted of its input, and what is only passed on."""

    def __init__(self, tool: BaseTool, tool_input: str | dict[str, Any], options: Mapping[str, Any]) -> None:
        given = {next(iter(tool.args)): tool_input} if isinstance(tool_input, str) else dict(tool_input)
        self.tool = tool
        self.tool_call_id: str | None = options.get("tool_call_id")
        self.config = ensure_config(options.get("config"))
        self.injected = {name: given[name] for name in _injected_names(tool, given)}
        parsed = self._parsed(given)  # Bad arguments are the model's to mend, before anybody is asked.
        self.args = _plain(tool.name, {**_defaults(tool, given, parsed), **given}, self.injected)

    def proposal(self, about: About, timeout: float | None) -> Proposal:
        thread_id = self.config.get("configurable", {}).get("thread_id")
        request = request_for(
            self.tool.name,
            self.args,
            about,
            description=self.tool.description[:_MAX_DESCRIPTION] or None,
            args_schema=args_schema_of(self.tool),
            run=RunInfo(
                framework="langchain",
                thread_id=None if thread_id is None else str(thread_id)[:_MAX_ID],
                tool_call_id=self.tool_call_id[:_MAX_ID] if self.tool_call_id else None,
            ),
        )
        key = idempotency_key_for(about, self.args) or self._derived_key(thread_id) or f"call-{uuid7()}"
        return Proposal(request, key, timeout, self._check_edit, _outcome_of)

    def _derived_key(self, thread_id: object) -> str | None:
        # A call in a thread that is kept can be made again after a restart; nobody returns to any other.
        if thread_id is None or self.tool_call_id is None:
            return None
        # Models number their calls anew in each step, so the step belongs to the name of the call.
        step = self.config.get("metadata", {}).get("langgraph_checkpoint_ns", "")
        parts = json.dumps(["langchain", str(thread_id), str(step), self.tool_call_id, self.tool.name])
        return "call-" + hashlib.sha256(parts.encode()).hexdigest()

    def _check_edit(self, args: Args) -> None:
        reserved = _injected_names(self.tool, args)
        if reserved:
            raise EditRefusedError(
                self.tool.name, why=f"it sets {', '.join(sorted(reserved))}, which only the program sets."
            )
        try:
            parsed = self._parsed({**args, **self.injected})
        except (ValidationError, ValueError, TypeError) as error:
            raise EditRefusedError(self.tool.name, why=str(error)) from error
        unknown = set(args) - set(self.args) - set(self.tool.args) - set(parsed)
        if unknown and not isinstance(self.tool.args_schema, dict):
            raise EditRefusedError(self.tool.name, why=f"it has no argument {', '.join(sorted(unknown))}.")

    def _parsed(self, given: dict[str, Any]) -> dict[str, Any]:
        # langchain-core's own parser, so that exactly what the guarded tool would refuse is refused here.
        parsed = self.tool._parse_input(dict(given), self.tool_call_id)  # noqa: SLF001 -- there is no public name
        return parsed if isinstance(parsed, dict) else {}


def _injected_names(tool: BaseTool, given: Mapping[str, Any]) -> set[str]:
    # The one place where langchain-core tells injected arguments from the model's; it also leaves out two
    # names of its own machinery, which are kept here, because a tool may take them as ordinary arguments.
    visible = tool._filter_injected_args(dict(given))  # noqa: SLF001 -- there is no public name
    return set(given) - set(visible) - set(FILTERED_ARGS)


def _defaults(tool: BaseTool, given: Mapping[str, Any], parsed: Mapping[str, Any]) -> dict[str, Any]:
    # What would run is shown whole: with defaults, where they are plain JSON and so come back as they went.
    if isinstance(tool.args_schema, dict):
        return {}
    added = {name: value for name, value in parsed.items() if name in tool.args and name not in given}
    return {name: value for name, value in added.items() if _is_plain(value)}


def _is_plain(value: object) -> bool:
    try:
        return bool(to_jsonable_python(value) == value)
    except (PydanticSerializationError, ValueError, TypeError):
        return False


def _plain(tool: str, given: Mapping[str, Any], injected: Mapping[str, Any]) -> Args:
    try:
        args: Args = to_jsonable_python({name: value for name, value in given.items() if name not in injected})
    except (PydanticSerializationError, ValueError) as error:
        raise RequestInvalidError(why=f"the arguments of {tool} have no JSON form: {error}") from error
    return args


def args_schema_of(tool: BaseTool) -> dict[str, Any] | None:
    """Return the JSON Schema of the arguments that a model gives to a tool; None where it has none."""
    known = _args_schema(tool)
    schema = known if isinstance(known, dict) else tool.tool_call_schema
    try:
        if isinstance(schema, dict):
            plain = schema
        elif issubclass(schema, BaseModel):
            plain = schema.model_json_schema()
        else:
            plain = schema.schema()
    except PydanticInvalidForJsonSchema:
        return None
    return _with_safe_integers(plain)  # type: ignore[no-any-return]  # an object in, an object out


def _with_safe_integers(value: Any) -> Any:  # noqa: ANN401 -- any JSON value
    match value:
        case dict():
            return {str(name): _with_safe_integers(member) for name, member in value.items()}
        case list() | tuple():
            return [_with_safe_integers(member) for member in value]
        case int() if abs(value) > _LARGEST_INTEGER:
            return float(value)  # A bound such as 2**63 - 1; canonical JSON holds it as a float alone.
    return value


def _outcome_of(result: Any) -> Outcome:  # noqa: ANN401 -- whatever the tool returns
    if not isinstance(result, ToolMessage):
        return succeeded(result)
    return failed(result.content) if result.status == "error" else succeeded(result.content)


def _as_result(answer: Ran | Told, name: str, tool_call_id: str | None) -> Any:  # noqa: ANN401 -- whatever the tool returns
    if isinstance(answer, Ran):
        return answer.result if answer.edited is None else _noted(answer.result, name, answer.edited)
    if tool_call_id is None:
        return answer.text
    status = "error" if answer.is_error else "success"
    return ToolMessage(answer.text, name=name, tool_call_id=tool_call_id, status=status)


def _noted(result: Any, name: str, edited: Args) -> Any:  # noqa: ANN401 -- whatever the tool returns
    # The conversation keeps the call that the model made; without a word it would take the edit for an error.
    if not isinstance(result, ToolMessage):
        return result
    note = (
        f"A person changed this call to {name} before it ran; what ran is {json.dumps(edited, ensure_ascii=False)}. "
        "This was intended. Do not make your own call again and do not undo the change."
    )
    if isinstance(result.content, str):
        return result.model_copy(update={"content": f"{note}\n{result.content}".rstrip()})
    return result.model_copy(update={"content": [{"type": "text", "text": note}, *result.content]})
