"""What was typed in Review is there again after the page was loaded anew."""

from collections.abc import Callable

from playwright.sync_api import expect
from uuid_utils.compat import uuid7

from review.people import Person, Role
from tests.browser.agent import CALL, WorkingAgent
from tests.browser.house import House
from tests.browser.visitor import Visitor
from tests.builders import a_request, an_action

REJECTION = "What the agent should know (optional with a reason)"
ANSWER = "Your answer, which stands in for the action's result"


def signed_in(visitor: Visitor, person: Person) -> Visitor:
    visitor.page.goto(visitor.house.link(person))
    visitor.button("Sign in").click()
    visitor.wait()
    return visitor


def begins_to_edit(ada: Visitor, agent: WorkingAgent) -> None:
    agent.calls()
    expect(ada.button("Approve")).to_be_enabled()
    ada.press("Edit")
    ada.write("amount", "12.50")
    ada.sees("Changed: amount")


def test_what_was_typed_outlives_the_session(ada: Visitor, agent: WorkingAgent) -> None:
    begins_to_edit(ada, agent)
    ada.press("Back")
    ada.press("Reject")
    ada.press("Wrong arguments")
    ada.write(REJECTION, "Half of it was never sent.")
    ada.wait()

    ada.open()

    expect(ada.page.get_by_role("textbox", name=REJECTION)).to_have_value("Half of it was never sent.")
    expect(ada.button("Wrong arguments")).to_have_attribute("aria-pressed", "true")
    ada.press("Back")
    ada.press("Edit")
    expect(ada.page.get_by_role("textbox", name="amount", exact=True)).to_have_value("12.50")
    ada.sees("Changed: amount")


def test_an_edit_that_was_begun_is_open_again_until_it_is_left(ada: Visitor, agent: WorkingAgent) -> None:
    begins_to_edit(ada, agent)

    ada.open()

    amount = ada.page.get_by_role("textbox", name="amount", exact=True)
    expect(amount).to_have_value("12.50")
    ada.sees("Changed: amount")
    expect(ada.button("Approve")).to_have_count(0)
    ada.press("Back")
    expect(ada.button("Approve")).to_be_enabled()
    ada.open()
    expect(ada.button("Approve")).to_be_enabled()
    expect(amount).to_have_count(0)


def test_of_two_items_that_are_held_the_one_that_was_edited_is_open_again(ada: Visitor, agent: WorkingAgent) -> None:
    for order in ("R-2001", "R-2002"):
        agent.calls({**CALL, "order_id": order})
    agent.holds(2)
    ada.open()
    order_id = ada.page.get_by_role("textbox", name="order id", exact=True)
    # Both are held by now, and neither is always the one that comes first.
    for item in agent.items():
        ada.open(f"/?item={item.id}")
        ada.press("Edit")
        expect(order_id).not_to_have_value("")
        edited = order_id.input_value()
        ada.write("amount", "12.50")
        ada.sees("Changed: amount")

        ada.open()

        expect(order_id).to_have_value(edited)
        ada.press("Back")
        expect(ada.button("Approve")).to_be_enabled()


def test_an_edit_of_what_is_masked_again_is_spoken_of_and_not_opened(ada: Visitor, agent: WorkingAgent) -> None:
    agent.proposes(a_request(action=an_action("send_gift", to="sophie@example.com", wrapped="yes")))
    ada.sees("Masked here: e-mail.")
    ada.press("Reveal")
    ada.press("Edit")
    ada.write("wrapped", "no")
    ada.sees("Changed: wrapped")

    ada.open()

    ada.sees("You have begun to edit this item.")
    expect(ada.page.get_by_text("sophie@example.com")).to_have_count(0)
    ada.press("Reveal")
    ada.press("Edit")
    expect(ada.page.get_by_role("textbox", name="wrapped", exact=True)).to_have_value("no")


def test_what_is_typed_in_one_browser_is_there_in_another(
    house: House, strangers: Callable[[House], Visitor], agent: WorkingAgent
) -> None:
    ada = Person("https://id.example.com", uuid7().hex, "Ada Lovelace", frozenset(Role))
    agent.calls()
    agent.holds(1)
    here = signed_in(strangers(house), ada)
    expect(here.button("Approve")).to_be_enabled()
    here.press("Reject")
    here.press("Wrong arguments")
    with here.page.expect_response(lambda answer: "/drafts/" in answer.url and bool(answer.ok)):
        here.write(REJECTION, "Half of it was", leaves=False)

    there = signed_in(strangers(house), ada)

    typed = there.page.get_by_role("textbox", name=REJECTION)
    expect(typed).to_have_value("Half of it was")
    expect(there.button("Wrong arguments")).to_have_attribute("aria-pressed", "true")
    with there.page.expect_response(lambda answer: "/drafts/" in answer.url and bool(answer.ok)):
        typed.fill("Half of it was never sent.")
    here.open()
    expect(here.page.get_by_role("textbox", name=REJECTION)).to_have_value("Half of it was never sent.")


def test_what_is_typed_last_is_not_lost_when_the_tab_is_closed(ada: Visitor, agent: WorkingAgent) -> None:
    agent.calls()
    expect(ada.button("Approve")).to_be_enabled()
    ada.press("Respond")
    there = ada.page.context.new_page()
    ada.write(ANSWER, "It is hers.", leaves=False)
    ada.page.close(run_before_unload=True)
    ada.page = there

    # Another tab has no part in what the closed one kept for itself.
    ada.open()

    expect(ada.page.get_by_role("textbox", name=ANSWER)).to_have_value("It is hers.")


def test_what_is_typed_in_the_one_view_is_there_in_the_other(ada: Visitor, agent: WorkingAgent) -> None:
    agent.calls()
    expect(ada.button("Approve")).to_be_enabled()
    ada.press("Reject")
    ada.write(REJECTION, "Not hers.", leaves=False)
    ada.press("Back")
    ada.press("Keys")

    ada.button("Plain view, without this surface").click()

    ada.press("Reject")
    expect(ada.page.get_by_role("textbox", name=REJECTION)).to_have_value("Not hers.")
    ada.write(REJECTION, "Not hers at all.")
    ada.press("Focus view")
    expect(ada.page.locator(".focus").get_by_role("textbox", name=REJECTION)).to_have_value("Not hers at all.")
