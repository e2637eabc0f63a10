"""The Queue by mouse and keyboard: items given away, put aside and found by a link, and several decided together."""

import re
from collections.abc import Callable
from uuid import UUID

import pytest
from playwright.sync_api import Locator, expect
from uuid_utils.compat import uuid7

from agents.protocol import Impact, Reject, Status
from review.policy import ToolRule
from tests.browser.agent import WorkingAgent
from tests.browser.house import House
from tests.browser.visitor import Visitor
from tests.builders import a_request, an_action

pytestmark = pytest.mark.browser


def row(visitor: Visitor, subject: str) -> Locator:
    return visitor.page.get_by_role("row").filter(has_text=subject)


def proposed(agent: WorkingAgent, subject: str, order: str = "A-1") -> UUID:
    action = an_action(order_id=order, amount="49.00", reason="arrived broken")
    return agent.proposes(a_request(action=action, impact=Impact(amount="49.00", currency="EUR", subject=subject)))


def opened(visitor: Visitor, subject: str) -> Locator:
    """Open what can be done with the item, by keyboard."""
    visitor.look()
    row(visitor, subject).get_by_role("button", name="More").press("Enter")
    dialog = visitor.page.get_by_role("dialog")
    expect(dialog).to_contain_text("Link to this item")
    visitor.look()
    return dialog


def test_an_item_is_given_to_a_colleague_taken_back_and_put_aside(
    bystanders: Callable[[str, str], Visitor], agent: WorkingAgent, house: House
) -> None:
    name = f"Lin {uuid7().hex[-6:]}"
    lin = bystanders(name, "/overview")
    subject = f"cup {uuid7().hex[-8:]}"
    item = proposed(agent, subject)
    ada = bystanders("Ada Lovelace", "/queue")
    ada.choose("Agent", agent.name)

    opened(ada, subject)
    ada.choose("Assign to", name)
    ada.write("What they should know", "They speak <b>Italian</b>.")
    ada.press("Assign")
    expect(row(ada, subject)).to_contain_text(f"assigned to {name}")
    expect(row(ada, subject).get_by_role("button", name="Take")).to_have_count(0)
    lin.open(f"/queue?item={item}")
    lin.sees("It waits for you until")
    lin.sees("They speak <b>Italian</b>.")

    opened(ada, subject)
    ada.press("Take back for everybody")
    expect(row(ada, subject).get_by_role("button", name="Take")).to_have_count(1)
    dialog = opened(ada, subject)
    dialog.get_by_role("button", name=re.compile("^1 h")).press("Enter")
    expect(row(ada, subject)).to_contain_text("aside until then")

    house.decide(item, Reject(message="Never paid."))
    lin.open(f"/queue?item={item}")
    lin.sees("It was settled by Grace Hopper")
    lin.open(f"/queue?item={uuid7()}")
    lin.sees("There is no item")


def test_what_one_holds_is_handed_over(
    ada: Visitor, bystanders: Callable[[str, str], Visitor], agent: WorkingAgent
) -> None:
    name = f"Lin {uuid7().hex[-6:]}"
    lin = bystanders(name, "/overview")
    subject = f"cup {uuid7().hex[-8:]}"
    item = proposed(agent, subject)
    ada.open(f"/?item={item}")
    ada.sees("A-1")
    ada.go("Queue")
    ada.choose("Agent", agent.name)

    opened(ada, subject)
    ada.choose("Hand over to", name)
    ada.press("Hand over")

    expect(row(ada, subject)).to_contain_text(f"assigned to {name}")
    lin.open()
    lin.sees(subject)


def test_a_link_to_what_cannot_be_decided_names_that_item_and_not_the_one_below(
    bystanders: Callable[[str, str], Visitor], agent: WorkingAgent
) -> None:
    ada = bystanders("Ada Lovelace", "/queue")
    decided, another, unknown = proposed(agent, "settled urn"), proposed(agent, "open urn"), uuid7()
    agent.gate.client.send(agent.gate.client.cancel(decided))
    bystanders("Grace Hopper", f"/?item={another}").sees("open urn")

    ada.open(f"/?item={decided}")

    told = ada.page.get_by_role("status").filter(has_text="Your link led to")
    expect(told).to_contain_text(f"refund_order of {agent.name}, concerning settled urn. It was withdrawn by")
    expect(told).to_contain_text("Review goes on with the next that waits, which is another item.")
    told.get_by_role("link", name="Look at it in History").click()
    expect(ada.page).to_have_url(re.compile(rf"/history\?item={decided}$"))
    ada.sees("settled urn")

    ada.open(f"/?item={unknown}")
    ada.sees(f"Your link led to an item that nobody knows here: {unknown}.")
    ada.open("/?item=urn")
    ada.sees("Your link names no item.")

    ada.open(f"/?item={another}")
    expect(told).to_contain_text("concerning open urn. Grace Hopper is looking at this item.")
    expect(told.get_by_role("link")).to_have_attribute("href", f"/queue?item={another}")


