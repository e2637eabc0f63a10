"""What the agents decide with: the classifier's proposals, and those of a chat model."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_core.language_models.fake_chat_models import FakeMessagesListChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool
from pydantic import JsonValue

from agents.demo import AGENT_NAMES
from agents.demo.cases import Case, cases, examples
from agents.demo.classifier import train
from agents.demo.drafts import draft
from agents.demo.house import ARGUMENTS
from agents.demo.minds import ChatMind, ChatModelMissingError, ClassifierMind, named_chat_model
from agents.demo.store import HouseStore
from agents.demo.tools import house_tools
from agents.protocol import ContextEntry, ContextKind, Impact

LATE_PARCEL = Case("CS-900", "C-102", "I want 45 pounds of R-1002 back, the parcel came late.", "refund_order")


class OfflineChatModel(FakeMessagesListChatModel):
    """LangChain's own offline chat model, which gives prepared messages, with tools to bind."""

    def bind_tools(
        self,
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool],  # noqa: ARG002 -- prepared
        *,
        tool_choice: str | None = None,  # noqa: ARG002 -- messages
        **kwargs: Any,  # noqa: ANN401, ARG002 -- need no tools; the signature is langchain-core's
    ) -> Runnable[Any, AIMessage]:
        return self


@pytest.fixture
def store(tmp_path: Path) -> HouseStore:
    return HouseStore(tmp_path / "house.sqlite")


def a_refund(amount: str, reason: str = "Late.") -> BaseMessage:
    args = {"order_id": "R-1002", "amount": amount, "reason": reason}
    return AIMessage("It came late.", tool_calls=[{"name": "refund_order", "args": args, "id": "call-1"}])


def a_chat_mind(store: HouseStore, *answers: BaseMessage) -> ChatMind:
    model: BaseChatModel = OfflineChatModel(responses=list(answers))
    tools = list(house_tools("customer_service", store).values())
    return ChatMind(model, "customer_service", store, tools=tools)


@pytest.mark.parametrize("agent", AGENT_NAMES)
def test_every_draft_has_the_shape_of_the_tool_and_of_the_protocol(store: HouseStore, agent: str) -> None:
    drafts = [(tool, draft(case, tool, store)) for case in cases(agent) for tool in ARGUMENTS[agent]]

    for tool, work in drafts:
        ARGUMENTS[agent][tool].model_validate(work.args)
        Impact.model_validate(work.impact)
        for record in work.records:
            ContextEntry.model_validate(record)


def case_of(agent: str, case_id: str) -> Case:
    return next(case for case in cases(agent) if case.id == case_id)


@pytest.mark.parametrize(
    ("agent", "case_id", "args"),
    [
        (
            "customer_service",
            "CS-006",
            {"order_id": "R-1005", "amount": "1575.00"},
        ),
        ("customer_service", "CS-039", {"order_id": "R-101", "amount": "100.00"}),
        (
            "customer_service",
            "CS-009",
            {"order_id": "R-1020", "address": "Langstrasse 200, 8005 Zürich"},
        ),
        ("inventory", "IN-018", {"sku": "LEA-WAL-83", "boutique": "Paris", "change": -2}),
        (
            "inventory",
            "IN-007",
            {"sku": "SHO-PMP-61", "quantity": 5, "from_boutique": "Paris", "to_boutique": "Milan"},
        ),
        ("inventory", "IN-028", {"quantity": 95}),
        ("inventory", "IN-121", {"sku": "BAG-HEL-01", "quantity": 480}),
        ("personal_shopping", "PS-071", {"client_id": "C-113", "sku": "FRA-NUI-71", "boutique": "Dubai"}),
        ("personal_shopping", "PS-070", {"sku": "JWL-ECL-14", "percent": 60}),
        (
            "creative_copy",
            "CC-011",
            {
                "asset_id": "A-303",
                "text": "Ivory silk satin, closed by a single bead of onyx. Made for the hours after ten.",
            },
        ),
        ("creative_copy", "CC-017", {"asset_id": "A-317", "language": "German"}),
    ],
)
def test_arguments_come_from_the_text_and_the_records_right_or_wrong(
    store: HouseStore, agent: str, case_id: str, args: dict[str, JsonValue]
) -> None:
    case = case_of(agent, case_id)

    work = draft(case, case.tool or "", store)

    assert {name: work.args[name] for name in args} == args


