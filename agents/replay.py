"""Replay of logged agent actions into a running console.

``python -m agents.replay FILE --url URL --key KEY`` submits only: it waits for no decision and runs nothing.
Two formats are read, each gzipped or not.

**JSON Lines** (any name but ``*.json``): one proposed action a line. Required are ``id``, and in ``submit``
the ``tool`` and its ``args``; the rest may be missing or null, and what is not named here is ignored::

    {
        "id": "0ce4e3d3725d",  # distinct in the file
        "submit": {
            "tool": "cancel_reservation",  # the name of the tool
            "args": {"reservation_id": "M05"},  # its arguments
            "schema": "airline.cancel",  # key into the tool schemas
            "context": "Hi there! ...",  # the first message of the customer
            "agent_text": "I will cancel ...",  # what the agent said with the call
            "excerpt": [{"role": "user", "text": "...", "calls": [{"tool": "...", "args": {}}]}],
            "evidence": [{"tool": "get_reservation", "args": {}, "result": "..."}],
        },
        "signals": {
            "peer3": 0.67,  # share of three other agents that propose the same call
            "self_agree": 0.5,  # share of n_same other runs of this agent that do
            "n_same": 4,
        },
        "model": "gpt-4.1",
        "source": "tau2-bench",
        "domain": "airline",
        "task_id": "22",
        "run": "003af8475f6c",
        "trial": 0,
        "step": 0,
        "turn": 16,
        "group": "airline:omar",
    }

The confidence is ``peer3``, else ``self_agree`` where ``n_same`` is above 0, else none. The tool schemas are
a JSON object ``{"<schema>": {"description": "...", "parameters": {JSON Schema}}}``: those of ``--schemas``,
else of ``tool_schemas.json`` beside the file where there is one.

**tau2-bench results** (``*.json``), as their authors publish them: an object with ``info``, ``tasks`` and
``simulations``, each simulation with its ``messages`` (or in a file of its own in ``simulations/`` beside the
results). Every tool call of the assistant is submitted, with the messages before it; these runs tell no
confidence.

Integers above 2**53 - 1 are sent as strings. A record that cannot be sent is named with its place, counted
and skipped. The place reached is kept in a state file, and each record's idempotency key is made of its id
and the file's digest: a replay that is started again goes on where it stopped, and nothing is filed twice.

The exit code is 0 when everything was sent, 1 when records were skipped, 2 when the replay could not go on.
"""

import argparse
import gzip
import hashlib
import json
import os
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, JsonValue, TypeAdapter, ValidationError
from tqdm import tqdm

from .client import Client
from .errors import GateError, RequestInvalidError, ServerRefusedError
from .protocol import MAX_INTEGER, Action, ActionRequest, ContextEntry, ContextKind, Impact, Run, Usage

ATTEMPTS = 40
CONTEXT_MESSAGES = 12

_MAX_CONTENT = 8_000
_MAX_SHORT = 256
_MAX_LONG = 20_000
_MAX_WHY = 300
# What the console says of one record alone; any other refusal concerns all of them.
_REFUSALS_OF_ONE = (400, 413, 422)


class ReplayError(Exception):
    """The replay cannot go on."""

    def __init__(self, *, why: str) -> None:
        super().__init__(why)


class BadRecordError(Exception):
    """This record cannot be sent; the others can."""

    def __init__(self, *, why: str) -> None:
        super().__init__(" ".join(why.split())[:_MAX_WHY])


@dataclass(frozen=True, slots=True)
class Record:
    """One logged action: where it stands, its id in the file, and its request or why there is none."""

    place: str
    id: str
    request: ActionRequest | BadRecordError


def _or_empty(value: object) -> object:
    return () if value is None else value


class _Logged(BaseModel):
    # Logs hold more than is read here, and number what is only a name.
    model_config = ConfigDict(frozen=True, extra="ignore", coerce_numbers_to_str=True)


class _LoggedCall(_Logged):
    tool: str
    args: dict[str, JsonValue]


class _LoggedMessage(_Logged):
    role: str
    text: str | None = None
    calls: Annotated[tuple[JsonValue, ...], BeforeValidator(_or_empty)] = ()


