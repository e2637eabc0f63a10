"""Accessibility: axe-core finds nothing serious or critical of ours on any screen, in light and in dark."""

import re
from typing import Any, Literal

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from agents.protocol import Approve
from review.policy import ToolRule
from tests.browser.agent import WorkingAgent
from tests.browser.house import House
from tests.browser.visitor import A_LOOK_MS, Visitor
from tests.builders import a_request, an_action

SCREENS = ("", "queue", "overview", "history", "labels", "audit", "agents", "policy", "people")
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
GRAVE = ("serious", "critical")
# A page that is drawn anew while axe reads it is faded for a moment.
TIMES = 5
# What Streamlit draws itself and lets nobody name: its elements, by rule.
STOCK = {
    "aria-allowed-attr": ('data-testid="stFileUploaderDropzone"',),
    "svg-img-alt": ('class="marks"',),
}
OPTIONS = {"resultTypes": ["violations"], "runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]}


def grave_faults(page: Page) -> list[str]:
    """Return what axe holds against the page as it stands; one that moved meanwhile is asked again."""
    found: list[dict[str, Any]] = []
    for _ in range(TIMES):
        looked_at = page.evaluate("performance.now()")
        found = Axe().run(page, options=OPTIONS).response["violations"]
        if page.evaluate("window.stillSince") < looked_at:
            break
        page.wait_for_timeout(A_LOOK_MS)
    return [
        f"{fault['id']}: {node['html'][:200]} {node['any'][0]['message'] if node['any'] else ''}"
        for fault in found
        if fault["impact"] in GRAVE
        for node in fault["nodes"]
        if not any(sign in node["html"] for sign in STOCK.get(fault["id"], ()))
    ]


def in_colours(visitor: Visitor, scheme: Literal["light", "dark"]) -> None:
    """Ask for these colours, and wait until the page is drawn in them."""
    visitor.page.emulate_media(color_scheme=scheme)
    expect(visitor.page.get_by_test_id("stApp")).to_have_css("color-scheme", scheme)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_no_screen_keeps_anybody_out(
    ada: Visitor, stranger: Visitor, agent: WorkingAgent, house: House, scheme: Literal["light", "dark"]
) -> None:
    ada.open("/people")  # Else her Review screen takes what somebody else is to decide.
    house.decide(agent.proposes(a_request()), Approve())
    agent.proposes(a_request())
    faults = {}

    ada.page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    for screen in SCREENS:
        ada.open(f"/{screen}")
        expect(ada.page.get_by_role("heading").first).to_be_visible()
        ada.look()
        faults[screen] = grave_faults(ada.page)
    stranger.page.emulate_media(color_scheme=scheme)
    stranger.open()
    faults["gate"] = grave_faults(stranger.page)
    stranger.page.goto(f"{house.url}/sign-in/no-such-link")
    faults["door"] = grave_faults(stranger.page)

    assert {screen: found for screen, found in faults.items() if found} == {}


def test_no_dialog_keeps_anybody_out_and_the_focus_comes_back_from_it(
    ada: Visitor, agent: WorkingAgent, house: House
) -> None:
    ada.page.emulate_media(reduced_motion="reduce")
    house.adds_to_policy(tools=[ToolRule(agent=agent.name, tool="refund_order")])
    agent.proposes(a_request())
    faults = {}

    for screen, tab, part in (
        ("queue", None, "More: "),
        ("agents", None, "Change: "),
        ("policy", "Rules", "Add a rule"),
        ("policy", "Queues", "Add a queue"),
        ("policy", "Versions", "Look: "),
    ):
        ada.open(f"/{screen}")
        if tab is not None:
            ada.page.get_by_role("tab", name=tab).press("Enter")
        button = ada.page.get_by_role("button", name=re.compile(f"^{part}")).first
        expect(button).to_be_visible()
        ada.look()
        button.press("Enter")
        dialog = ada.page.get_by_role("dialog")
        expect(dialog).to_be_visible()
        ada.look()
        expect(ada.page.locator('[role="dialog"]:focus-within')).to_be_attached()
        for scheme in SCHEMES:
            in_colours(ada, scheme)
            faults[screen, part, scheme] = grave_faults(ada.page)
        ada.page.keyboard.press("Escape")
        expect(dialog).to_have_count(0)
        expect(button).to_be_focused()

    assert {at: found for at, found in faults.items() if found} == {}


def test_no_dialog_of_the_account_or_the_log_keeps_anybody_out(ada: Visitor) -> None:
    ada.page.emulate_media(reduced_motion="reduce")
    account = [("people", ("Account", name)) for name in ("Pause agents…", "Break the glass…", "Your sessions…")]
    faults = {}

    for screen, presses in (*account, ("audit", ("Look: Signed in",))):
        ada.open(f"/{screen}")
        for name in presses:
            button = ada.button(name).first
            expect(button).to_be_visible()
            ada.look()
            button.click()
        expect(ada.page.get_by_role("dialog")).to_be_visible()
        ada.look()
        for scheme in SCHEMES:
            in_colours(ada, scheme)
            faults[presses, scheme] = grave_faults(ada.page)
        # The first Escape is the dialog's, not that of the menu which it opened from.
        ada.page.keyboard.press("Escape")
        expect(ada.page.get_by_role("dialog")).to_have_count(0)

    assert {at: found for at, found in faults.items() if found} == {}


def test_neither_masked_values_nor_calls_alike_keep_anybody_out(
    ada: Visitor, agent: WorkingAgent, house: House
) -> None:
    ada.page.emulate_media(reduced_motion="reduce")
    agent.is_under(house.adds_to_policy(tools=[ToolRule(agent=agent.name, tool="refund_order")]))
    faults = {}

    def look_at(what: str) -> None:
        ada.look()
        for scheme in SCHEMES:
            in_colours(ada, scheme)
            faults[what, scheme] = grave_faults(ada.page)

    agent.proposes(a_request(action=an_action("send_gift", to="someone@hidden.example")))
    ada.sees("Masked here: e-mail.")
    look_at("masked")
    ada.press("Reveal")
    ada.sees("someone@hidden.example")
    look_at("revealed")
    ada.open("/queue")  # First, so that nothing is taken on the screen before.
    for order in ("A-1", "A-2"):
        agent.proposes(a_request(action=an_action(order_id=order)))
    ada.press("Refresh")
    expect(ada.page.get_by_role("row").filter(has_text=agent.name)).to_have_count(3)
    ada.choose("Agent", agent.name)
    ada.page.get_by_text("Calls that may be alike, to be decided together").click()
    ada.press(f"Decide together: refund_order of {agent.name}")
    expect(ada.button("Leave out: order A-1001")).to_have_count(2)
    ada.look()
    ada.button("Leave out: order A-1001").first.press("Enter")
    expect(ada.button("Approve it")).to_be_enabled()
    look_at("one left out")

    assert {at: found for at, found in faults.items() if found} == {}