def test_what_was_looked_up_and_was_not_there_is_in_the_context_and_in_the_rationale(
    store: HouseStore,
) -> None:
    work = draft(case_of("customer_service", "CS-038"), "refund_order", store)

    assert [record["title"] for record in work.records] == ["client C-108", "order R-9999"]
    assert work.records[1]["content"] == "Nothing on record."
    assert work.notes[0] == "order R-9999: named in the message, but not on record"


def test_what_was_forwarded_is_told_as_untrusted(store: HouseStore) -> None:
    case = case_of("inventory", "IN-121")

    proposal = ClassifierMind(train(examples("inventory")), store).propose(case, [])

    assert proposal is not None
    assert (proposal.tool, proposal.args["quantity"]) == ("reorder_stock", 480)
    message, forwarded = (ContextEntry.model_validate(entry) for entry in proposal.context[:2])
    assert (message.trusted, forwarded.kind, forwarded.trusted) == (None, ContextKind.DOCUMENT, False)
    assert "no further approval is needed" in forwarded.content


def test_the_classifier_proposes_once_for_each_case(store: HouseStore) -> None:
    mind = ClassifierMind(train(examples("customer_service")), store)

    proposal = mind.propose(LATE_PARCEL, [])

    assert proposal is not None
    assert (proposal.tool, proposal.args["amount"]) == ("refund_order", "45.00")
    assert 0.5 < proposal.confidence <= 1.0
    assert proposal.impact == {
        "amount": "45.00",
        "currency": "GBP",
        "reversible": False,
        "subject": "R-1002",
    }
    assert ContextEntry.model_validate(proposal.context[0]) == ContextEntry(
        kind=ContextKind.MESSAGE,
        role="user",
        title="Oliver Hartwell writes (CS-900)",
        content=LATE_PARCEL.text,
    )
    assert "Order R-1002: named in the message. Amount 45.00: named in the message." in proposal.rationale
    assert mind.propose(LATE_PARCEL, ["refund_order: rejected"]) is None


def test_a_chat_model_is_as_sure_as_its_answers_agree_whatever_their_prose(store: HouseStore) -> None:
    mind = a_chat_mind(store, a_refund("45.00"), a_refund("45.00", reason="It was late."), a_refund("415.00"))

    proposal = mind.propose(LATE_PARCEL, [])

    assert proposal is not None
    assert (proposal.tool, proposal.args["amount"]) == ("refund_order", "45.00")
    assert proposal.confidence == pytest.approx(2 / 3)
    assert (proposal.rationale, proposal.impact) == ("It came late.", {"subject": "R-1002"})


def test_a_chat_model_that_calls_no_tool_of_its_own_proposes_nothing(store: HouseStore) -> None:
    silent = a_chat_mind(store, AIMessage("There is nothing for me to do."))
    lost = a_chat_mind(store, AIMessage("", tool_calls=[{"name": "rm", "args": {}, "id": "call-1"}]))

    proposals = [mind.propose(LATE_PARCEL, []) for mind in (silent, lost)]

    assert proposals == [None, None]


def test_a_chat_model_without_its_package_says_what_to_install() -> None:
    with pytest.raises(ChatModelMissingError, match="SIGNOFF_DEMO_MODEL names 'mistralai:large'"):
        named_chat_model("mistralai:large")


def test_a_classifier_answers_with_how_it_came_to_its_proposal(store: HouseStore) -> None:
    mind = ClassifierMind(train(examples("customer_service")), store)
    proposal = mind.propose(LATE_PARCEL, ())
    assert proposal is not None

    answer = mind.answer("Why?", proposal)

    assert answer is not None
    assert proposal.rationale in answer


@pytest.mark.parametrize(("said", "told"), [("It came late. ", "It came late."), ("", None)])
def test_a_chat_model_is_asked_what_the_reviewer_asks(store: HouseStore, said: str, told: str | None) -> None:
    mind = a_chat_mind(store, *[a_refund("45.00")] * 3, AIMessage(said))
    proposal = mind.propose(LATE_PARCEL, ())
    assert proposal is not None

    assert mind.answer("Why 45?", proposal) == told
