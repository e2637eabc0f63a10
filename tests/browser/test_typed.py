"""What was typed in Review is there again after the page was loaded anew."""

from playwright.sync_api import expect

from tests.browser.agent import WorkingAgent
from tests.browser.visitor import Visitor

REJECTION = "What the agent should know (optional with a reason)"


def test_what_was_typed_outlives_the_session(ada: Visitor, agent: WorkingAgent) -> None:
    agent.calls()
    expect(ada.button("Approve")).to_be_enabled()
    ada.press("Edit")
    ada.write("amount", "12.50")
    ada.sees("Changed: amount")
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
