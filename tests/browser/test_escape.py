"""Escape in a form closes the calendar, then leaves the field, and only then the form; what was typed stays."""

from typing import Any

from playwright.sync_api import expect

from agents.protocol import Action
from tests.browser.agent import WorkingAgent
from tests.browser.visitor import Visitor
from tests.builders import a_request


def test_escape_in_a_time_keeps_what_was_typed_there_and_beside_it(ada: Visitor, agent: WorkingAgent) -> None:
    properties: dict[str, Any] = {"starts": {"type": "string", "format": "date-time"}, "room": {"type": "string"}}
    args: dict[str, Any] = {"starts": "2026-12-03T15:30:00+01:00", "room": "2"}
    schema = {"type": "object", "properties": properties}
    agent.proposes(a_request(action=Action(name="book_fitting", args=args), args_schema=schema))
    ada.sees("book_fitting")
    ada.press("Edit")
    minute = ada.page.get_by_role("spinbutton", name="minute, starts")
    calendar = ada.page.get_by_test_id("stDateTimeInputCalendar")
    ada.page.get_by_role("textbox", name="room", exact=True).fill("7")

    minute.click()
    expect(calendar).to_be_visible()
    ada.page.keyboard.type("45")
    expect(minute).to_have_text("45")
    ada.page.keyboard.press("Control+Enter")
    ada.page.keyboard.press("Escape")

    expect(calendar).not_to_be_attached()
    ada.sees("Changed: room, starts")
    expect(minute).to_have_text("45")
    ada.look()
    ada.page.keyboard.press("Escape")
    expect(minute).not_to_be_focused()
    ada.sees("Changed: room, starts")
    ada.page.keyboard.press("Escape")
    ada.press("Edit")
    ada.sees("Changed: room, starts")
