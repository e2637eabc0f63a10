"""How sure an agent is of one call: five sources of confidence, each with its origin and its cost in model calls.

Every source is a callable of the call's arguments and goes into ``gate.guard(tool, confidence=…)``. None, or an error,
leaves the call to a person. From the best to the worst, as far as it was measured:

| source | says | costs |
|---|---|---|
| `second_opinion` | the share of further samples that propose the same call | 1 to ``samples`` model calls |
| `calibrated` | a probability, learned from labels, of other sources together | what they cost |
| `from_classifier` | the probability of the class that the call stands for | none |
| `from_logprobs` | how probable the tokens of the arguments were | none, where the provider returns them |
| `stated` | the model's own words about itself | none; **the worst, not to be used alone** |

On the public runs of tau-bench and tau2-bench (retail and airline), whether other agents propose the same call told
right calls from wrong ones with an AUROC of .83 for one second opinion and .93 for three; what can be read off the
call itself reached .47 to .59.
"""

import json
import math
import re
import unicodedata
from bisect import bisect_right
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from .canonical import is_same
from .protocol import Args

if TYPE_CHECKING:
    from langchain_core.messages import AIMessage, BaseMessage
    from langchain_core.runnables import Runnable
    from langchain_core.tools import BaseTool

Signal: TypeAlias = Callable[[Args], float | None]

_DECIMAL_TEXT = re.compile(r"-?(0|[1-9][0-9]{0,17})(\.[0-9]{1,18})?")
_STATED = re.compile(r"\bconfidence\b[^0-9\n]{0,20}([0-9]{1,3}(?:\.[0-9]+)?)\s*(%?)", re.IGNORECASE)


def normalised(
    args: Mapping[str, Any],
    *,
    defaults: Mapping[str, Any] | None = None,
    ignoring: Collection[str] = (),
) -> dict[str, JsonValue]:
    """Return the arguments in a form in which two calls that mean the same are equal.

    Numbers and plain decimal texts become one decimal text (``49``, ``49.0`` and ``"49.00"`` are the same; ``"007"``
    is not 7), texts lose outer and doubled white space and take Unicode's form NFC, an argument that is None counts as
    left out, and what is left out takes its default. Upper and lower case, and the order of lists, stay: to take two
    calls for the same that are not would raise the confidence in a wrong one. ``ignoring`` names arguments that do
    not count, free text for instance.
    """
    given = {name: value for name, value in args.items() if value is not None}
    whole = {**{name: value for name, value in (defaults or {}).items() if value is not None}, **given}
    return {name: _normal(value) for name, value in whole.items() if name not in ignoring}


def _normal(value: Any) -> JsonValue:  # noqa: ANN401 -- any JSON value
    match value:
        case bool() | None:
            return value
        case int() | float():
            return _decimal_text(str(value)) if math.isfinite(value) else str(value)
        case str():
            text = " ".join(unicodedata.normalize("NFC", value).split())
            return _decimal_text(text) if _DECIMAL_TEXT.fullmatch(text) else text
        case Mapping():
            return {str(name): _normal(member) for name, member in value.items()}
        case list() | tuple():
            return [_normal(member) for member in value]
    return str(value)


def _decimal_text(number: str) -> str:
    text = format(Decimal(number), "f")
    short = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if short == "-0" else short


@dataclass(frozen=True, slots=True)
class Opinion:
    """What the samples said: for each that was drawn, whether it proposes the same call."""

    agreed: tuple[bool, ...]

    @property
    def share(self) -> float:
        """The share of samples that agree. It orders calls; what it is worth as a probability, `calibrated` learns."""
        return sum(self.agreed) / len(self.agreed)


