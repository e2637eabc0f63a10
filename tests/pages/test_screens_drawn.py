"""The screens beside Review, drawn over a real store for people of every role, empty and furnished."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import ModuleType
from uuid import UUID

import pytest
from streamlit.testing.v1 import AppTest

from agents.protocol import Action, Approve, DecisionType, Edit, Reject, Respond, Route
from db.store import SqlStore
from pages import agents_page, audit_page, history_page, labels_page, policy_page, presence, queue_page
from pages.services import install
from review.audit import SYSTEM, EventFilter, EventKind
from review.desk import Seen
from review.intake import Submission
from review.items import ItemFilter, Order, ReasonCode
from review.outbound import Outbound
from review.people import ROLE_PERMISSIONS, Permission, Person, Role
from review.places import place_at
from review.policy import Autonomy, PolicyDocument, Rule, ToolRule
from review.sealer import ALARM_AFTER, CHECKPOINT_EVERY
from review.settings import Settings
from tests.builders import a_request, ada, an_event, grace, keeping, root
from tests.clock import MovableClock
from tests.console import Console
from tests.waiting import PATIENCE_SECONDS

SCREENS = (queue_page, history_page, labels_page, audit_page, agents_page, policy_page)
DRAWN = [
    pytest.param(screen, role, id=f"{screen.PATH} for {role}")
    for screen in SCREENS
    for role in Role
    if replace(ada, roles=frozenset({role})).may(screen.PERMISSION)
]


@pytest.fixture
def console(sqlite_store: SqlStore) -> Console:
    return installed(Console(sqlite_store))


def installed(console: Console) -> Console:
    install(console.services(settings=Settings(public_url="https://desk.example.com")))
    return console


@pytest.fixture
def furnished(console: Console) -> Console:
    console.save_policy(
        PolicyDocument(
            rules=(Rule(name="large", when="impact.amount > 500.0", route=Route.REVIEW, quorum=2, queue="high"),),
            tools=(
                ToolRule(agent="support", tool="refund_order", autonomy=Autonomy.GUARDED, threshold=0.9),
                ToolRule(agent="support", tool="send_reply"),
            ),
        )
    )
    key, _ = console.keys.create("support", console.person.workspace, SYSTEM)
    for number in range(6):
        submission = Submission(a_request(confidence=0.1 * number), f"key-{number}", f"{number:064}")
        console.intake.submit(key, submission)
    edited = Edit(edited_action=Action(name="refund_order", args={"order_id": "A-1001", "amount": "20.00"}))
    for decision in (Approve(), edited, Reject(message="No."), Respond(message="Tell them that we call.")):
        item = console.desk.claim(ada)
        assert item is not None
        codes = (ReasonCode.OTHER,) if isinstance(decision, Reject) else ()
        console.desk.decide(item.id, decision, ada, seen=Seen.of(item, dwell_ms=900), reason_codes=codes)
    console.desk.claim(grace)
    return console


def drawn(screen: ModuleType, person: Person, prepare: Callable[[AppTest], None] | None = None) -> AppTest:
    # Streamlit runs the function's text by itself: what it names it must import.
    def script(name: str, person: "Person") -> None:
        import importlib

        importlib.import_module(name).page(person)

    test = AppTest.from_function(script, args=(screen.__name__, person), default_timeout=PATIENCE_SECONDS)
    if prepare:
        prepare(test)
    return test.run()


def words_on(test: AppTest) -> str:
    return " ".join(str(html.proto.body) for html in test.get("html"))


def of_the_history(item_id: UUID) -> AppTest:
    def name_the_item(test: AppTest) -> None:
        test.query_params["item"] = str(item_id)

    return drawn(history_page, grace, name_the_item)


@pytest.mark.parametrize(("screen", "role"), DRAWN)
def test_an_empty_installation_is_drawn(console: Console, screen: ModuleType, role: Role) -> None:
    test = drawn(screen, replace(console.person, roles=frozenset({role})))

    assert not test.exception


@pytest.mark.parametrize(("screen", "role"), DRAWN)
def test_a_furnished_installation_is_drawn(furnished: Console, screen: ModuleType, role: Role) -> None:
    test = drawn(screen, replace(furnished.person, roles=frozenset({role})))

    assert not test.exception


def test_an_item_of_the_history_is_shown_whole(furnished: Console) -> None:
    edited = next(label for label in furnished.records.label_preview(furnished.person) if label.final)

    def name_the_item(test: AppTest) -> None:
        test.query_params["item"] = str(edited.item_id)

    test = drawn(history_page, furnished.person, name_the_item)

    assert not test.exception
    assert "How it ended" in [heading.value for heading in test.subheader]


def test_an_erased_item_shows_what_was_done_and_nothing_of_its_content(furnished: Console) -> None:
    item = furnished.desk.items(ada, ItemFilter(decision=DecisionType.EDIT), order=Order.SETTLED).rows[0]
    before = words_on(of_the_history(item.id))
    furnished.eraser.erase(root, furnished.eraser.plan_item(root, item.id))

    after = words_on(of_the_history(item.id))

    assert [word in before for word in ("A-1001", "arrived broken", "My cup")] == [True] * 3
    assert [word in after for word in ("A-1001", "arrived broken", "My cup")] == [False] * 3
    assert "The content of this item was erased on" in after


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ({"item": "nonsense"}, "The address names no item; these are all of them."),
        ({"view": "nonsense"}, "There is no such view any more"),
        ({"view": str(UUID(int=7))}, "There is no such view any more"),
    ],
)
@pytest.mark.usefixtures("furnished")
def test_an_address_that_names_nothing_is_told_above_the_whole_list(
    monkeypatch: pytest.MonkeyPatch, address: dict[str, str], told: str
) -> None:
    monkeypatch.setattr(presence, "person_here", lambda: grace)  # Nobody sits at a browser.

    test = drawn(history_page, grace, lambda test: test.query_params.update(address))

    assert told in words_on(test)
    assert len(test.get("bidi_component")) == 1


def test_a_changed_default_comes_into_force_once_it_is_saved(furnished: Console) -> None:
    test = drawn(policy_page, furnished.person)

    test.text_input(key="policy.audit_rate.0").set_value("25").run()
    test.text_input(key="policy.comment.1").set_value("look at more").run()
    test.button(key="policy.save.1").click().run()

    assert not test.exception
    latest = furnished.policies.versions(furnished.person)[0]
    assert (latest.number, latest.document.audit_rate, latest.comment) == (2, 0.25, "look at more")
    assert "Version 2 is in force." in words_on(test)


def test_a_default_that_does_not_fit_is_not_put_in_force(furnished: Console) -> None:
    test = drawn(policy_page, furnished.person)
    test.text_input(key="policy.priority.0").set_value("3").run()

    test.text_input(key="policy.audit_rate.0").set_value("250").run()

    assert "must be at most 100" in words_on(test)
    assert "cannot be saved: 1 to put right" in words_on(test)
    assert test.button(key="policy.save.1").disabled
    test.text_input(key="policy.audit_rate.0").set_value("25").run()
    test.button(key="policy.save.1").click().run()
    document = furnished.policies.versions(furnished.person)[0].document
    assert (document.audit_rate, document.default_priority) == (0.25, 3)


def test_a_draft_behind_the_version_in_force_is_refused_and_kept(furnished: Console) -> None:
    test = drawn(policy_page, furnished.person)
    test.text_input(key="policy.audit_rate.0").set_value("25").run()
    furnished.save_policy(PolicyDocument())

    test.button(key="policy.save.1").click().run()

    assert "The policy is at version 2 by now." in words_on(test)
    assert furnished.policies.versions(furnished.person)[0].number == 2
    assert test.text_input(key="policy.audit_rate.0").value == "25"


@pytest.mark.usefixtures("furnished")
@pytest.mark.parametrize(("person", "offered"), [(ada, "your"), (grace, "their")])
def test_the_history_offers_the_decisions_that_one_may_have(person: Person, offered: str) -> None:
    test = drawn(history_page, person)

    assert not test.exception
    links = [element.proto.label for element in test.get("link_button")]
    assert f"Download {offered} decisions (CSV)" in links


def test_a_preview_says_what_the_draft_would_change(furnished: Console) -> None:
    test = drawn(policy_page, furnished.person)

    test.button(key="policy.preview").click().run()

    assert "On the last 6 actions this draft would change 0" in words_on(test)
    test.text_input(key="policy.priority.0").set_value("2").run()
    test.button(key="policy.preview").click().run()
    assert "On the last 6 actions this draft would change 6" in words_on(test)


def test_a_preview_says_why_there_is_none_for_who_may_not_see_items(
    furnished: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ROLE_PERMISSIONS, Role.LEAD, ROLE_PERMISSIONS[Role.LEAD] - {Permission.SEE_ITEMS})
    test = drawn(policy_page, replace(furnished.person, roles=frozenset({Role.LEAD})))

    test.button(key="policy.preview").click().run()

    assert not test.exception
    assert "may not see items" in words_on(test)
    assert "On the last" not in words_on(test)


def test_the_log_is_verified_on_its_page(furnished: Console) -> None:
    test = drawn(audit_page, furnished.person)

    test.button(key="audit.verify").click().run()

    assert not test.exception
    head = furnished.store.read(lambda tx: tx.log_head(furnished.person.workspace))
    assert head is not None
    assert f"All {head.frontier.size} events are as they were sealed, and none is missing." in words_on(test)
    assert any(code.value.startswith(f"OK: {head.frontier.size} events") for code in test.code)


def test_while_the_filter_of_the_log_cannot_be_read_nothing_is_listed_or_offered(furnished: Console) -> None:
    event = furnished.records.events(root, EventFilter(kind=EventKind.ITEM_CLAIMED)).rows[0]
    short = str(event.item_id)[-12:]

    test = drawn(audit_page, furnished.person, lambda test: test.session_state.__setitem__("audit.item", short))

    assert "it gives the whole id to copy" in words_on(test)
    assert [*test.get("bidi_component"), *test.get("link_button")] == []
    test.text_input(key="audit.item").set_value(str(event.item_id)).run()
    assert len(test.get("bidi_component")) == 1
    assert any(f"item={event.item_id}" in str(link.proto) for link in test.get("link_button"))


def test_an_event_gives_the_whole_id_of_its_item(furnished: Console) -> None:
    event = furnished.records.events(root, EventFilter(kind=EventKind.ITEM_CLAIMED)).rows[0]

    test = drawn(audit_page, root, lambda test: test.session_state.__setitem__("audit.chosen", str(event.id)))

    assert str(event.item_id) in [code.value for code in test.code]


def test_who_may_not_export_the_log_is_not_offered_its_verification(furnished: Console) -> None:
    test = drawn(audit_page, replace(furnished.person, roles=frozenset({Role.LEAD})))

    assert [button.label for button in test.button if button.label == "Verify the log"] == []


def test_the_anchors_are_shown_without_their_secrets(sqlite_store: SqlStore, tmp_path: Path) -> None:
    blocked = tmp_path / "blocked"
    blocked.write_text("a file stands where the folder should be")
    urls = (f"file://{tmp_path / 'anchor'}", f"file://{blocked}", "https://desk:secret@hooks.example/secret?key=secret")
    console = installed(Console(sqlite_store, places=[place_at(url, Outbound()) for url in urls]))
    sqlite_store.write(keeping(an_event()))
    console.sealer.seal()
    for poster in console.anchors.posters[:2]:
        poster.tick()

    words = words_on(drawn(audit_page, console.person))

    assert "Anchored at 3 places" in words
    assert "1 in trouble" in words
    assert "Not a directory." in words
    assert "https://hooks.example/…" in words
    assert "nothing yet" in words
    assert "1 event" in words
    assert "secret" not in words


@pytest.mark.parametrize("role", list(Role))
def test_a_missing_heartbeat_is_told_on_every_screen_to_who_may_see_the_log(
    console: Console, clock: MovableClock, role: Role
) -> None:
    def script(person: "Person") -> None:
        from pages.above import above, show_above

        show_above(person, above(person))

    person = replace(console.person, roles=frozenset({role}))
    console.store.write(keeping(an_event()))
    told = []

    for wait in (timedelta(0), ALARM_AFTER * CHECKPOINT_EVERY):
        clock.advance(wait)
        told.append(words_on(AppTest.from_function(script, args=(person,), default_timeout=PATIENCE_SECONDS).run()))

    alarm = "The audit log raises an alarm. The Audit screen says why."
    assert [alarm in words for words in told] == [False, role not in (Role.REVIEWER, Role.BREAK_GLASS)]
