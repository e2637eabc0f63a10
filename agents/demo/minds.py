"""What an agent decides with: the house's own classifier, or a chat model of the user's choice."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage
from langchain_core.tools import BaseTool
from pydantic import JsonValue

from .cases import Case
from .classifier import ToolClassifier
from .drafts import draft, pictures
from .house import ARGUMENTS, PURPOSES
from .store import BOUTIQUES, HouseError, HouseStore

SAMPLES = 3
PROSE = frozenset({"message", "text", "note", "reason", "instructions", "address"})


class ChatModelMissingError(HouseError):
    """A chat model was named that langchain does not know, or whose packages are not installed."""

    def __init__(self, model: str, why: str) -> None:
        super().__init__(
            f"SIGNOFF_DEMO_MODEL names {model!r}, which cannot be used: {why} Install langchain and the "
            "provider's own package, such as langchain-openai, or unset it to use the built-in classifier."
        )


@dataclass(frozen=True)
class Proposal:
    """The call that an agent wants to make, how sure it is, why and what it saw, in the protocol's shapes."""

    tool: str
    args: dict[str, JsonValue]
    confidence: float
    confidence_source: str
    rationale: str
    context: list[dict[str, JsonValue]]
    impact: dict[str, JsonValue]


class Mind(Protocol):
    """What an agent decides with; asked by several threads at once."""

    def propose(self, case: Case, heard: Sequence[str]) -> Proposal | None:
        """Return what to do about this case after what was heard of earlier proposals; None when done."""
        ...

    def answer(self, question: str, proposal: Proposal) -> str | None:
        """Return what the agent says to a reviewer who asks about its proposal; None where it has nothing to say."""
        ...


class ClassifierMind:
    """Chooses the tool by a calibrated classifier and reads the arguments from the text and the records."""

    def __init__(self, classifier: ToolClassifier, store: HouseStore) -> None:
        self._classifier = classifier
        self._store = store

    def propose(self, case: Case, heard: Sequence[str]) -> Proposal | None:
        """Return the one proposal for this case; whatever the answer was, the case is closed with it."""
        if heard:
            return None
        choice = self._classifier.choose(case.text)
        work = draft(case, choice.tool, self._store)
        others = ", ".join(f"{tool} {probability:.2f}" for tool, probability in choice.others)
        reasons = [
            f"The message reads most like {choice.tool} ({choice.probability:.2f}; {others})",
            *work.notes,
        ]
        return Proposal(
            tool=choice.tool,
            args=work.args,
            confidence=min(1.0, choice.probability),
            confidence_source="calibrated classifier",
            rationale=". ".join(reason[0].upper() + reason[1:] for reason in reasons) + ".",
            context=[*_heard(case, self._store), *work.records, *pictures(work.args)],
            impact=work.impact,
        )

    def answer(self, question: str, proposal: Proposal) -> str | None:  # noqa: ARG002 -- it cannot read questions
        """Return how the proposal came about: a classifier knows no more, and says so."""
        return f"I weigh words and cannot discuss them; this is how I came to it. {proposal.rationale}"


class ChatMind:
    """Asks a chat model several times; its confidence is the share of the answers that agree.

    Answers agree where tool and arguments are the same, apart from prose (self-consistency: Wang et al. 2023,
    "Self-Consistency Improves Chain of Thought Reasoning in Language Models").
    """

    def __init__(self, model: BaseChatModel, agent: str, store: HouseStore, *, tools: Sequence[BaseTool]) -> None:
        self._model = model.bind_tools(list(tools))
        self._speaker = model
        self._agent = agent
        self._store = store

    def propose(self, case: Case, heard: Sequence[str]) -> Proposal | None:
        """Return the call that most answers agree on, or None where most make none."""
        context = [*_heard(case, self._store), *self._records(case)]
        prompt = self._prompt(context, heard)
        answers = [answer for answer in self._model.batch([prompt] * SAMPLES) if isinstance(answer, AIMessage)]
        agreed, votes = Counter(_gist(answer) for answer in answers).most_common(1)[0]
        answer = next(answer for answer in answers if _gist(answer) == agreed)
        if not answer.tool_calls:
            return None
        call = answer.tool_calls[0]
        if call["name"] not in ARGUMENTS[self._agent]:
            return None
        said = answer.text.strip()
        return Proposal(
            tool=call["name"],
            args=call["args"],
            confidence=votes / SAMPLES,
            confidence_source=f"agreement of {SAMPLES} answers",
            rationale=said or f"{votes} of {SAMPLES} answers of the model agree on this call.",
            context=[*context, *pictures(call["args"])],
            impact={"subject": _subject(call["args"])},
        )

    def answer(self, question: str, proposal: Proposal) -> str | None:
        """Return what the model says to the question, with what it saw and proposed before it."""
        seen = [entry for entry in proposal.context if entry["kind"] != "image"]
        proposed = AIMessage(f"I propose {proposal.tool}({json.dumps(proposal.args)}). {proposal.rationale}")
        asked = HumanMessage(f"A reviewer asks, before they decide on it: {question}\nAnswer in a few words.")
        return self._speaker.invoke([*self._prompt(seen, ()), proposed, asked]).text.strip() or None

    def _records(self, case: Case) -> list[dict[str, JsonValue]]:
        likely = {
            "customer_service": "refund_order",
            "inventory": "transfer_stock",
            "creative_copy": "retire_asset",
        }
        return draft(case, likely.get(self._agent, "hold_piece"), self._store).records

    def _prompt(self, context: Sequence[dict[str, JsonValue]], heard: Sequence[str]) -> list[BaseMessage]:
        purpose = (
            f"{PURPOSES[self._agent]} Call the one tool that this message calls for, or none if none fits. "
            f"Money is written as text with two decimals. The boutiques are {', '.join(BOUTIQUES)}."
        )
        seen = "\n\n".join(f"{entry['title']}:\n{entry['content']}" for entry in context)
        done = "\n".join(f"You called {answer}" for answer in heard)
        return [SystemMessage(purpose), HumanMessage(f"{seen}\n\n{done}".strip())]


def named_chat_model(name: str) -> BaseChatModel:
    """Return the chat model that LangChain knows by this name, such as ``openai:gpt-5``.

    Raises ChatModelMissingError where langchain or the provider's package is not installed, or knows no such.
    """
    try:
        from langchain.chat_models import init_chat_model

        model = init_chat_model(name)
    except (ImportError, ValueError) as error:
        raise ChatModelMissingError(name, str(error)) from error
    return model


def _gist(answer: AIMessage) -> str:
    if not answer.tool_calls:
        return ""
    call = answer.tool_calls[0]
    telling: dict[str, Any] = {name: value for name, value in call["args"].items() if name not in PROSE}
    return json.dumps([call["name"], telling], sort_keys=True, default=str)


def _subject(args: dict[str, Any]) -> str | None:
    named = (args.get(name) for name in ("order_id", "client_id", "asset_id", "sku"))
    return next((str(value)[:256] for value in named if value is not None), None)


def _heard(case: Case, store: HouseStore) -> list[dict[str, JsonValue]]:
    client = store.client(case.sender) if case.sender is not None else None
    writer = client.name if client is not None else case.sender or "Someone unknown"
    message: dict[str, JsonValue] = {
        **{"kind": "message", "role": "user"},
        **{"title": f"{writer} writes ({case.id})", "content": case.text},
    }
    if case.forwarded is None:
        return [message]
    return [
        message,
        {"kind": "document", "title": "The forwarded e-mail", "content": case.forwarded, "trusted": False},
    ]