class SecondOpinion:
    """Ask chat models for a call of their own and measure how many propose the same one; see `second_opinion`."""

    def __init__(
        self,
        models: "Sequence[Runnable[Any, AIMessage]]",
        *,
        tool: "BaseTool | str",
        messages: "Callable[[], Sequence[BaseMessage]]",
        samples: int = 3,
        enough: int = 1,
        ignoring: Collection[str] = (),
    ) -> None:
        if not models or not 1 <= enough <= samples:
            message = "a second opinion needs a model, and at least as many samples as are enough"
            raise ValueError(message)
        self._models = tuple(models)
        self._messages = messages
        self._samples = samples
        self._enough = enough
        self._ignoring = frozenset(ignoring)
        self._tool, self._defaults = (tool, {}) if isinstance(tool, str) else (tool.name, _defaults(tool))

    @property
    def source(self) -> str:
        """What the request names as the source of the confidence."""
        return f"second opinion, up to {self._samples} samples"

    def __call__(self, args: Args) -> float:
        """Return the share of samples that propose this call, blocking."""
        return self.ask(args).share

    def ask(self, args: Args) -> Opinion:
        """Draw as many samples as the doubt needs, blocking; what a model raises is raised on."""
        messages = list(self._messages())
        agreed: list[bool] = []
        while not self._is_settled(agreed):
            agreed.append(self._proposes(self._model(agreed).invoke(messages), args))
        return Opinion(tuple(agreed))

    async def aask(self, args: Args) -> Opinion:
        """Draw as many samples as the doubt needs, without blocking the event loop."""
        messages = list(self._messages())
        agreed: list[bool] = []
        while not self._is_settled(agreed):
            agreed.append(self._proposes(await self._model(agreed).ainvoke(messages), args))
        return Opinion(tuple(agreed))

    def _model(self, agreed: Sequence[bool]) -> "Runnable[Any, AIMessage]":
        return self._models[len(agreed) % len(self._models)]

    def _is_settled(self, agreed: Sequence[bool]) -> bool:
        return len(agreed) >= self._samples or (len(agreed) >= self._enough and all(agreed))

    def _proposes(self, message: "AIMessage", args: Args) -> bool:
        wanted = self._normalised(args)
        return any(
            call["name"] == self._tool and self._normalised(call["args"]) == wanted for call in message.tool_calls
        )

    def _normalised(self, args: Mapping[str, Any]) -> dict[str, JsonValue]:
        return normalised(args, defaults=self._defaults, ignoring=self._ignoring)


def second_opinion(
    *models: "Runnable[Any, AIMessage]",
    tool: "BaseTool | str",
    messages: "Callable[[], Sequence[BaseMessage]]",
    samples: int = 3,
    enough: int = 1,
    ignoring: Collection[str] = (),
) -> SecondOpinion:
    """Ask the same or other chat models for *their own* call, and measure the agreement on tool and arguments.

    Source: agreement of resampled calls, as self-consistency (Wang et al., arXiv 2203.11171) measures it of answers.
    Cost: ``enough`` model calls where all of the first ``enough`` samples propose the same call, else ``samples``. On
    282 retail and airline actions of tau-bench, one sample had an AUROC of .79, three had .92, and three only where
    the first disagrees .85 for 1.8 calls an action.

    ``models`` are asked in turn and are bound to the agent's tools (``model.bind_tools(tools)``); asked again, the
    same model needs a temperature above 0. ``messages`` returns the conversation up to, and without, the call. The
    defaults of a ``tool`` that is given itself, and not by name, count for arguments that a sample leaves out.
    Blocking; in async code take ``await opinion.aask(args)`` before the call.
    """
    return SecondOpinion(models, tool=tool, messages=messages, samples=samples, enough=enough, ignoring=ignoring)


def _defaults(tool: "BaseTool") -> dict[str, Any]:
    return {name: schema["default"] for name, schema in tool.args.items() if "default" in schema}


@dataclass(frozen=True, slots=True)
class Measured:
    """A signal and the name by which the request tells where the confidence comes from."""

    source: str
    signal: Signal

    def __call__(self, args: Args) -> float | None:
        """Return the confidence in a call with these arguments."""
        return self.signal(args)


Pooling: TypeAlias = Literal["least", "mean", "joint"]
_POOLED: dict[Pooling, Callable[[Sequence[float]], float]] = {
    "least": min,
    "mean": lambda logs: sum(logs) / len(logs),
    "joint": sum,
}


