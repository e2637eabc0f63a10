"""The escalation policy: which actions an agent may run alone, which a person must see, which never run.

Rules come first, in their order, each a CEL expression over the action and what is known of it; then the
autonomy that the tool has earned in this agent's hands. Everything unknown, unmeasured or unreadable goes to
a person.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, JsonValue, StringConstraints

from agents.protocol import ActionRequest, DecisionType, Impact, Name, Note, OnExpiry, Probability, Reason, Route, Usage
from review.errors import InvalidPolicyError
from review.expressions import cel
from review.items import DEFAULT_PRIORITY, Purpose, ReasonCode, ReviewItem, awaits_answer
from review.masking import Pattern, pattern_of

HOUR = 3600
DEFAULT_PERMIT_FOR = 24 * HOUR
DEFAULT_OUTCOME_WITHIN = HOUR // 4

# What a rule may cost. The CEL engine has no limits of its own: it descends on the thread's stack, which a
# long enough expression overruns (the process dies), and `map` and `filter` take time in the square of the
# list: two minutes for 60,000 members.
MAX_TOKENS = 400
MAX_NESTING = 16
MAX_WALKED = 1_000

RuleName = Annotated[str, StringConstraints(pattern=r"^[^\p{C}\p{Zl}\p{Zp}]{1,64}$")]
Sentence = Annotated[str, StringConstraints(min_length=1, max_length=500)]
Expression = Annotated[str, StringConstraints(min_length=1, max_length=2_000)]
Seconds = Annotated[int, Field(ge=1, le=30 * 24 * HOUR)]
Priority = Annotated[int, Field(ge=0, le=9)]
Guidelines = Annotated[str, StringConstraints(max_length=4_000)]
Pointer = Annotated[str, StringConstraints(pattern=r"^(/([^/~]|~[01])+){1,32}$", max_length=512)]


class Part(BaseModel):
    """A part of a policy document: a frozen value that refuses fields it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Rule(Part):
    """What to answer where ``when`` holds; ``reason`` is read by the reviewer and by the agent.

    ``priority`` 0 is the most urgent; ``due_in`` is in seconds. What is None is as the tool, the queue or the document
    says. With ``blind`` nobody is shown what the others decided before the item is settled.
    """

    name: RuleName
    when: Expression
    route: Route
    queue: Name | None = None
    priority: Priority | None = None
    quorum: Annotated[int, Field(ge=1, le=9)] = 1
    due_in: Seconds | None = None
    reason: Sentence | None = None
    blind: bool = False


class Autonomy(StrEnum):
    """How far an agent is trusted with a tool; it is earned one step at a time."""

    SHADOW = "shadow"  # Nothing runs; decisions are only compared.
    SUPERVISED = "supervised"  # Everything is reviewed.
    GUARDED = "guarded"  # Below the threshold is reviewed, a slice of the rest is audited.
    AUTONOMOUS = "autonomous"  # Only rules and the slice bring a person in.


class ToolRule(Part):
    """What one agent may do with one tool; ``permit_for`` is how many seconds an approval permits execution.

    ``outcome_within`` is how many seconds a started action may take until it tells its outcome; later nobody knows
    whether it ran. A guarded tool without a threshold is reviewed like a supervised one.
    """

    agent: Name
    tool: Name
    autonomy: Autonomy = Autonomy.SUPERVISED
    threshold: Probability | None = None
    approve_on_expiry: bool = False
    queue: Name | None = None
    due_in: Seconds | None = None
    permit_for: Seconds = DEFAULT_PERMIT_FOR
    outcome_within: Seconds = DEFAULT_OUTCOME_WITHIN


class Queue(Part):
    """What is asked of the people who work in a queue, and what happens when an item in it is not decided in time.

    A reviewer needs every one of ``skills``. A decision of a type in ``reasons_for`` needs one of ``reasons``, any code
    where none is named. The types in ``hides`` cannot be chosen here. An item past its ``due_in`` seconds is raised to
    ``raise_to``, if that is more urgent, and moved to ``move_to``. With ``one_by_one`` no item of it is decided
    together with others.
    """

    name: Name
    guidelines: Guidelines = ""
    skills: Annotated[tuple[Name, ...], Field(max_length=20)] = ()
    reasons_for: Annotated[tuple[DecisionType, ...], Field(max_length=len(DecisionType))] = ()
    reasons: Annotated[tuple[ReasonCode, ...], Field(max_length=len(ReasonCode))] = ()
    hides: Annotated[tuple[DecisionType, ...], Field(max_length=len(DecisionType))] = ()
    due_in: Seconds | None = None
    raise_to: Priority | None = None
    move_to: Name | None = None
    blind: bool = False
    one_by_one: bool = False