class _Evidence(_LoggedCall):
    result: str | None = None


class _Submit(_LoggedCall):
    schema_key: Annotated[str | None, Field(alias="schema")] = None
    context: str | None = None
    agent_text: str | None = None
    excerpt: Annotated[tuple[_LoggedMessage, ...], BeforeValidator(_or_empty)] = ()
    evidence: Annotated[tuple[_Evidence, ...], BeforeValidator(_or_empty)] = ()


class _Signals(_Logged):
    peer3: float | None = None
    self_agree: float | None = None
    n_same: int | None = None

    def confidence(self) -> tuple[float | None, str | None]:
        if self.peer3 is not None:
            return self.peer3, "peer3: share of three other agents that propose the same call"
        if self.self_agree is not None and self.n_same:
            return (
                self.self_agree,
                f"self_agree: share of {self.n_same} other runs that propose the same call",
            )
        return None, None


class _Line(_Logged):
    id: str
    submit: _Submit
    signals: _Signals | None = None
    model: str | None = None
    source: str | None = None
    domain: str | None = None
    task_id: str | None = None
    run: str | None = None
    trial: int | None = None
    step: int | None = None
    turn: int | None = None
    group: str | None = None


class _TauCall(_Logged):
    id: str = ""
    name: str
    arguments: dict[str, JsonValue]
    requestor: str = "assistant"


class _TauMessage(_Logged):
    role: str
    content: str | None = None
    tool_calls: Annotated[tuple[_TauCall, ...], BeforeValidator(_or_empty)] = ()
    tool_messages: Annotated[tuple["_TauMessage", ...], BeforeValidator(_or_empty)] = ()
    usage: dict[str, JsonValue] | None = None


class _TauSimulation(_Logged):
    id: str
    task_id: str | None = None
    trial: int | None = None
    messages: list[JsonValue] | None = None


class _TauAgent(_Logged):
    llm: str | None = None


class _TauEnvironment(_Logged):
    domain_name: str | None = None


class _TauInfo(_Logged):
    agent_info: _TauAgent = _TauAgent()
    environment_info: _TauEnvironment = _TauEnvironment()


class _Tool(_Logged):
    description: str | None = None
    parameters: dict[str, JsonValue] | None = None


_Tools = Mapping[str, _Tool]
_NO_TOOL = _Tool()


class ReplayFile:
    """A file of logged actions, with the schemas of its tools. Raises ReplayError where it cannot be read."""

    def __init__(self, path: Path, *, schemas: Path | None = None) -> None:
        self.path = path
        content = _content(path)
        self.digest = hashlib.sha256(content).hexdigest()
        self._lines = _unzipped(content).split(b"\n")
        self._is_tau = path.name.removesuffix(".gz").endswith(".json")
        beside = path.with_name("tool_schemas.json")
        self._tools = _tools(schemas or (beside if beside.exists() else None))

    def __len__(self) -> int:
        if self._is_tau:
            return sum(1 for _ in self.records())
        return sum(1 for line in self._lines if line.strip())

    def records(self) -> Iterator[Record]:
        """Read the file, record by record, in its order."""
        if self._is_tau:
            yield from self._tau_records()
            return
        for number, line in enumerate(self._lines, start=1):
            if line.strip():
                yield _line_record(number, line, self._tools)

    def idempotency_key(self, record: Record) -> str:
        """Return the key under which this record of this file is filed, once."""
        return "replay-" + hashlib.sha256(f"{self.digest}\n{record.id}".encode()).hexdigest()

    def _tau_records(self) -> Iterator[Record]:
        try:
            results = _json(b"\n".join(self._lines))
            info = _TauInfo.model_validate(results["info"])
            simulations = self._simulations(results.get("simulations"))
        except (BadRecordError, ValidationError, TypeError, KeyError, AttributeError) as error:
            raise ReplayError(why=f"{self.path} does not hold results of tau2-bench: {error}") from error
        for place, simulation in simulations:
            yield from _simulation_records(place, simulation, info, self._tools)

    def _simulations(self, simulations: list[Any] | None) -> list[tuple[str, Any]]:
        folder = self.path.parent / "simulations"
        if simulations or not folder.is_dir():
            return [(f"simulations[{number}]", each) for number, each in enumerate(simulations or [])]
        return [(f"simulations/{file.name}", _json(_content(file))) for file in sorted(folder.glob("*.json"))]


