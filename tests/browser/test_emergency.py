"""Breaking the glass: every admin reads of it wherever they are, and one of them looks at it when it is over."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from playwright.sync_api import expect

from review.emergencies import Emergencies
from review.sessions import LOCAL_OPERATOR
from tests.browser.visitor import Visitor

pytestmark = pytest.mark.browser


def test_the_glass_is_broken_as_it_was_asked_for_or_not_at_all(ada: Visitor) -> None:
    ada.open("/queue")
    ada.press("Account")
    ada.press("Break the glass…")
    dialog = ada.page.get_by_role("dialog")
    ada.write("Why", "The warehouse burns.")
    ada.press("Break it")
    unfounded = dialog.get_by_text("Say why, name the ticket")
    expect(unfounded).to_contain_text("The glass is not broken yet.")
    expect(dialog.get_by_role("textbox", name="Why")).to_have_value("The warehouse burns.")
    ada.write("Ticket", "INC-8")

    ada.write("For how many minutes", "600")
    ada.press("Break it")

    expect(dialog.get_by_text("must be at most 60")).to_have_count(1)
    expect(dialog.get_by_text("What does not fit stands at its field. The glass is not broken yet.")).to_have_count(1)
    expect(ada.page.get_by_text("broke the glass")).to_have_count(0)
    ada.write("For how many minutes", "45")
    ada.press("Break it")
    expect(dialog).to_have_count(0)
    ada.sees("The warehouse burns. (ticket INC-8)")
    emergencies = Emergencies(ada.house.store)
    (begun,) = [one for one in emergencies.uses(LOCAL_OPERATOR) if one.ticket == "INC-8"]
    assert begun.until - begun.opened_at == timedelta(minutes=45)
    ada.press("End it")
    ada.sees("It is over: approvals need several people again.")
    emergencies.review(LOCAL_OPERATOR, begun.id, "It was asked for.")  # Else it would be asked for in other tests.


def test_every_admin_sees_who_broke_the_glass_and_looks_at_it_afterwards(
    ada: Visitor, people: Callable[[str], Visitor]
) -> None:
    root = people("Root")
    root.open("/people")
    ada.open("/queue")
    ada.press("Account")
    ada.press("Break the glass…")
    ada.write("Why", "The warehouse burns.")
    ada.write("Ticket", "INC-7")
    ada.press("Break it")
    ada.sees("Ada Lovelace broke the glass.")

    # In a tab that stood open, and that nobody touches.
    root.sees("The warehouse burns. (ticket INC-7)")
    root.press("End it")
    root.sees("It is over: approvals need several people again.")
    root.write("What you found in looking at it", "Nothing was approved.")
    root.press("Looked at it")

    root.sees("Nothing was approved. (Root)")
    ada.open("/queue")
    expect(ada.page.get_by_text("broke the glass")).to_have_count(0)
