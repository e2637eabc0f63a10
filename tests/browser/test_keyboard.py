"""The review by keyboard alone: every key presses its button once, and none while somebody types."""

from playwright.sync_api import expect

from agents.protocol import Approve, DecisionType, Reject, Route, Status
from review.items import ReasonCode
from review.policy import Queue, Rule
from tests.browser.agent import CALL, WorkingAgent
from tests.browser.house import House
from tests.browser.visitor import Visitor
from tests.waiting import PATIENCE_SECONDS

ANSWER = "Your answer, which stands in for the action's result"


def strike(visitor: Visitor, key: str) -> None:
    """Look, then strike the key."""
    visitor.look()
    visitor.page.keyboard.press(key)


def test_a_call_is_approved_by_one_key(ada: Visitor, agent: WorkingAgent) -> None:
    answer = agent.calls()
    expect(ada.button("Approve")).to_be_enabled()

    strike(ada, "a")

    assert "refunded" in answer.result(PATIENCE_SECONDS).lower()
    assert len(agent.runs) == 1


def test_a_call_is_rejected_for_a_reason_by_number(ada: Visitor, agent: WorkingAgent) -> None:
    answer = agent.calls()
    expect(ada.button("Approve")).to_be_enabled()

    strike(ada, "r")
    expect(ada.button("Back")).to_be_visible()
    strike(ada, "Control+Enter")
    ada.sees("Say why you reject it: choose a reason or write a message.")
    strike(ada, "2")
    expect(ada.button("Wrong arguments")).to_have_attribute("aria-pressed", "true")
    strike(ada, "Control+Enter")

    assert "rejected" in answer.result(PATIENCE_SECONDS)
    (item,) = agent.items()
    assert isinstance(item.decision, Reject)
    assert agent.runs == []


def test_what_is_typed_is_no_key_and_is_sent_as_it_stands(ada: Visitor, agent: WorkingAgent) -> None:
    answer = agent.calls()
    expect(ada.button("Approve")).to_be_enabled()

    strike(ada, "w")
    field = ada.page.get_by_role("textbox", name=ANSWER)
    field.click()
    ada.look()
    ada.page.keyboard.type("a spare? sent quietly, perhaps ")
    assert [item.status for item in agent.items()] == [Status.CLAIMED]
    ada.page.keyboard.type("here")
    ada.page.keyboard.press("Control+Enter")

    said = answer.result(PATIENCE_SECONDS)
    assert "in its place: a spare? sent quietly, perhaps here\n" in said
    assert agent.runs == []


def looks_at_the_first_of_two(ada: Visitor, agent: WorkingAgent) -> None:
    agent.calls()
    agent.calls({**CALL, "order_id": "R-2042"})
    agent.holds(2)
    expect(ada.button("Approve")).to_be_enabled()
    ada.look()


def test_a_key_that_is_held_down_decides_one_item(ada: Visitor, agent: WorkingAgent) -> None:
    looks_at_the_first_of_two(ada, agent)

    for _ in range(8):
        ada.page.keyboard.down("a")
    ada.page.keyboard.up("a")
    ada.sees("Approved; it may run now.")
    ada.look()
    assert sorted(item.status for item in agent.items()) == [Status.CLAIMED, Status.SETTLED]


def test_a_key_that_is_struck_twice_at_once_decides_one_item(ada: Visitor, agent: WorkingAgent) -> None:
    looks_at_the_first_of_two(ada, agent)

    # Within the page, so that no time goes by between them.
    ada.page.evaluate(
        """() => { for (const _ of "aaa") for (const type of ["keydown", "keyup"])
             document.body.dispatchEvent(new KeyboardEvent(type, { key: "a", bubbles: true, composed: true })); }"""
    )

    ada.sees("Approved; it may run now.")
    ada.look()
    assert sorted(item.status for item in agent.items()) == [Status.CLAIMED, Status.SETTLED]


def test_the_keys_are_shown_and_press_nothing_meanwhile(ada: Visitor, agent: WorkingAgent) -> None:
    agent.calls()
    expect(ada.button("Approve")).to_be_enabled()

    strike(ada, "?")
    keys = ada.page.get_by_role("dialog", name="Keys")
    expect(keys).to_contain_text("Ask the agent")
    strike(ada, "a")
    assert [item.status for item in agent.items()] == [Status.CLAIMED]
    strike(ada, "Escape")

    expect(keys).to_have_count(0)
    for key in ("e", "q"):
        strike(ada, key)
        expect(ada.button("Back")).to_be_visible()
        strike(ada, "Escape")
        expect(ada.button("Approve")).to_be_enabled()


def test_skipping_and_pausing_have_keys(ada: Visitor, agent: WorkingAgent) -> None:
    agent.calls()
    expect(ada.button("Approve")).to_be_enabled()

    for key in ("h", "s", "p"):
        strike(ada, key)

    ada.sees("You are pausing")
    assert [item.status for item in agent.items()] == [Status.WAITING]


def test_where_the_queue_asks_for_a_reason_to_approve_it_is_given_by_number(
    house: House, ada: Visitor, agent: WorkingAgent
) -> None:
    asking = Queue(name=agent.name, reasons_for=(DecisionType.APPROVE,), reasons=(ReasonCode.TONE, ReasonCode.OTHER))
    rule = Rule(name=agent.name, when=f'agent.name == "{agent.name}"', route=Route.REVIEW, queue=agent.name)
    agent.is_under(house.adds_to_policy(asking, rules=[rule]))
    answer = agent.calls()
    expect(ada.button("Approve")).to_be_enabled()

    strike(ada, "a")
    ada.sees("This queue asks for a reason: choose one of them.")
    strike(ada, "2")
    expect(ada.button("Other")).to_have_attribute("aria-pressed", "true")
    strike(ada, "a")

    assert "refunded" in answer.result(PATIENCE_SECONDS).lower()
    (item,) = agent.items()
    (made,) = house.store.read(lambda tx: tx.decisions_of("default", item.id))
    assert (made.decision, made.reason_codes) == (Approve(), (ReasonCode.OTHER,))