class Sensitive(Part):
    """Arguments of a tool that are masked until somebody reveals them, whichever agent calls it.

    ``at`` are JSON Pointers (RFC 6901) into the arguments; a step ``*`` stands for every entry of a list, and for every
    member of an object.
    """

    tool: Name
    at: Annotated[tuple[Pointer, ...], Field(min_length=1, max_length=50)]


class PolicyDocument(Part):
    """A policy as it is written, stored and shown; ``compiled`` makes it usable.

    An agent that ``agent_versions`` does not name may have any version. Times are in seconds. Where ``queues`` names
    any, rules and tools can send to these and to the default queue alone; where it names none, to any.
    """

    version: Literal[1] = 1
    rules: Annotated[tuple[Rule, ...], Field(max_length=200)] = ()
    tools: Annotated[tuple[ToolRule, ...], Field(max_length=2_000)] = ()
    queues: Annotated[tuple[Queue, ...], Field(max_length=50)] = ()
    sensitive: Annotated[tuple[Sensitive, ...], Field(max_length=500)] = ()
    audit_rate: Probability = 0.05
    default_queue: Name = "general"
    default_priority: Priority = DEFAULT_PRIORITY
    default_due_in: Seconds = 4 * HOUR
    default_expires_in: Seconds = 24 * HOUR
    agent_versions: Annotated[
        dict[
            Name,
            Annotated[tuple[Annotated[str, StringConstraints(max_length=256)], ...], Field(max_length=100)],
        ],
        Field(max_length=500),
    ] = {}


@dataclass(frozen=True, slots=True)
class Policy:
    """A numbered version of a workspace's policy document, with who saved it and why."""

    workspace: str
    number: int
    document: PolicyDocument
    saved_at: datetime
    saved_by: str
    comment: str


class RoutingReason(StrEnum):
    """The stable codes of the policy's own reasons."""

    RULE = "rule"
    RULE_FAILED = "rule_failed"
    UNKNOWN_TOOL = "unknown_tool"
    UNKNOWN_AGENT_VERSION = "unknown_agent_version"
    INVALID_ARGS = "invalid_args"
    UNTRUSTED_SOURCE = "untrusted_source"
    REPEATED_AFTER_REJECTION = "repeated_after_rejection"
    SHADOW = "shadow"
    SUPERVISED = "supervised"
    NO_THRESHOLD = "no_threshold"
    NO_CONFIDENCE = "no_confidence"
    BELOW_THRESHOLD = "below_threshold"
    THRESHOLD_REACHED = "threshold_reached"
    AUTONOMOUS = "autonomous"


_OWN_CODES = frozenset(RoutingReason)
_AUTONOMY_CODES = frozenset(
    {
        RoutingReason.SUPERVISED,
        RoutingReason.NO_THRESHOLD,
        RoutingReason.NO_CONFIDENCE,
        RoutingReason.BELOW_THRESHOLD,
    }
)
_INVALID_ARGS = "The arguments do not fit the tool's schema, so a person must look."
_UNTRUSTED_SOURCE = (
    "Values of its arguments stand only in untrusted content, which may be somebody's attempt to direct the agent."
)


@dataclass(frozen=True, slots=True)
class Routing:
    """The policy's answer to one action request.

    ``audited`` tells that the action runs with nobody looking, so that the random audit slice applies to it.
    ``permit_for`` is how many seconds an approval permits execution: 0 in shadow, where nothing may run.
    """

    route: Route
    reasons: tuple[Reason, ...]
    queue: str
    priority: int
    quorum: int
    due_in: int
    expires_in: int
    audited: bool
    permit_for: int
    blind: bool = False


@dataclass(frozen=True, slots=True)
class _Facts:
    """What the expressions of one request are evaluated over."""

    request: ActionRequest
    agent: str
    known: bool
    now: datetime
    grounding: float | None
    novelty: float | None
    provenance: Mapping[str, int] | None
    rejections: int


def _impact(impact: Impact) -> dict[str, Any]:
    present = impact.model_dump(exclude_none=True)
    if impact.amount is not None:
        present["amount"] = float(impact.amount)
    return present


def _usage(usage: Usage) -> dict[str, Any]:
    present = usage.model_dump(exclude_none=True)
    if usage.cost is not None:
        present["cost"] = float(usage.cost)
    return present