def from_logprobs(message: "Callable[[], AIMessage]", *, pooling: Pooling = "least") -> Measured:
    """Read the probability of the arguments' tokens from the message that proposes the call.

    Source: ``response_metadata["logprobs"]["content"]``, the shape of OpenAI and of LangChain. The tokens of the
    arguments' JSON alone count: ``least`` takes the most doubtful of them, so that one guessed digit shows however long
    the call is; ``mean`` their geometric mean (Malinin and Gales, arXiv 2002.07650); ``joint`` the whole span's.
    Cost: none beside the proposal, which must be asked with ``logprobs=True``. None where the provider returned no
    tokens for the call, which many do not.
    """

    def measure(args: Args) -> float | None:
        found = message().response_metadata.get("logprobs") or {}
        logs = _argument_logprobs(found.get("content") or (), args)
        return min(1.0, math.exp(_POOLED[pooling](logs))) if logs else None

    return Measured(f"token log-probabilities ({pooling})", measure)


def _argument_logprobs(tokens: Sequence[Mapping[str, Any]], args: Args) -> list[float]:
    pieces = [_token_bytes(token) for token in tokens]
    try:
        text = b"".join(pieces).decode("utf-8")
    except UnicodeDecodeError:
        return []
    start, end = (len(text[:at].encode()) for at in _argument_span(text, args))
    logs: list[float] = []
    offset = 0
    for token, piece in zip(tokens, pieces, strict=True):
        if offset < end and offset + len(piece) > start:
            logs.append(float(token["logprob"]))
        offset += len(piece)
    return logs


def _token_bytes(token: Mapping[str, Any]) -> bytes:
    known = token.get("bytes")
    return bytes(known) if known is not None else str(token["token"]).encode()


def _argument_span(text: str, args: Args) -> tuple[int, int]:
    # The longest object that says nothing but these arguments; of equal ones the last, because drafts come first.
    decoder = json.JSONDecoder()
    best = (0, 0)
    for brace in re.finditer(r"\{", text):
        try:
            value, end = decoder.raw_decode(text, brace.start())
        except ValueError:
            continue
        if value and all(name in args and is_same(args[name], member) for name, member in value.items()):
            best = max(best, (brace.start(), end), key=lambda span: (span[1] - span[0], span[0]))
    return best


def stated(message: "Callable[[], AIMessage]") -> Measured:
    """Read what the model says of itself, ``Confidence: 0.8`` or ``confidence is 80 %``; the last such words count.

    Source: the text of the message that proposes the call; the prompt must ask for it. Cost: a few tokens. This is the
    worst source: models say 80 to 100 % whatever they do (Xiong et al., arXiv 2306.13063). Use it to lower what an
    agent may do, or as one signal among others in `calibrated`. None where nothing, or no share of 1, is stated.
    """

    def measure(_args: Args) -> float | None:
        found = _STATED.findall(message().text)
        if not found:
            return None
        number, percent = found[-1]
        share = float(number) / (100 if percent else 1)
        return share if share <= 1 else None

    return Measured("stated by the model itself", measure)


def from_classifier(
    classifier: Any,  # noqa: ANN401 -- anything with scikit-learn's predict_proba and classes_
    *,
    features: Callable[[Args], object],
    of: Callable[[Args], object],
) -> Measured:
    """Take a classifier's probability of the class that the call stands for.

    Source: ``classifier.predict_proba([features(args)])`` of scikit-learn's interface, at ``of(args)`` among
    ``classifier.classes_``; a probability only if the classifier is calibrated (``CalibratedClassifierCV``). Cost: no
    model call. None for a class that the classifier does not know.
    """

    def measure(args: Args) -> float | None:
        classes = list(classifier.classes_)
        wanted = of(args)
        if wanted not in classes:
            return None
        [probabilities] = classifier.predict_proba([features(args)])
        return float(probabilities[classes.index(wanted)])

    return Measured("classifier", measure)


