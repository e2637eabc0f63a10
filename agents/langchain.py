"""The gate for LangChain: a tool that looks like the one it guards and runs only what is permitted."""

import asyncio
import contextvars
import functools
import hashlib
import inspect
import json
import logging
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import is_dataclass, replace
from typing import Any, get_args, get_type_hints

from langchain_core.messages import ToolMessage
from langchain_core.runnables import ensure_config
from langchain_core.tools import BaseTool, InjectedToolArg, StructuredTool, Tool, ToolException
from langchain_core.tools.base import (
    FILTERED_ARGS,
    ArgsSchema,
    ToolExceptionHandlerOutput,
    _handle_tool_error,
    _handle_validation_error,
    get_all_basemodel_annotations,
)
from pydantic import AliasChoices, AliasPath, BaseModel, PrivateAttr, ValidationError
from pydantic.errors import PydanticInvalidForJsonSchema
from pydantic.fields import FieldInfo
from pydantic_core import PydanticSerializationError, to_jsonable_python
from uuid_utils import uuid7

from .answering import Answering
from .cards import KEYWORD
from .courier import observation
from .errors import EditRefusedError, RequestInvalidError, StoppedInsideError
from .execution import HandledError, Ran, Way, idempotency_key, known_by
from .gate import About, Gate, Proposal, Terms, Told, idempotency_key_for, request_for, succeeded, told_of_edit
from .protocol import MAX_INTEGER, MAX_LONG_TEXT, MAX_SHORT_TEXT, ActionRequest, Args, Outcome
from .protocol import Run as RunInfo

_NO_KEY = "00000000-0000-0000-0000-000000000000"  # Stands where the key will stand, while arguments are checked.

_logger = logging.getLogger(__name__)


class IdempotencyKey(InjectedToolArg):
    """Marks a tool's parameter that receives the key: ``key: Annotated[str, IdempotencyKey]``.

    The model never sees the parameter, no reviewer is shown it, and what a model gives for it is not used.
    """


class _Double(BaseTool):
    """A tool of the same name, description and arguments as another, in whose place it is called."""

    _tool: BaseTool = PrivateAttr()
    _gate: Gate = PrivateAttr()
    _about: About = PrivateAttr()

    def __init__(self, tool: BaseTool, *, gate: Gate, about: About) -> None:
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
        self._tool = tool
        self._gate = gate
        self._about = about

    @property
    def args(self) -> dict[str, Any]:
        """The tool's arguments, as JSON Schema properties."""
        return self._tool.args

    @property
    def func(self) -> Callable[..., Any] | None:
        """A function that goes the same way, with the tool's annotations, by which frameworks see what to inject."""
        source = getattr(self._tool, "func", None) or getattr(self._tool, "coroutine", None)
        if source is None:
            return None

        @functools.wraps(source)
        def gated(**kwargs: Any) -> Any:  # noqa: ANN401 -- the tool's own arguments and result
            return self.run(kwargs)

        return gated

    def get_input_schema(self, config: Any = None) -> Any:  # noqa: ANN401 -- as langchain-core declares it
        """Return the tool's input schema, injected arguments included."""
        return self._tool.get_input_schema(config)

    def _run(self, **kwargs: Any) -> Any:  # noqa: ANN401 -- as BaseTool._run
        return self.run(kwargs)