_VARIABLES: dict[str, Callable[[_Facts], Any]] = {
    "action": lambda facts: {"name": facts.request.action.name, "args": facts.request.action.args},
    "args": lambda facts: facts.request.action.args,
    "confidence": lambda facts: facts.request.confidence,
    "impact": lambda facts: _impact(facts.request.impact),
    "agent": lambda facts: {"name": facts.agent, "version": facts.request.agent_version},
    "tool": lambda facts: {"name": facts.request.action.name, "known": facts.known},
    "usage": lambda facts: _usage(facts.request.usage),
    "novelty": lambda facts: facts.novelty,
    "grounding": lambda facts: facts.grounding,
    "provenance": lambda facts: None if facts.provenance is None else dict(facts.provenance),
    "rejections": lambda facts: facts.rejections,
    "now": lambda facts: facts.now,
}
VARIABLES = tuple(_VARIABLES)

_OPERATORS = frozenset(
    {
        "!_",
        "-_",
        "_!=_",
        "_%_",
        "_&&_",
        "_*_",
        "_+_",
        "_-_",
        "_/_",
        "_<=_",
        "_<_",
        "_==_",
        "_>=_",
        "_>_",
        "_?_:_",
        "_[_]",
    }
    | {"_||_", "@in", "@not_strictly_false"}
)
FUNCTIONS = (
    *(
        "contains",
        "double",
        "duration",
        "endsWith",
        "int",
        "matches",
        "size",
        "startsWith",
        "string",
        "timestamp",
    ),
    *(
        "getDate",
        "getDayOfMonth",
        "getDayOfWeek",
        "getDayOfYear",
        "getFullYear",
        "getHours",
        "getMinutes",
        "getMonth",
    ),
)
_WALKS = frozenset({"all", "exists", "exists_one", "existsOne"})
_BUILDERS = frozenset({"filter", "map"})
_MACROS = _WALKS | _BUILDERS