def test_a_link_names_a_queue_and_words_find_what_waits(ada: Visitor, agent: WorkingAgent, house: House) -> None:
    subject = f"urn{uuid7().hex[-8:]}"
    proposed(agent, subject)
    proposed(agent, "another")

    ada.open("/queue?queue=nowhere")
    ada.sees("The policy names no queue “nowhere”")
    ada.choose("Queue", "general")
    expect(ada.page).to_have_url(re.compile(r"\?queue=general$"))
    while house.store.read(lambda tx: tx.indexed_to() < tx.last_recorded()):
        ada.page.wait_for_timeout(50)
    ada.write("Search", subject)

    expect(row(ada, agent.name)).to_have_count(1)
    expect(row(ada, agent.name).locator("mark")).to_have_text(subject)


def test_a_tab_with_nothing_to_decide_shows_what_another_tab_took(
    bystanders: Callable[[str, str], Visitor], agent: WorkingAgent
) -> None:
    subject = f"cup {uuid7().hex[-8:]}"
    item = proposed(agent, subject)
    ada = bystanders("Ada Lovelace", "/queue")
    ada.choose("Agent", agent.name)
    opened(ada, subject).get_by_role("button", name=re.compile("^1 h")).press("Enter")
    expect(row(ada, subject)).to_contain_text("aside until then")
    ada.page.get_by_role("link", name="Review", exact=True).click()
    ada.sees("Nothing is waiting for you")

    ada.another_tab(f"/?item={item}").sees(subject)

    ada.sees(subject)


def test_a_view_is_kept_opened_by_a_colleague_and_removed(
    bystanders: Callable[[str, str], Visitor], agent: WorkingAgent
) -> None:
    proposed(agent, "urn")
    ada, lin = bystanders("Ada Lovelace", "/queue"), bystanders("Lin", "/overview")
    ada.choose("Agent", agent.name)
    ada.choose("Sorted by", "Oldest")
    ada.press("Views")
    long = "x" * 81
    ada.write("Name", long, leaves=False)
    ada.press("Keep this view")
    expect(ada.page.get_by_test_id("stPopoverBody").get_by_role("alert")).to_contain_text("of up to 80 characters")
    expect(ada.page.get_by_role("textbox", name="Name", exact=True)).to_have_value(long)
    ada.write("Name", "My <b>agent</b>", leaves=False)
    ada.press("Keep this view")
    expect(ada.page.get_by_role("textbox", name="Name", exact=True)).to_have_value("")
    ada.sees("This is “My <b>agent</b>”.")

    lin.open(ada.page.url.removeprefix(ada.house.url))
    expect(row(lin, agent.name)).to_have_count(1)
    expect(lin.page.get_by_role("combobox", name="Sorted by")).to_have_value("Oldest")

    ada.choose("Sorted by", "Newest")
    ada.choose("Open a view", "My <b>agent</b>")
    expect(ada.page.get_by_role("combobox", name="Sorted by")).to_have_value("Oldest")
    ada.press("Remove this view")
    ada.sees("is removed.")


def test_calls_alike_are_decided_together_each_by_itself(ada: Visitor, agent: WorkingAgent, house: House) -> None:
    agent.is_under(house.adds_to_policy(tools=[ToolRule(agent=agent.name, tool="refund_order")]))
    ada.open("/queue")  # First, so that nothing is taken on the screen before.
    items = [proposed(agent, f"cup {number}", f"A-{number}") for number in range(5)]
    ada.press("Refresh")
    expect(row(ada, agent.name)).to_have_count(5)
    ada.choose("Agent", agent.name)
    ada.page.get_by_text("Calls that may be alike, to be decided together").click()
    ada.look()
    ada.page.get_by_role("button", name=f"Decide together: refund_order of {agent.name}").click()

    expect(row(ada, "with the others")).to_have_count(5)
    ada.look()
    row(ada, "cup 0").get_by_role("button", name="Leave out").press("Enter")
    expect(row(ada, "with the others")).to_have_count(4)
    agent.gate.client.send(agent.gate.client.cancel(items[1]))
    ada.look()
    ada.page.keyboard.press("a")
    ada.sees("3 decided, 1 not")
    expect(row(ada, "cup 1")).to_contain_text("This item is already cancelled")
    by_key = {item.id: item.status for item in agent.items()}

    ada.press("Queue")
    expect(row(ada, "cup 0")).to_have_count(1)
    proposed(agent, "cup 5", "A-5")
    ada.press("Refresh")
    expect(row(ada, "cup 5")).to_have_count(1)
    ada.page.get_by_text("Calls that may be alike, to be decided together").click()
    ada.look()
    ada.page.get_by_role("button", name=f"Decide together: refund_order of {agent.name}").click()
    ada.press("Reject all 2")
    ada.write("What the agent should know of each (optional with a reason)", "Never paid.")
    ada.press("Reject all 2")
    ada.sees("2 decided")
    ada.go("History")
    ada.go("Queue")
    ada.sees("Sorted by")

    assert [by_key[item] for item in items] == [
        Status.WAITING,
        Status.CANCELLED,
        Status.SETTLED,
        Status.SETTLED,
        Status.SETTLED,
    ]
    told = [item.decision for item in agent.items() if item.id == items[0]]
    assert told == [Reject(message="Never paid.")]