class GuardedTool(_Double):
    """A tool that runs only what is permitted; see `Gate.guard`."""

    _terms: Terms = PrivateAttr()
    _fallbacks: tuple[BaseTool, ...] = PrivateAttr()

    def __init__(self, tool: BaseTool, *, gate: Gate, about: About, terms: Terms) -> None:
        super().__init__(tool, gate=gate, about=about)
        self._terms = terms
        self._fallbacks = tuple(_as_tool(each, tool) for each in terms.plan.fallbacks)

    def run(self, tool_input: str | dict[str, Any], *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 -- as BaseTool.run
        """Take the call through the gate, then run the guarded tool as it would have been run."""
        try:
            call = _Call(self._tool, tool_input, kwargs)
        except ValidationError as error:
            return _invalid(self._tool, error, kwargs.get("tool_call_id"))
        answer = self._gate.conduct(*self._conducted(call, args, kwargs))
        return _as_result(answer, self.name, call.tool_call_id)

    async def arun(self, tool_input: str | dict[str, Any], *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 -- as BaseTool.arun
        """Take the call through the gate, then run the guarded tool as it would have been run."""
        try:
            call = _Call(self._tool, tool_input, kwargs)
        except ValidationError as error:
            return _invalid(self._tool, error, kwargs.get("tool_call_id"))
        # In a thread, because a confidence may have to ask a model.
        conducted = await asyncio.to_thread(self._conducted, call, args, kwargs)
        answer = await self._gate.aconduct(*conducted)
        return _as_result(answer, self.name, call.tool_call_id)

    def _conducted(
        self, call: "_Call", args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[Proposal, tuple[Way, ...]]:
        ways = tuple(_way(tool, call, args, kwargs) for tool in (self._tool, *self._fallbacks))
        return call.proposal(self._about, self._terms, tuple(way.name for way in ways)), ways


class ObservedTool(_Double):
    """A tool that runs ungated, or not at all, and files what it was called with; see `Gate.observe`."""

    _instead: str | Callable[[Args], str] | None = PrivateAttr()

    def __init__(
        self, tool: BaseTool, *, gate: Gate, about: About, instead: str | Callable[[Args], str] | None
    ) -> None:
        super().__init__(tool, gate=gate, about=about)
        self._instead = instead

    def run(self, tool_input: str | dict[str, Any], *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 -- as BaseTool.run
        """File the call and run the tool, or give the model the text that stands in for its result."""
        key = self._filed(tool_input, kwargs)
        if self._instead is not None:
            return self._in_its_place(tool_input, kwargs)
        with known_by(key):
            return self._tool.run(_with_keys(self._tool, tool_input), *args, **kwargs)

    async def arun(self, tool_input: str | dict[str, Any], *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 -- as BaseTool.arun
        """File the call and run the tool, or give the model the text that stands in for its result."""
        key = self._filed(tool_input, kwargs)
        if self._instead is not None:
            return self._in_its_place(tool_input, kwargs)
        with known_by(key):
            return await self._tool.arun(_with_keys(self._tool, tool_input), *args, **kwargs)

    def _filed(self, tool_input: str | dict[str, Any], options: Mapping[str, Any]) -> str | None:
        try:
            call = _Call(self._tool, tool_input, options)
            key = call.observation_key(self._about)
            about, context = self._about, contextvars.copy_context()
            self._gate.courier.post(lambda: context.run(lambda: observation(call.request(about, observed=True), key)))
        except Exception:
            # A pilot must not fail: bad arguments are the tool's to refuse, all else is told in the log.
            _logger.warning("A call of %s could not be observed.", self.name, exc_info=True)
            return None
        return key

    def _in_its_place(self, tool_input: str | dict[str, Any], options: Mapping[str, Any]) -> Any:  # noqa: ANN401 -- text or a message
        call = _Call(self._tool, tool_input, options)
        text = self._instead(dict(call.args)) if callable(self._instead) else str(self._instead)
        return _as_result(Told(text, is_error=False), self.name, call.tool_call_id)


def _invalid(tool: BaseTool, error: ValidationError, tool_call_id: str | None) -> Any:  # noqa: ANN401 -- text or a message
    handler = tool.handle_validation_error
    if not handler:
        raise error
    return _as_result(Told(_handle_validation_error(error, flag=handler)), tool.name, tool_call_id)


def _as_tool(fallback: BaseTool | Callable[..., Any], tool: BaseTool) -> BaseTool:
    if isinstance(fallback, BaseTool):
        return fallback
    takes_all = any(each.kind is each.VAR_KEYWORD for each in inspect.signature(fallback).parameters.values())
    is_async = inspect.iscoroutinefunction(fallback)
    return StructuredTool.from_function(
        func=None if is_async else fallback,
        coroutine=fallback if is_async else None,
        name=getattr(fallback, "__name__", type(fallback).__name__),
        description=tool.description or tool.name,
        args_schema=_args_schema(tool) if takes_all else None,
        response_format=tool.response_format,
    )


def _way(tool: BaseTool, call: "_Call", args: tuple[Any, ...], kwargs: dict[str, Any]) -> Way:
    def given(approved: Args) -> dict[str, Any]:
        return {**approved, **call.injected, **dict.fromkeys(_key_names(tool), idempotency_key())}

    has_coroutine = getattr(tool, "coroutine", None) is not None
    is_async = has_coroutine if isinstance(tool, Tool | StructuredTool) else type(tool)._arun is not BaseTool._arun  # noqa: SLF001 -- there is no public name

    def run(approved: Args) -> Any:  # noqa: ANN401 -- whatever the tool returns
        noting, errors = _noting(tool)
        with _to_its_end(tool.name):
            return _unless_failed(noting.run(given(approved), *args, **kwargs), errors)

    async def wait(approved: Args) -> Any:  # noqa: ANN401 -- whatever the tool returns
        noting, errors = _noting(tool)
        with _to_its_end(tool.name):
            return _unless_failed(await noting.arun(given(approved), *args, **kwargs), errors)

    return Way(tool.name[:MAX_SHORT_TEXT], run, wait, is_async=is_async)


@contextmanager
def _to_its_end(name: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        # Whoever raises it has imported it; the hook itself needs no langgraph.
        langgraph = sys.modules.get("langgraph.errors")
        if langgraph is not None and isinstance(error, langgraph.GraphInterrupt):
            raise StoppedInsideError(name) from error
        raise


def _noting(tool: BaseTool) -> tuple[BaseTool, list[ToolException]]:
    """Return a copy of the tool that puts the errors it handles itself into the list beside it."""
    errors: list[ToolException] = []
    handler = tool.handle_tool_error
    # A class of the user's own may keep state that a copy would not share; its messages still tell of errors.
    if not handler or type(tool) not in (Tool, StructuredTool):
        return tool, errors

    def note(error: ToolException) -> ToolExceptionHandlerOutput:
        errors.append(error)
        return _handle_tool_error(error, flag=handler)

    return tool.model_copy(update={"handle_tool_error": note}), errors


def _unless_failed(result: Any, errors: Sequence[ToolException]) -> Any:  # noqa: ANN401 -- whatever the tool returns
    if not errors and isinstance(result, ToolMessage) and result.status == "error":
        errors = (ToolException(result.text),)
    if errors:
        raise HandledError(errors[-1], result)
    return result


def _with_keys(tool: BaseTool, tool_input: str | dict[str, Any]) -> str | dict[str, Any]:
    names = _key_names(tool)
    if not names or isinstance(tool_input, str):
        return tool_input
    return {**tool_input, **dict.fromkeys(names, idempotency_key())}


def _key_names(tool: BaseTool) -> set[str]:
    """Return the names of the tool's parameters that receive the idempotency key."""
    function = getattr(tool, "func", None) or getattr(tool, "coroutine", None) or tool._run  # noqa: SLF001 -- there is no public name
    annotations = dict(_hints(function))
    if isinstance(tool.args_schema, type) and issubclass(tool.args_schema, BaseModel):
        annotations |= get_all_basemodel_annotations(tool.args_schema)
    return {
        name for name, annotation in annotations.items() if any(_is_key_mark(mark) for mark in get_args(annotation)[1:])
    }


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    try:
        return get_type_hints(inspect.unwrap(function), include_extras=True)
    except (NameError, TypeError):
        return {}  # Annotations that only a type checker can read name nothing that is injected.


def _is_key_mark(mark: object) -> bool:
    return isinstance(mark, IdempotencyKey) or (isinstance(mark, type) and issubclass(mark, IdempotencyKey))


def _args_schema(tool: BaseTool) -> ArgsSchema | None:
    if tool.args_schema is None and isinstance(tool, Tool):
        # langchain-core knows the single argument of this class by the class alone.
        return {"type": "object", "properties": tool.args, "required": list(tool.args)}
    return tool.args_schema


class _Call:
    """One call of a guarded tool: what is submitted of its input, and what is only passed on."""

    def __init__(self, tool: BaseTool, tool_input: str | dict[str, Any], options: Mapping[str, Any]) -> None:
        given = _as_arguments(tool, tool_input)
        keys = _key_names(tool)
        given |= dict.fromkeys(keys, _NO_KEY)
        self.tool = tool
        self.tool_call_id: str | None = options.get("tool_call_id")
        self.config = ensure_config(options.get("config"))
        self.injected = {name: given[name] for name in _injected_names(tool, given)}
        self.args = _plain(tool.name, self._whole(given), self.injected)

    def proposal(self, about: About, terms: Terms, ways: tuple[str, ...]) -> Proposal:
        return Proposal(
            self.request(about),
            self._known_key(about),
            terms.timeout,
            self._check_edit,
            _outcome_of,
            plan=terms.plan,
            ways=ways,
            answering=None if terms.answer is None else Answering(terms.answer, self.args),
            is_models=self.tool_call_id is not None,
        )

    def observation_key(self, about: About) -> str:
        # Not the key that a guard would give: the same call may be guarded later in the same thread.
        return "observed-" + hashlib.sha256(self._known_key(about).encode()).hexdigest()

    def request(self, about: About, *, observed: bool = False) -> ActionRequest:
        thread_id = self._thread_id()
        return request_for(
            self.tool.name,
            self.args,
            about,
            description=self.tool.description[:MAX_LONG_TEXT] or None,
            args_schema=args_schema_of(self.tool),
            run=RunInfo(
                framework="langchain",
                thread_id=None if thread_id is None else str(thread_id)[:MAX_SHORT_TEXT],
                tool_call_id=self.tool_call_id[:MAX_SHORT_TEXT] if self.tool_call_id else None,
            ),
            observed=observed,
        )

    def _thread_id(self) -> object:
        return self.config.get("configurable", {}).get("thread_id")

    def _known_key(self, about: About) -> str:
        return idempotency_key_for(about, self.args) or self._derived_key() or f"call-{uuid7()}"

    def _derived_key(self) -> str | None:
        thread_id = self._thread_id()
        # A call in a thread that is kept can be made again after a restart; nobody returns to any other.
        if thread_id is None or self.tool_call_id is None:
            return None
        # Models number their calls anew in each step, so the step belongs to the name of the call.
        step = self.config.get("metadata", {}).get("langgraph_checkpoint_ns", "")
        parts = json.dumps(["langchain", str(thread_id), str(step), self.tool_call_id, self.tool.name])
        return "call-" + hashlib.sha256(parts.encode()).hexdigest()

    def _whole(self, given: dict[str, Any]) -> dict[str, Any]:
        """Return what would run: what the tool takes of the given, and its defaults."""
        parsed = self._parsed(given)  # Bad arguments are the model's to mend, before anybody is asked.
        model = _model(self.tool)
        if model is None:
            return given
        shown = {name: value for name, value in given.items() if name not in self.injected}
        taken = _taken(model, shown)
        others = {name: value for name, value in shown.items() if name in parsed and name not in model.model_fields}
        heard = others | {
            name if _takes_names(model) else key: _heard(shown[key], parsed.get(name)) for name, key in taken.items()
        }
        try:
            again = self._parsed({**heard, **self.injected})
        except (ValidationError, ValueError, TypeError):
            again = {}
        made_anew = {name for name, field in model.model_fields.items() if field.default_factory and name not in taken}
        lasting = set(parsed) - made_anew - set(self.injected)
        if any(name not in again or again[name] != parsed[name] for name in lasting):
            heard, again = shown, self._parsed(dict(given))  # A validator of the tool's own made something of it all.
        # Defaults are shown where they are plain JSON, and so come back as they went, and the same each time: a new id
        # would make another request of the same call after a restart.
        added = {name: value for name, value in parsed.items() if name in self.tool.args and name not in taken}
        stable = {name: value for name, value in added.items() if _is_plain(value) and again.get(name) == value}
        return {**stable, **heard}

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


def _as_arguments(tool: BaseTool, tool_input: str | dict[str, Any]) -> dict[str, Any]:
    if isinstance(tool_input, str):
        return dict.fromkeys(list(tool.args)[:1], tool_input)
    if tool.args_schema is None and isinstance(tool, Tool) and len(tool_input) == 1:
        # Models are told that the argument of such a tool is __arg1; the tool takes it under any name.
        return dict(zip(tool.args, tool_input.values(), strict=True))
    return dict(tool_input)


def _model(tool: BaseTool) -> type[BaseModel] | None:
    schema = tool.args_schema
    return schema if isinstance(schema, type) and issubclass(schema, BaseModel) else None


def _takes_names(model: type[BaseModel]) -> bool:
    return bool(model.model_config.get("populate_by_name") or model.model_config.get("validate_by_name"))


def _aliases(field: FieldInfo) -> list[str]:
    alias = field.validation_alias
    choices = alias.choices if isinstance(alias, AliasChoices) else [] if alias is None else [alias]
    return [str(each.path[0]) if isinstance(each, AliasPath) else each for each in choices]


def _taken(model: type[BaseModel], given: Mapping[str, Any]) -> dict[str, str]:
    """Return under which key of the given each field is taken, in the order in which pydantic looks."""
    taken: dict[str, str] = {}
    for name, field in model.model_fields.items():
        aliases = _aliases(field)
        keys = [*aliases, name] if _takes_names(model) or not aliases else aliases
        found = next((key for key in keys if key in given), None)
        if found is not None:
            taken[name] = found
    return taken


def _heard(given: Any, parsed: Any) -> Any:  # noqa: ANN401 -- any JSON value, and what was made of it
    """Return the given without what was passed over: a reviewer might rely on a ``dry_run`` that nobody knows."""
    match given, parsed:
        case dict(), BaseModel():
            if parsed.model_extra is not None:
                return given
            return {key: _heard(given[key], getattr(parsed, name)) for name, key in _taken(type(parsed), given).items()}
        case dict(), dict():
            return {key: _heard(value, parsed[key]) for key, value in given.items() if key in parsed}
        case list(), list() | tuple() if len(given) == len(parsed):
            return [_heard(*each) for each in zip(given, parsed, strict=True)]
    return given


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
            plain = {**_under_aliases(schema.model_json_schema(), _model(tool)), **_card(known)}
        else:
            plain = schema.schema()
    except PydanticInvalidForJsonSchema:
        return None
    return _with_safe_integers(plain)  # type: ignore[no-any-return]  # an object in, an object out


def _card(model: object) -> dict[str, Any]:
    # langchain-core makes a model of its own of the arguments, which has lost what the tool's said beside its fields.
    if not isinstance(model, type) or not issubclass(model, BaseModel):
        return {}
    extra = model.model_config.get("json_schema_extra")
    return {KEYWORD: extra[KEYWORD]} if isinstance(extra, dict) and KEYWORD in extra else {}


def _under_aliases(schema: dict[str, Any], model: type[BaseModel] | None) -> dict[str, Any]:
    # langchain-core tells the arguments by their names, also where the tool takes them under their aliases alone.
    if model is None or _takes_names(model):
        return schema
    aliases = {name: aliases[0] for name, field in model.model_fields.items() if (aliases := _aliases(field))}
    if not aliases:
        return schema
    properties = {aliases.get(name, name): value for name, value in schema.get("properties", {}).items()}
    return {**schema, "properties": properties, "required": [aliases.get(n, n) for n in schema.get("required", ())]}


def _with_safe_integers(value: Any) -> Any:  # noqa: ANN401 -- any JSON value
    match value:
        case dict():
            return {str(name): _with_safe_integers(member) for name, member in value.items()}
        case list() | tuple():
            return [_with_safe_integers(member) for member in value]
        case int() if abs(value) > MAX_INTEGER:
            return float(value)  # A bound such as 2**63 - 1; canonical JSON holds it as a float alone.
    return value


def _outcome_of(result: Any) -> Outcome:  # noqa: ANN401 -- whatever the tool returns
    return succeeded(result.content if isinstance(result, ToolMessage) else result)


def _as_result(answer: Ran | Told, name: str, tool_call_id: str | None) -> Any:  # noqa: ANN401 -- whatever the tool returns
    if isinstance(answer, Ran):
        result = answer.result
        if answer.fallback is not None and isinstance(result, ToolMessage):
            result = result.model_copy(update={"name": name})  # It answers the call that the model made.
        return result if answer.edited is None else _noted(result, told_of_edit(name, answer.edited))
    if tool_call_id is None:
        return answer.text
    status = "error" if answer.is_error else "success"
    return ToolMessage(answer.text, name=name, tool_call_id=tool_call_id, status=status)


def _noted(result: Any, note: str) -> Any:  # noqa: ANN401 -- whatever the tool returns
    update = getattr(result, "update", None)
    if is_dataclass(result) and isinstance(update, dict) and isinstance(update.get("messages"), list):
        # LangGraph's Command carries its message in the update; langgraph itself is not needed here.
        messages = [_noted(each, note) for each in update["messages"]]
        return replace(result, update={**update, "messages": messages})  # type: ignore[type-var]  # an instance, since it has an update
    if not isinstance(result, ToolMessage):
        return result
    if isinstance(result.content, str):
        return result.model_copy(update={"content": f"{note}\n{result.content}".rstrip()})
    return result.model_copy(update={"content": [{"type": "text", "text": note}, *result.content]})