class _State(BaseModel):
    """How far a replay of one file into one console has come."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal[1] = 1
    digest: str
    url: str
    done: int = 0
    sent: int = 0
    skipped: int = 0

    def kept(self, path: Path) -> None:
        draft = path.with_name(f"{path.name}.{os.getpid()}.new")
        try:
            draft.write_text(self.model_dump_json(), encoding="utf-8")
            draft.replace(path)
        except OSError as error:
            raise ReplayError(why=f"The place reached cannot be kept ({error}). Choose another --state.") from error


def replay(file: ReplayFile, client: Client, *, state_path: Path, options: "Options") -> tuple[int, int]:
    """Send the records from where the last replay stopped; return how many are sent and skipped by now.

    Raises ReplayError where the state belongs to another replay, and GateError where the console cannot be
    reached or refuses for a reason that concerns every record.
    """
    state = _state(state_path, _State(digest=file.digest, url=client.url))
    began, sent_before = time.monotonic(), state.sent
    with tqdm(total=len(file), initial=state.done, unit="action", disable=options.is_quiet) as progress:
        for number, record in enumerate(file.records()):
            if number < state.done:
                continue
            if options.limit is not None and state.sent - sent_before >= options.limit:
                break
            sent, skipped = 0, 0
            if options.wants(record):
                time.sleep(max(0.0, began + options.seconds_for(state.sent - sent_before) - time.monotonic()))
                sent, skipped = _submitted(file, record, client)
            update = {"done": number + 1, "sent": state.sent + sent, "skipped": state.skipped + skipped}
            state = state.model_copy(update=update)
            state.kept(state_path)
            progress.update()
    return state.sent, state.skipped


@dataclass(frozen=True, slots=True)
class Options:
    """How to replay: actions a second (0: no pause), how many at most, of which tools (none named: all)."""

    rate: float = 5.0
    limit: int | None = None
    tools: tuple[str, ...] = ()
    is_quiet: bool = False

    def wants(self, record: Record) -> bool:
        """Tell whether the record is of a tool that is to be sent; a bad record always is, to be named."""
        if not self.tools or isinstance(record.request, BadRecordError):
            return True
        return record.request.action.name in self.tools

    def seconds_for(self, count: int) -> float:
        """Return how long after the start the next action is due, when ``count`` were sent."""
        return count / self.rate if self.rate > 0 else 0.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    chosen = _parser().parse_args(arguments)
    if not chosen.url or not chosen.key:
        _say("Name the console and the agent's key: --url and --key, or SIGNOFF_URL and SIGNOFF_KEY.")
        return 2
    options = Options(rate=chosen.rate, limit=chosen.limit, tools=tuple(chosen.tool))
    state_path = chosen.state or chosen.file.with_name(f"{chosen.file.name}.replay.json")
    try:
        file = ReplayFile(chosen.file, schemas=chosen.schemas)
        with Client(chosen.url, chosen.key, attempts=ATTEMPTS) as client:
            sent, skipped = replay(file, client, state_path=state_path, options=options)
    except (ReplayError, GateError, ValueError) as error:
        _say(f"The replay stopped: {error}")
        return 2
    except KeyboardInterrupt:
        _say("The replay was interrupted. Start it again to go on from here.")
        return 130
    print(f"{sent} actions sent, {skipped} records skipped.")
    return 1 if skipped else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m agents.replay",
        description="Stream logged agent actions into a running Signoff console.",
    )
    parser.add_argument("file", type=Path, help="JSON Lines, or tau2-bench results (*.json); gzipped or not")
    parser.add_argument("--url", default=os.environ.get("SIGNOFF_URL"), help="the console (SIGNOFF_URL)")
    parser.add_argument("--key", default=os.environ.get("SIGNOFF_KEY"), help="the agent's key (SIGNOFF_KEY)")
    parser.add_argument("--rate", type=float, default=Options().rate, help="actions a second; 0 for no pause")
    parser.add_argument("--limit", type=int, help="send at most so many this time")
    parser.add_argument("--tool", action="append", default=[], help="send calls of this tool alone; repeatable")
    parser.add_argument("--schemas", type=Path, help="the tools' JSON Schemas")
    parser.add_argument("--state", type=Path, help="where the place reached is kept; FILE.replay.json unless set")
    return parser


def _submitted(file: ReplayFile, record: Record, client: Client) -> tuple[int, int]:
    try:
        if isinstance(record.request, BadRecordError):
            raise record.request
        client.send(client.submit(record.request, idempotency_key=file.idempotency_key(record)))
    except (BadRecordError, RequestInvalidError) as error:
        _say(f"{record.place}: {error}")
        return 0, 1
    except ServerRefusedError as refusal:
        if refusal.status not in _REFUSALS_OF_ONE:
            raise
        _say(f"{record.place}: {refusal}")
        return 0, 1
    return 1, 0


def _say(text: str) -> None:
    tqdm.write(text, file=sys.stderr)


def _state(path: Path, fresh: _State) -> _State:
    if not path.exists():
        return fresh
    try:
        state = _State.model_validate_json(path.read_text(encoding="utf-8"))
    except (ValidationError, OSError, UnicodeDecodeError) as error:
        raise ReplayError(why=f"The state file {path} cannot be read; move it away to start anew.") from error
    if (state.digest, state.url) != (fresh.digest, fresh.url):
        raise ReplayError(why=f"The state file {path} belongs to another file or console. Choose another --state.")
    return state


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ReplayError(why=f"{path} cannot be read: {error}") from error


def _unzipped(content: bytes) -> bytes:
    if content[:2] != b"\x1f\x8b":
        return content
    try:
        return gzip.decompress(content)
    except (OSError, EOFError) as error:
        raise ReplayError(why=f"The gzip file is damaged: {error}") from error


def _json(content: bytes) -> Any:  # noqa: ANN401 -- any JSON value
    try:
        return json.loads(_unzipped(content), parse_int=_integer, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise BadRecordError(why=f"it is not JSON: {error}") from error


def _integer(text: str) -> int | str:
    return int(text) if len(text) <= len(str(-MAX_INTEGER)) and abs(int(text)) <= MAX_INTEGER else text


def _refuse_constant(name: str) -> NoReturn:
    raise BadRecordError(why=f"{name} is not JSON")


def _tools(path: Path | None) -> _Tools:
    if path is None:
        return {}
    try:
        return TypeAdapter(dict[str, _Tool]).validate_python(_json(_content(path)))
    except (BadRecordError, ValidationError) as error:
        raise ReplayError(why=f"{path} does not hold tool schemas: {error}") from error


def _line_record(number: int, content: bytes, tools: _Tools) -> Record:
    place = f"line {number}"
    try:
        line = _Line.model_validate(_json(content))
        return Record(place, line.id, _line_request(line, tools))
    except BadRecordError as error:
        return Record(place, place, error)
    except ValidationError as error:
        return Record(place, place, BadRecordError(why=_first_error(error)))


def _line_request(line: _Line, tools: _Tools) -> ActionRequest:
    submit = line.submit
    tool = tools.get(submit.schema_key or "", _NO_TOOL)
    confidence, source = (line.signals or _Signals()).confidence()
    metadata = line.model_dump(include={"source", "domain", "task_id", "run", "trial", "step", "turn", "group"})
    return ActionRequest(
        action=Action(name=submit.tool, args=submit.args),
        confidence=confidence,
        confidence_source=source,
        description=tool.description,
        rationale=submit.agent_text and submit.agent_text[:_MAX_LONG],
        args_schema=tool.parameters,
        context=tuple(_line_context(submit)),
        impact=Impact(subject=line.group and line.group[:_MAX_SHORT]),
        usage=Usage(model=line.model and line.model[:_MAX_SHORT]),
        run=Run(framework=line.source, thread_id=line.run, tool_call_id=line.id),
        agent_version=line.model and line.model[:_MAX_SHORT],
        metadata={name: value for name, value in metadata.items() if value is not None},
    )


def _line_context(submit: _Submit) -> Iterator[ContextEntry]:
    if submit.context and all(submit.context != message.text for message in submit.excerpt):
        yield _message("user", submit.context, title="First message")
    for message in submit.excerpt:
        calls = [json.dumps(call, ensure_ascii=False) for call in message.calls]
        yield _message(message.role, "\n".join([*filter(None, [message.text]), *(f"→ {call}" for call in calls)]))
    for found in submit.evidence:
        title = f"{found.tool} {json.dumps(found.args, ensure_ascii=False)}"
        yield ContextEntry(
            kind=ContextKind.RECORD,
            title=title[:_MAX_SHORT],
            content=_cut(found.result or ""),
            media_type="application/json",
        )


def _simulation_records(place: str, value: object, info: _TauInfo, tools: _Tools) -> Iterator[Record]:
    try:
        simulation = _TauSimulation.model_validate(value)
    except ValidationError as error:
        yield Record(place, place, BadRecordError(why=_first_error(error)))
        return
    if simulation.messages is None:
        yield Record(place, place, BadRecordError(why="it has no messages; the ticks of a voice run are not read"))
        return
    heard: list[ContextEntry] = []
    for number, each in enumerate(simulation.messages):
        here = f"{place}.messages[{number}]"
        try:
            message = _TauMessage.model_validate(each)
        except ValidationError as error:
            yield Record(here, here, BadRecordError(why=_first_error(error)))
            continue
        for turn, call in enumerate(message.tool_calls):
            if message.role == "assistant" and call.requestor == "assistant":
                request = _tau_request(call, message, (simulation, info, tools), heard[-CONTEXT_MESSAGES:])
                yield Record(f"{here}.tool_calls[{turn}]", f"{simulation.id}/{number}/{turn}", request)
        heard.extend(_tau_context(message))


def _tau_request(
    call: _TauCall,
    message: _TauMessage,
    run: tuple[_TauSimulation, _TauInfo, _Tools],
    context: Iterable[ContextEntry],
) -> ActionRequest | BadRecordError:
    simulation, info, tools = run
    domain, model = info.environment_info.domain_name, info.agent_info.llm
    tool = tools.get(f"{domain}.{call.name}", _NO_TOOL)
    usage = message.usage or {}
    metadata = {"domain": domain, "task_id": simulation.task_id, "trial": simulation.trial}
    try:
        return ActionRequest(
            action=Action(name=call.name, args=call.arguments),
            description=tool.description,
            rationale=message.content and message.content[:_MAX_LONG],
            args_schema=tool.parameters,
            context=tuple(context),
            usage=Usage(
                model=model and model[:_MAX_SHORT],
                input_tokens=_count(usage.get("prompt_tokens")),
                output_tokens=_count(usage.get("completion_tokens")),
            ),
            run=Run(framework="tau2-bench", thread_id=simulation.id, tool_call_id=call.id[:_MAX_SHORT] or None),
            agent_version=model and model[:_MAX_SHORT],
            metadata={name: value for name, value in metadata.items() if value is not None},
        )
    except ValidationError as error:
        return BadRecordError(why=_first_error(error))


def _tau_context(message: _TauMessage) -> Iterator[ContextEntry]:
    for each in message.tool_messages or (message,):
        calls = [f"→ {call.name} {json.dumps(call.arguments, ensure_ascii=False)}" for call in each.tool_calls]
        text = "\n".join([*filter(None, [each.content]), *calls])
        if text:
            yield _message(each.role, text)


def _message(role: str, text: str, *, title: str | None = None) -> ContextEntry:
    kind = ContextKind.TOOL_RESULT if role == "tool" else ContextKind.MESSAGE
    return ContextEntry(kind=kind, role=role, title=title, content=_cut(text))


def _cut(text: str) -> str:
    return text if len(text) <= _MAX_CONTENT else f"{text[:_MAX_CONTENT]}… ({len(text) - _MAX_CONTENT} characters cut)"


def _count(value: JsonValue) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _first_error(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_context=False)[0]
    return f"{'.'.join(str(part) for part in first['loc']) or 'it'}: {first['msg']}"


if __name__ == "__main__":
    sys.exit(main())