# Enough of CEL's lexis to count: comments and literals as one token each, so that nothing inside them counts.
_TOKEN = re.compile(
    r"//[^\n]*"
    r"|(?:[rR][bB]?|[bB][rR])(?:\"{3}.*?\"{3}|'{3}.*?'{3}|\"[^\"\n]*\"|'[^'\n]*')"
    r"|[bB]?(?:\"{3}(?:\\.|[^\\])*?\"{3}|'{3}(?:\\.|[^\\])*?'{3}|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*')"
    r"|(?P<name>[A-Za-z_]\w*)|\d[\w.]*|&&|\|\||[<>=!]=|(?P<open>[(\[{])|(?P<close>[)\]}])|\S",
    re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class _Shape:
    """What an expression's tokens tell of its cost; ``bound`` are the names that its macros bind."""

    tokens: int
    nesting: int
    walks: int
    bound: frozenset[str]
    builds: bool


def _tokens(when: str) -> list[re.Match[str]]:
    return [token for token in _TOKEN.finditer(when) if not token.group().startswith("//")]


def _shape(tokens: list[re.Match[str]]) -> _Shape:
    texts = [token.group() for token in tokens]
    opened: list[str] = []  # Of every bracket that is open: the macro that it belongs to, or nothing.
    macros: set[str] = set()
    bound: set[str] = set()
    nesting = walks = 0
    for place, token in enumerate(tokens):
        if token["open"]:
            macro = texts[place - 1] if texts[max(place - 2, 0)] == "." and texts[place - 1] in _MACROS else ""
            opened.append(macro)
            if macro:
                macros.add(macro)
                bound.update(texts[place + 1 : place + 2])
            nesting = max(nesting, len(opened))
            walks = max(walks, sum(map(bool, opened)))
        elif token["close"] and opened:
            opened.pop()
    return _Shape(len(tokens), nesting, walks, frozenset(bound), not macros.isdisjoint(_BUILDERS))


def _members(tokens: list[re.Match[str]]) -> Iterator[tuple[str, str | None]]:
    texts = [token.group() for token in tokens]
    for place, token in enumerate(tokens):
        if token["name"] in _VARIABLES and texts[max(place - 1, 0)] != ".":
            dot, member, call = (*texts[place + 1 : place + 4], "", "", "")[:3]
            yield token["name"], member if dot == "." and call != "(" else None


def _cost_problems(shape: _Shape) -> Iterator[str]:
    if shape.tokens > MAX_TOKENS:
        yield f"has {shape.tokens} words and signs; {MAX_TOKENS} are the most"
    if shape.nesting > MAX_NESTING:
        yield f"is nested {shape.nesting} brackets deep; {MAX_NESTING} are the most"
    if shape.builds:
        yield "uses map or filter, which take too long on long lists; use all, exists or exists_one"
    if shape.walks > 1:
        yield "walks a list inside the walk of another, which takes too long on long lists"


@dataclass(frozen=True, slots=True)
class _CompiledRule:
    """A rule that can be evaluated; ``reads`` are (variable, member), the member None for the whole of it."""

    rule: Rule
    program: cel.Program
    reads: frozenset[tuple[str, str | None]]
    walks: bool

    @property
    def reads_confidence(self) -> bool:
        return ("confidence", None) in self.reads


def _compiled_rule(rule: Rule) -> _CompiledRule | list[str]:
    tokens = _tokens(rule.when)
    shape = _shape(tokens)
    problems = list(_cost_problems(shape))
    if problems:
        return problems
    try:
        program = cel.compile(rule.when)
    except ValueError as error:
        where = str(error).partition("ERROR: <input>:")[2].partition("\n")[0]
        return [f"does not compile: {where or 'it is no CEL expression'}"]
    names = frozenset(program.variables()) - shape.bound
    unknown_names = sorted(names - _VARIABLES.keys())
    unknown_functions = sorted(set(program.functions()) - _OPERATORS - set(FUNCTIONS))
    problems += [f"names the unknown variable {name[:80]}; known are {', '.join(VARIABLES)}" for name in unknown_names]
    problems += [
        f"calls the unknown function {name[:80]}; known are {', '.join(FUNCTIONS)}" for name in unknown_functions
    ]
    return problems or _CompiledRule(rule, program, frozenset(_members(tokens)), shape.walks > 0)


def _duplicates(names: Iterable[str]) -> list[str]:
    return [name for name, times in Counter(names).items() if times > 1]


def queue_problems(document: PolicyDocument) -> Iterator[str]:
    """Yield what is wrong with the queues and with who sends to them, each in a sentence."""
    if not document.queues:
        return
    yield from (
        f"The queue {name} stands twice in the policy." for name in _duplicates(each.name for each in document.queues)
    )
    known = {document.default_queue, *(each.name for each in document.queues)}
    senders = [
        *((f"The rule {rule.name}", rule.queue) for rule in document.rules),
        *((f"The tool {tool.tool} of {tool.agent}", tool.queue) for tool in document.tools),
        *((f"The queue {each.name}", each.move_to) for each in document.queues),
    ]
    for sender, queue in senders:
        if queue is not None and queue not in known:
            yield f"{sender} sends to the queue {queue}, which the policy does not have; add it to the queues first."
    for each in document.queues:
        yield from own_problems(each)


def own_problems(queue: Queue) -> Iterator[str]:
    """Yield what is wrong with a queue whatever stands beside it, each in a sentence."""
    if queue.move_to == queue.name:
        yield f"The queue {queue.name} moves what is overdue to itself."
    if DecisionType.REJECT in queue.hides:
        yield f"The queue {queue.name} hides reject; a person must always be able to say no."


def compiled(document: PolicyDocument) -> "CompiledPolicy":
    """Compile the document's rules once. Raises InvalidPolicyError with every problem of every rule."""
    problems = [f"Two rules are named {name}." for name in _duplicates(rule.name for rule in document.rules)]
    tools = _duplicates(f"{tool.tool} of {tool.agent}" for tool in document.tools)
    problems += [f"The tool {tool} stands twice in the policy." for tool in tools]
    problems += queue_problems(document)
    rules: list[_CompiledRule] = []
    for rule in document.rules:
        outcome = _compiled_rule(rule)
        if isinstance(outcome, _CompiledRule):
            rules.append(outcome)
        else:
            problems += [f"The rule {rule.name} {problem}." for problem in outcome]
    if problems:
        raise InvalidPolicyError(problems)
    return CompiledPolicy(document, rules)


def default_policy(tools_by_agent: Mapping[str, Iterable[str]]) -> PolicyDocument:
    """Return the policy of a new installation: each tool named is supervised, all others are unknown."""
    return PolicyDocument(
        tools=tuple(ToolRule(agent=agent, tool=tool) for agent, tools in tools_by_agent.items() for tool in tools)
    )


def _is_walkable(value: JsonValue) -> bool:
    if isinstance(value, dict):
        return len(value) <= MAX_WALKED and all(map(_is_walkable, value.values()))
    if isinstance(value, list):
        return len(value) <= MAX_WALKED and all(map(_is_walkable, value))
    return True


def _context(values: dict[str, Any]) -> cel.Context | None:
    try:
        return cel.Context(values)
    except ValueError:  # A value that the engine cannot hold, such as half a surrogate pair.
        return None


def _holds(rule: _CompiledRule, context: cel.Context | None) -> bool | None:
    if context is None:
        return None
    try:
        answer = rule.program.execute(context)
    except Exception:  # noqa: BLE001 -- whatever the engine raises, the rule gave no answer: a failed signal
        return None
    return answer if isinstance(answer, bool) else None


def _needs(rules: Iterable[_CompiledRule]) -> dict[str, frozenset[str] | None]:
    reads = frozenset[tuple[str, str | None]]().union(*(rule.reads for rule in rules))
    whole = {name for name, member in reads if member is None}
    return {
        name: None if name in whole else frozenset(member for of, member in reads if of == name and member)
        for name, _ in reads
    }


def _needed(name: str, members: frozenset[str] | None, facts: _Facts) -> Any:  # noqa: ANN401 -- any CEL value
    # Handing a value to the engine is what costs; it gets no more of it than the rules read.
    value = _VARIABLES[name](facts)
    if members is None or not isinstance(value, dict):
        return value
    return {member: value[member] for member in members if member in value}


@dataclass(frozen=True, slots=True)
class _Matches:
    """The rules that decide: the one that holds first, and those before it that could not be evaluated.

    Where the one that holds reads the confidence, the next that holds without reading it stands beside it.
    """

    held: tuple[Rule, ...]
    failed: tuple[Rule, ...]
    trusts_confidence: bool

    @property
    def rests_on_confidence(self) -> bool:
        """Only a rule that reads the confidence holds."""
        return self.trusts_confidence and len(self.held) == 1

    @property
    def route(self) -> Route | None:
        """Return the strictest answer of the rules that hold; None where no rule does."""
        answers = {rule.route for rule in self.held}
        return next((route for route in (Route.DENY, Route.REVIEW, Route.EXECUTE) if route in answers), None)

    def said(self, route: Route) -> list[Reason]:
        """Return the reasons of the rules that hold and answer this."""
        return [
            Reason(code=RoutingReason.RULE, text=rule.reason or f"The rule {rule.name} answers {route}.")
            for rule in self.held
            if rule.route is route
        ]


@dataclass(frozen=True, slots=True)
class _Standing:
    """What the tool's autonomy says by itself, and whether an execute rule may say otherwise."""

    reason: Reason
    executes: bool = False
    waivable: bool = False


def _standing(tool: ToolRule | None, request: ActionRequest, agent: str) -> _Standing:
    name = request.action.name
    if tool is None:
        text = f"The policy does not know the tool {name} of {agent}, so a person must look."
        return _Standing(Reason(code=RoutingReason.UNKNOWN_TOOL, text=text))
    if tool.autonomy is Autonomy.GUARDED:
        return _guarded(tool, request.confidence)
    texts = {
        Autonomy.SHADOW: f"{agent} uses {name} in shadow: a person decides, and nothing runs.",
        Autonomy.SUPERVISED: f"Every {name} of {agent} is reviewed.",
        Autonomy.AUTONOMOUS: f"{agent} may use {name} alone.",
    }
    reason = Reason(code=RoutingReason(tool.autonomy.value), text=texts[tool.autonomy])
    return _Standing(reason, executes=tool.autonomy is Autonomy.AUTONOMOUS)


def _guarded(tool: ToolRule, confidence: float | None) -> _Standing:
    if tool.threshold is None:
        text = f"No threshold is set for {tool.tool} of {tool.agent}, so every action is reviewed."
        return _Standing(Reason(code=RoutingReason.NO_THRESHOLD, text=text), waivable=True)
    if confidence is None:
        text = f"The agent did not say how sure it is; alone it needs a confidence of {tool.threshold}."
        return _Standing(Reason(code=RoutingReason.NO_CONFIDENCE, text=text), waivable=True)
    if confidence < tool.threshold:
        text = f"The confidence {confidence} is below the threshold {tool.threshold}."
        return _Standing(Reason(code=RoutingReason.BELOW_THRESHOLD, text=text), waivable=True)
    text = f"The confidence {confidence} reaches the threshold {tool.threshold}."
    return _Standing(Reason(code=RoutingReason.THRESHOLD_REACHED, text=text), executes=True)


def _untrusted(provenance: Mapping[str, int] | None) -> Iterator[Reason]:
    if provenance is not None and provenance.get("untrusted"):
        yield Reason(code=RoutingReason.UNTRUSTED_SOURCE, text=_UNTRUSTED_SOURCE)


def _repeated(rejections: int) -> list[Reason]:
    if not rejections:
        return []
    often = "once" if rejections == 1 else "twice" if rejections == 2 else f"{rejections} times"
    text = f"People rejected this very call {often} before; it must not be made again unless a person asks for it."
    return [Reason(code=RoutingReason.REPEATED_AFTER_REJECTION, text=text)]


def _was_held_to_the_end(item: ReviewItem) -> bool:
    return item.claim is not None and item.expires_at < item.claim.until


def _is_expirable(request: ActionRequest, tool: ToolRule | None, *, route: Route, reasons: Iterable[Reason]) -> bool:
    if tool is None or not tool.approve_on_expiry or tool.autonomy is Autonomy.SHADOW:
        return False
    is_asked = route is Route.REVIEW and request.on_expiry is OnExpiry.APPROVE
    return is_asked and all(reason.code in _AUTONOMY_CODES for reason in reasons)


class CompiledPolicy:
    """A policy document whose rules are compiled; immutable, and safe to share between threads."""

    def __init__(self, document: PolicyDocument, rules: Sequence[_CompiledRule]) -> None:
        self.document = document
        self._rules = tuple(rules)
        self._reads = _needs(rules)
        self._walks = any(rule.walks for rule in rules)
        self._tools = {(tool.agent, tool.tool): tool for tool in document.tools}
        self._queues = {queue.name: queue for queue in document.queues}
        self._sensitive: dict[str, tuple[Pattern, ...]] = {}
        for part in document.sensitive:
            known = self._sensitive.get(part.tool, ())
            self._sensitive[part.tool] = (*known, *map(pattern_of, part.at))

    def queue(self, name: str) -> Queue:
        """Return what the policy says of the queue; of one that it does not name, nothing but the name."""
        return self._queues.get(name) or Queue(name=name)

    def sensitive(self, tool: str) -> tuple[Pattern, ...]:
        """Return the places in the tool's arguments that the policy declares sensitive."""
        return self._sensitive.get(tool, ())

    def tool_rule(self, agent: str, tool: str) -> ToolRule | None:
        """Return what the policy says of this tool in this agent's hands; None for an unknown tool."""
        return self._tools.get((agent, tool))

    def route(  # noqa: PLR0913 -- the signals of one action, each by its name
        self,
        request: ActionRequest,
        *,
        agent: str,
        now: datetime,
        grounding: float | None,
        novelty: float | None = None,
        provenance: Mapping[str, int] | None = None,
        rejections: int = 0,
        invalid_args: bool = False,
        escalate: tuple[Reason, ...] = (),
    ) -> Routing:
        """Answer a request: the first rule that holds, then the tool's autonomy.

        ``provenance`` is how many argument values come from where (see `review.grounding`), ``rejections`` how often
        people rejected this very call before. Values that stand only in untrusted content bring the action before a
        person, and so does a call that was rejected before, whatever a rule says other than deny.

        A rule that answers deny stands. One that answers execute waives a missing or low confidence, and
        nothing else: shadow, supervised, an unknown tool or agent version, a rule that cannot be evaluated,
        invalid arguments and every reason in ``escalate`` still bring the action before a person. A rule that
        reads the confidence, which is the agent's own word, can only make the answer stricter than what holds
        without it: where it is the first to hold, the next one that does not read it is asked too, and the
        stricter route, the larger quorum and the more urgent priority count.
        """
        tool = self.tool_rule(agent, request.action.name)
        facts = _Facts(request, agent, tool is not None, now, grounding, novelty, provenance, rejections)
        matches = self._matches(facts)
        standing = _standing(tool, request, agent)
        repeated = _repeated(rejections)
        concerns = [*self._concerns(request, agent, matches.failed), *_untrusted(provenance), *repeated, *escalate]
        if invalid_args:
            concerns.append(Reason(code=RoutingReason.INVALID_ARGS, text=_INVALID_ARGS))
        waived = standing.waivable and matches.route is Route.EXECUTE and not matches.trusts_confidence
        held_up = concerns if standing.executes or waived else [*concerns, standing.reason]
        if matches.route is Route.DENY:
            route, reasons = Route.DENY, [*matches.said(Route.DENY), *repeated]
        elif held_up or matches.route is Route.REVIEW:
            route, reasons = Route.REVIEW, [*matches.said(Route.REVIEW), *held_up]
        else:
            route, reasons = Route.EXECUTE, matches.said(Route.EXECUTE) or [standing.reason]
        return self._routing(request, agent, matches, route=route, reasons=tuple(reasons))

    def permit_for(self, agent: str, tool: str) -> timedelta:
        """Return how long an approval permits execution: not at all in shadow."""
        rule = self.tool_rule(agent, tool)
        if rule is None:
            return timedelta(seconds=DEFAULT_PERMIT_FOR)
        return timedelta(0) if rule.autonomy is Autonomy.SHADOW else timedelta(seconds=rule.permit_for)

    def outcome_within(self, agent: str, tool: str) -> timedelta:
        """Return how long a started action may take until it tells its outcome."""
        rule = self.tool_rule(agent, tool)
        return timedelta(seconds=rule.outcome_within if rule else DEFAULT_OUTCOME_WITHIN)

    def approves_on_expiry(self, item: ReviewItem, *, notes: Sequence[Note] = ()) -> bool:
        """Tell whether the item, with its thread, is to be approved when it expires undecided.

        The agent asked for it, the tool's rule permits it as the policy stands, nothing but the tool's autonomy
        brought the item before one person, and people had the policy's own time to see it, however short a life the
        agent asked for. Nor did anybody break the silence: no reviewer's question stands unanswered, and nobody had
        edited or decided the item, or held it when its time was up.
        """
        if awaits_answer(notes) or item.pending is not None or _was_held_to_the_end(item):
            return False
        usual_life = timedelta(seconds=self.document.default_expires_in)
        had_its_time = item.expires_at - item.submitted_at >= usual_life
        is_plain = item.purpose is Purpose.GATE and item.draft is None and item.quorum == 1 and had_its_time
        tool = self.tool_rule(item.agent, item.request.action.name)
        return is_plain and _is_expirable(item.request, tool, route=item.route, reasons=item.reasons)

    def _matches(self, facts: _Facts) -> _Matches:
        if not self._rules:
            return _Matches((), (), trusts_confidence=False)
        context = _context({name: _needed(name, members, facts) for name, members in self._reads.items()})
        walkable = not self._walks or _is_walkable(facts.request.action.args)
        held: list[Rule] = []
        failed: list[Rule] = []
        trusts_confidence = False
        for candidate in self._rules:
            if trusts_confidence and candidate.reads_confidence:
                continue
            answer = _holds(candidate, context) if walkable or not candidate.walks else None
            if answer is None:
                failed.append(candidate.rule)
            elif answer:
                held.append(candidate.rule)
                trusts_confidence = trusts_confidence or candidate.reads_confidence
                if not candidate.reads_confidence:
                    break
        return _Matches(tuple(held), tuple(failed), trusts_confidence)

    def _concerns(self, request: ActionRequest, agent: str, failed: Iterable[Rule]) -> Iterator[Reason]:
        versions = self.document.agent_versions.get(agent)
        if versions is not None and request.agent_version not in versions:
            said = f"version {request.agent_version}" if request.agent_version else "no version"
            text = f"{agent} says it is {said}, which the policy does not know."
            yield Reason(code=RoutingReason.UNKNOWN_AGENT_VERSION, text=text)
        for rule in failed:
            text = f"The rule {rule.name} could not be evaluated on this action, so a person must look."
            yield Reason(code=RoutingReason.RULE_FAILED, text=text)

    def _routing(
        self,
        request: ActionRequest,
        agent: str,
        matches: _Matches,
        *,
        route: Route,
        reasons: tuple[Reason, ...],
    ) -> Routing:
        # A rule that failed may have been the one to hold: what it asks of the review counts too.
        rules = (*matches.held, *matches.failed)
        document = self.document
        tool = self.tool_rule(agent, request.action.name)
        queues = [rule.queue for rule in rules if rule.queue is not None]
        dues = [rule.due_in for rule in rules if rule.due_in is not None]
        priorities = [document.default_priority if rule.priority is None else rule.priority for rule in rules]
        if matches.rests_on_confidence:
            priorities.append(document.default_priority)
        expires_in = request.expires_in or document.default_expires_in
        queue = self.queue(queues[0] if queues else (tool and tool.queue) or document.default_queue)
        due_in = dues[0] if dues else (tool and tool.due_in) or queue.due_in or document.default_due_in
        return Routing(
            route=route,
            reasons=reasons,
            queue=queue.name,
            priority=min(priorities, default=document.default_priority),
            quorum=max((rule.quorum for rule in rules), default=1),
            due_in=min(due_in, expires_in),
            expires_in=expires_in,
            audited=route is Route.EXECUTE,
            permit_for=int(self.permit_for(agent, request.action.name).total_seconds()),
            blind=queue.blind or any(rule.blind for rule in rules),
        )


@dataclass(frozen=True, slots=True)
class Signals:
    """What the request alone tells of its values: how many stand in the context, and how many come from where."""

    grounding: float | None = None
    provenance: Mapping[str, int] | None = None


@dataclass(frozen=True, slots=True)
class Asks:
    """What an answer means for those whom it concerns; None where it does not matter to the answer.

    Times are in seconds. ``audit_rate`` is the share of what runs alone that a person looks at afterwards.
    """

    queue: str | None = None
    priority: int | None = None
    quorum: int | None = None
    blind: bool | None = None
    due_in: int | None = None
    expires_in: int | None = None
    audit_rate: float | None = None
    permit_for: int | None = None


@dataclass(frozen=True, slots=True)
class PreviewRow:
    """One recent action: what was answered and what that asked for, and what the draft would answer and ask for."""

    item_id: UUID
    agent: str
    tool: str
    answered: Route
    routing: Routing
    asked: Asks
    would_ask: Asks

    @property
    def is_changed(self) -> bool:
        """The draft answers otherwise, or asks for something else."""
        return self.routing.route is not self.answered or self.asked != self.would_ask


@dataclass(frozen=True, slots=True)
class Preview:
    """What a draft would have answered to recent actions; ``counts`` are of (answered, would answer)."""

    rows: tuple[PreviewRow, ...]
    counts: dict[tuple[Route, Route], int]


def preview(
    draft: CompiledPolicy,
    items: Iterable[ReviewItem],
    *,
    in_force: CompiledPolicy,
    signals: Callable[[ActionRequest], Signals],
) -> Preview:
    """Ask the draft about actions that were answered before, as of when they were submitted.

    ``signals`` finds again what is told by the request alone. What was found then beside the policy (invalid
    arguments, reasons from elsewhere) is taken from the items' reasons. What no item keeps, the audit slice and how
    long an approval permits, is compared with what the policy ``in_force`` says.
    """
    rows = tuple(_preview_row(draft, item, in_force, signals(item.request)) for item in items)
    return Preview(rows, dict(Counter((row.answered, row.routing.route) for row in rows)))


def _preview_row(draft: CompiledPolicy, item: ReviewItem, in_force: CompiledPolicy, signals: Signals) -> PreviewRow:
    tool = item.request.action.name
    routing = draft.route(
        item.request,
        agent=item.agent,
        now=item.submitted_at,
        grounding=signals.grounding,
        provenance=signals.provenance,
        rejections=item.rejections,
        invalid_args=any(reason.code == RoutingReason.INVALID_ARGS for reason in item.reasons),
        escalate=tuple(reason for reason in item.reasons if reason.code not in _OWN_CODES),
    )
    asked, would_ask = _asked(item, in_force), _would_ask(routing, draft, item)
    return PreviewRow(item.id, item.agent, tool, item.route, routing, asked, would_ask)


def _asked(item: ReviewItem, in_force: CompiledPolicy) -> Asks:
    permit_for = int(in_force.permit_for(item.agent, item.request.action.name).total_seconds())
    if item.route is Route.REVIEW:
        return Asks(
            queue=item.queue,
            priority=item.priority,
            quorum=item.quorum,
            blind=item.blind,
            due_in=int((item.due_at - item.submitted_at).total_seconds()),
            expires_in=int((item.expires_at - item.submitted_at).total_seconds()),
            permit_for=permit_for,
        )
    return _unseen(item.route, in_force, permit_for)


def _would_ask(routing: Routing, draft: CompiledPolicy, item: ReviewItem) -> Asks:
    if routing.route is not Route.REVIEW:
        return _unseen(routing.route, draft, routing.permit_for)
    queue, name, priority = draft.queue(routing.queue), routing.queue, routing.priority
    if item.breached_at is not None:
        # What its queue did with it when it was late is no change of the draft's.
        name = queue.move_to or name
        priority = priority if queue.raise_to is None else min(priority, queue.raise_to)
    return Asks(
        queue=name,
        priority=priority,
        quorum=routing.quorum,
        blind=routing.blind and routing.quorum > 1,
        due_in=routing.due_in,
        expires_in=routing.expires_in,
        permit_for=routing.permit_for,
    )


def _unseen(route: Route, policy: CompiledPolicy, permit_for: int) -> Asks:
    is_run = route is Route.EXECUTE
    return Asks(audit_rate=policy.document.audit_rate, permit_for=permit_for) if is_run else Asks()
