"""Breaking the glass: every admin reads of it wherever they are, and one of them looks at it when it is over."""

from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from tests.browser.visitor import Visitor

pytestmark = pytest.mark.browser


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