class SignalWeight(BaseModel):
    """What one signal adds to the score: its value times ``weight``, or ``if_missing`` where it says nothing."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    weight: float
    if_missing: float


class Calibration(BaseModel):
    """What was learned from labels: a logistic score of the signals, and a step from it to a probability.

    Plain numbers that are kept as JSON (``model_dump_json``), so that an agent needs no scikit-learn to use them.
    ``knots`` are pairs of score and probability, rising; without them the score itself is the probability.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal[1] = 1
    signals: tuple[SignalWeight, ...] = Field(min_length=1)
    intercept: float
    knots: tuple[tuple[float, float], ...] = ()

    def probability(self, values: Mapping[str, float | None]) -> float | None:
        """Return the probability that a call with these signals is right; None where no signal says anything."""
        if all(values.get(signal.name) is None for signal in self.signals):
            return None
        score = self.intercept
        for signal in self.signals:
            value = values.get(signal.name)
            score += signal.if_missing if value is None else signal.weight * value
        return self._stepped(_sigmoid(score))

    def _stepped(self, score: float) -> float:
        if not self.knots:
            return score
        at = bisect_right(self.knots, score, key=lambda knot: knot[0])
        if at in (0, len(self.knots)):
            return self.knots[0 if at == 0 else -1][1]
        (left, low), (right, high) = self.knots[at - 1], self.knots[at]
        return low + (high - low) * (score - left) / (right - left)


def calibrated(calibration: Calibration, **signals: Signal) -> Measured:
    """Combine signals into one probability, as `learn_calibration` learned it from the reviewers' labels.

    Source: a logistic regression over the signals, then isotonic regression (Zadrozny and Elkan, KDD 2002). Cost: that
    of the signals; all of them are asked. A signal that returns None is missing; one that fails leaves the call to a
    person.
    """
    unknown = {weight.name for weight in calibration.signals} ^ set(signals)
    if unknown:
        message = f"the calibration and the signals differ in {', '.join(sorted(unknown))}"
        raise ValueError(message)

    def measure(args: Args) -> float | None:
        return calibration.probability({name: signal(args) for name, signal in signals.items()})

    return Measured("calibrated on labels", measure)


def learn_calibration(
    rows: Sequence[Mapping[str, float | None]],
    correct: Sequence[bool],
    *,
    groups: Sequence[str],
    method: Literal["isotonic", "logistic"] = "isotonic",
) -> Calibration:
    """Learn from labelled calls how probable it is that a call with these signals is right.

    ``rows`` hold each call's signals by name, ``correct`` whether it was right as proposed (an approval), ``groups``
    the case that it belongs to (a customer, a run): calls of one case never stand on both sides of a fold. The isotonic
    step is fitted to scores that were predicted for cases not learned from. Needs scikit-learn (the extra
    ``confidence``); raises ValueError for labels that are all alike, or of fewer than two cases.
    """
    from sklearn.isotonic import IsotonicRegression
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict

    cases = len(set(groups))
    if len(set(correct)) < 2 or cases < 2:
        message = "calibration needs right and wrong calls of at least two cases"
        raise ValueError(message)
    names = sorted({name for row in rows for name in row})
    table = [_features(row, names) for row in rows]
    model = LogisticRegression(max_iter=1000).fit(table, correct)
    weights = iter(model.coef_[0])
    signals = tuple(SignalWeight(name=name, weight=next(weights), if_missing=next(weights)) for name in names)
    learned = Calibration(signals=signals, intercept=float(model.intercept_[0]))
    if method == "logistic":
        return learned
    folds = StratifiedGroupKFold(n_splits=min(5, cases))
    scores = cross_val_predict(model, table, correct, groups=groups, cv=folds, method="predict_proba")[:, 1]
    margin = 1 / (len(rows) + 2)  # No finite number of labels makes a certainty.
    step = IsotonicRegression(y_min=margin, y_max=1 - margin, out_of_bounds="clip").fit(scores, correct)
    return learned.model_copy(update={"knots": _knots(step.X_thresholds_, step.y_thresholds_)})


def _features(row: Mapping[str, float | None], names: Iterable[str]) -> list[float]:
    return [number for name in names for number in _value_and_absence(row.get(name))]


def _value_and_absence(value: float | None) -> tuple[float, float]:
    return (0.0, 1.0) if value is None else (float(value), 0.0)


def _knots(scores: Iterable[float], probabilities: Iterable[float]) -> tuple[tuple[float, float], ...]:
    return tuple((float(score), float(share)) for score, share in zip(scores, probabilities, strict=True))


def _sigmoid(score: float) -> float:
    return 1 / (1 + math.exp(-score)) if score >= 0 else math.exp(score) / (1 + math.exp(score))
