"""The screens beside Review: their rows, their filters, and a policy's way from draft to force."""

import json
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from starlette.datastructures import QueryParams

from agents.protocol import Action, DecisionType, Edit, Execution, Outcome, OutcomeStatus, Route, Status
from pages import (
    agents_page,
    audit_page,
    downloads,
    drafts,
    history_page,
    labels_page,
    pausing,
    policy_page,
    queue_page,
    stories,
    tables,
)
from pages.drafts import Draft
from pages.tables import Cell
from review.audit import EventFilter, EventKind
from review.board import QueueStanding
from review.items import (
    EVERY_DECISION,
    Aside,
    Assignment,
    Claim,
    DecisionFilter,
    ItemFilter,
    ItemSummary,
    Purpose,
    ReasonCode,
)
from review.labels import LabelCount
from review.people import Limits, Pause, Permission
from review.policy import (
    Autonomy,
    PolicyDocument,
    Preview,
    Queue,
    Rule,
    Sensitive,
    Signals,
    ToolRule,
    compiled,
    preview,
)
from tests.builders import (
    a_decision,
    a_key,
    a_policy,
    a_tool,
    ada,
    an_agent,
    an_event,
    an_item,
    lin,
    mary,
)
from tests.clock import START

ITEM_ID = UUID("019a4000-0000-7000-8000-000000000001")


def a_summary(**fields: object) -> ItemSummary:
    given: dict[str, object] = {
        "id": ITEM_ID,
        "agent": "support",
        "tool": "refund_order",
        "purpose": Purpose.GATE,
        "queue": "general",
        "priority": 5,
        "status": Status.WAITING,
        "route": Route.REVIEW,
        "execution": Execution.NONE,
        "confidence": 0.62,
        "subject": "order A-1001",
        "amount": "49.90",
        "currency": "EUR",
        "submitted_at": START,
        "due_at": START + timedelta(hours=4),
        "expires_at": START + timedelta(hours=24),
        "claim": None,
        "decision": None,
        "settled_by": None,
        "settled_at": None,
    }
    return ItemSummary(**(given | fields))  # type: ignore[arg-type]  # whatever the summary takes


def an_assignment(sub: str) -> Assignment:
    return Assignment(ada.iss, sub, ada.name, START + timedelta(hours=1), by=lin.name)


def a_rule(name: str, when: str = "confidence < 0.5", route: Route = Route.REVIEW) -> Rule:
    return Rule(name=name, when=when, route=route)


@pytest.mark.parametrize(
    ("fields", "act"),
    [
        ({}, "Take"),
        ({"claim": Claim(lin.iss, lin.sub, lin.name, START + timedelta(minutes=1))}, ""),
        ({"claim": Claim(lin.iss, lin.sub, lin.name, START)}, "Take"),
        ({"claim": Claim(ada.iss, ada.sub, ada.name, START + timedelta(minutes=1))}, "Continue"),
        ({"claim": Claim(ada.iss, "a namesake", ada.name, START + timedelta(minutes=1))}, ""),
        ({"aside": Aside.ASSIGNED, "assignment": an_assignment(ada.sub)}, "Take"),
        ({"aside": Aside.ASSIGNED, "assignment": an_assignment("a namesake")}, ""),
    ],
)
def test_an_item_can_be_taken_unless_somebody_else_holds_it(fields: dict[str, object], act: str) -> None:
    line = queue_page.line_of(a_summary(**fields), ada, START)

    assert line.act == act


def test_nobody_without_the_permission_to_decide_is_offered_an_item() -> None:
    line = queue_page.line_of(a_summary(), mary, START)

    assert not mary.may(Permission.DECIDE)
    assert line.act == ""


def test_a_missing_confidence_is_said_and_not_shown_as_nothing() -> None:
    line = queue_page.line_of(a_summary(confidence=None), ada, START)

    assert line.cells["confidence"].text == "not told"


def test_a_look_afterwards_is_told_from_an_agent_that_waits() -> None:
    waiting = queue_page.line_of(a_summary(), ada, START)
    afterwards = queue_page.line_of(a_summary(purpose=Purpose.AUDIT), ada, START)

    assert (waiting.cells["queue"].under, afterwards.cells["queue"].under) == ("", "ran already")


def test_a_row_says_for_whom_an_item_waits_and_until_when_it_sleeps() -> None:
    until = START + timedelta(hours=1)
    given = a_summary(aside=Aside.ASSIGNED, assignment=Assignment(ada.iss, "lin", "Lin Ming", until, by="Mary"))
    asleep = a_summary(aside=Aside.SNOOZED, snoozed_until=until, breached_at=START)

    lines = [queue_page.line_of(item, ada, START) for item in (given, asleep)]

    assert [line.cells["held"] for line in lines] == [
        Cell("", under="assigned to Lin Ming", at=until),
        Cell("", under="aside until then", at=until),
    ]
    assert [line.cells["queue"].under for line in lines] == ["", "overdue"]


def test_a_queue_says_what_waits_in_it_and_whether_it_asks_for_training() -> None:
    money = QueueStanding(Queue(name="money", skills=("money",)), 1001, 2, START, is_open=False, due_soon=3, own=1)
    empty = QueueStanding(Queue(name="general"), 0, 0, None, is_open=True)

    lines = [queue_page.queue_line(standing) for standing in (money, empty)]

    assert [line.cells for line in lines] == [
        {
            "queue": Cell("money", under="asks for training", tone="strong"),
            "waiting": Cell("1,000+"),
            "own": Cell("1", tone="accent"),
            "soon": Cell("3", tone="warn"),
            "breached": Cell("2", tone="bad"),
            "oldest": Cell(at=START),
        },
        {
            "queue": Cell("general", tone="strong"),
            "waiting": Cell("0"),
            "own": Cell(),
            "soon": Cell(),
            "breached": Cell(),
            "oldest": Cell("–", tone="quiet"),
        },
    ]


@pytest.mark.parametrize(
    ("fields", "ending"),
    [
        ({"status": Status.SETTLED, "decision": DecisionType.APPROVE}, "Approved"),
        ({"status": Status.SETTLED, "decision": DecisionType.EDIT}, "Edited"),
        ({"status": Status.SETTLED, "decision": DecisionType.REJECT}, "Rejected"),
        ({"status": Status.SETTLED, "decision": DecisionType.RESPOND}, "Answered"),
        ({"status": Status.EXPIRED, "decision": DecisionType.REJECT}, "Expired"),
        ({"status": Status.CANCELLED}, "Withdrawn"),
    ],
)
def test_history_says_how_an_item_ended(fields: dict[str, object], ending: str) -> None:
    line = history_page.line_of(a_summary(**fields))

    assert line.cells["decision"].text == ending


def test_history_says_what_was_erased_and_that_it_permits_nothing() -> None:
    item = a_summary(status=Status.SETTLED, execution=Execution.PERMITTED, subject=None, erased_at=START)

    cells = history_page.line_of(item).cells

    assert (cells["subject"].text, cells["execution"].text) == ("[erased]", "permission void")


def test_a_decision_shows_who_looked_for_how_long_and_why() -> None:
    edited = Edit(edited_action=Action(name="refund_order", args={"amount": "20.00"}))
    made = a_decision(an_item(), ada, decision=edited, reason_codes=(ReasonCode.WRONG_ARGUMENTS,))

    cells = history_page.decision_line(made).cells

    assert (cells["decision"].text, cells["by"].text) == ("Edited", "Ada Lovelace")
    assert (cells["why"].text, cells["dwell"].text) == ("Wrong arguments", "5.2 s")


def test_a_story_is_told_oldest_first() -> None:
    late, early = an_event(kind=EventKind.ITEM_DECIDED), an_event(kind=EventKind.ACTION_SUBMITTED)

    lines = stories.story_lines([late, early])

    assert [line.name for line in lines] == ["Action submitted", "Item decided"]


def test_what_an_event_holds_is_cut_where_it_gets_long() -> None:
    short = stories.told({"route": "review", "reasons": ["rule"], "confidence": None, "status": "waiting"})
    digest = stories.told({"digest": f"sha256:{'0' * 64}"})
    long = stories.told({"name": "0" * 1000})

    assert short == 'route review, reasons ["rule"], status waiting'
    assert digest == "digest sha256:00000000…"
    assert len(long) == stories.DATA_SHOWN + len(" …")


def test_the_download_has_the_filter_of_the_list() -> None:
    everything = audit_page.download_address(EventFilter())
    some = audit_page.download_address(
        EventFilter(kind=EventKind.KEY_CREATED, actor="a&b", item_id=ITEM_ID, since=START)
    )

    assert everything == "/download/audit.csv"
    assert some == (
        f"/download/audit.csv?kind=key_created&actor=a%26b&item={ITEM_ID}"
        "&since=2026-11-02T09%3A30%3A15.123456%2B00%3A00"
    )


@pytest.mark.parametrize(
    ("text", "item_id"), [(f" {ITEM_ID} ", ITEM_ID), (ITEM_ID.hex, ITEM_ID), ("", None), ("refund", None)]
)
def test_an_item_is_found_by_whatever_form_of_its_id_was_pasted(text: str, item_id: UUID | None) -> None:
    assert audit_page.item_id_in(text) == item_id


@pytest.mark.parametrize(
    ("chosen", "since", "until"),
    [
        ((), None, None),
        ((date(2026, 11, 2),), datetime(2026, 11, 1, 23, tzinfo=UTC), None),
        (
            (date(2026, 11, 2), date(2026, 11, 2)),
            datetime(2026, 11, 1, 23, tzinfo=UTC),
            datetime(2026, 11, 2, 23, tzinfo=UTC),
        ),
        # The clocks change on 25 October: that day has 25 hours.
        (
            (date(2026, 10, 25), date(2026, 10, 25)),
            datetime(2026, 10, 24, 22, tzinfo=UTC),
            datetime(2026, 10, 25, 23, tzinfo=UTC),
        ),
    ],
)
def test_days_are_those_of_the_reader(chosen: tuple[date, ...], since: datetime | None, until: datetime | None) -> None:
    assert tables.days_between(chosen, ZoneInfo("Europe/Paris")) == (since, until)


@pytest.mark.parametrize(("count", "words"), [(0, "0"), (1000, "1,000"), (1001, "1,000+")])
def test_a_count_beyond_the_limit_has_a_plus(count: int, words: str) -> None:
    assert tables.count_words(count) == words


def test_an_agent_stands_with_its_own_keys_and_tools() -> None:
    live, revoked = a_key(agent="support"), a_key(agent="support", revoked_at=START)
    other = a_key(agent="stock")

    stock, support = agents_page.connected(
        [an_agent("support"), an_agent("stock")], [live, revoked, other], [a_tool(agent="support")]
    )

    assert (stock.agent.name, stock.keys, stock.tools) == ("stock", (other,), ())
    assert (support.keys, len(support.tools), support.live_keys(START)) == ((live, revoked), 1, 1)


@pytest.mark.parametrize(
    ("fields", "state", "act"),
    [
        ({}, "live", "Change"),
        ({"revoked_at": START}, "revoked", ""),
        ({"expires_at": START}, "expired", ""),
    ],
)
def test_only_a_live_key_can_be_changed(fields: dict[str, object], state: str, act: str) -> None:
    line = agents_page.key_line(a_key(**fields), START, may_change=True)

    assert (line.cells["state"].text, line.act) == (state, act)


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        (Limits(), "the usual"),
        (Limits(per_minute=1_200), "1,200 a minute"),
        (Limits(most_waiting=1), "1 waiting"),
        (Limits(60, 20), "60 a minute, 20 waiting"),
    ],
)
def test_a_keys_limits_stand_beside_it_in_words(limits: Limits, words: str) -> None:
    line = agents_page.key_line(a_key(limits=limits), START, may_change=True)

    assert line.cells["limits"].text == words


def test_a_public_key_is_known_by_its_client_id() -> None:
    key = a_key(public_keys=({"kty": "OKP"},))

    line = agents_page.key_line(key, START, may_change=True)

    assert (line.cells["prefix"].text, line.cells["prefix"].under) == (key.prefix, f"public key, by {key.created_by}")


def test_the_key_pair_snippet_is_python_that_names_this_console_and_client() -> None:
    snippet = agents_page.key_pair_snippet("https://desk.example.com", "0123456789ab")

    compile(snippet, "snippet.py", "exec")
    assert 'PrivateKeyJwt("0123456789ab"' in snippet
    assert 'Gate("https://desk.example.com", mine)' in snippet


def test_the_hook_snippet_is_python_that_names_this_console() -> None:
    snippet = agents_page.hook_snippet("https://desk.example.com")

    compile(snippet, "snippet.py", "exec")
    assert 'Gate("https://desk.example.com", os.environ["SIGNOFF_KEY"])' in snippet


COUNTED = (
    LabelCount("stock", "refund_order", DecisionType.REJECT, 1),
    LabelCount("support", "refund_order", DecisionType.EDIT, 1),
    LabelCount("support", "refund_order", DecisionType.APPROVE, 2),
)


def test_labels_are_counted_by_tool_and_decision_the_most_decided_first() -> None:
    counts = labels_page.counts_of(COUNTED)

    assert list(counts.items()) == [
        (("support", "refund_order"), Counter({DecisionType.APPROVE: 2, DecisionType.EDIT: 1})),
        (("stock", "refund_order"), Counter({DecisionType.REJECT: 1})),
    ]


def test_the_bars_are_exactly_what_was_counted() -> None:
    bars = labels_page.bars_of(labels_page.counts_of(COUNTED))

    assert bars == [
        {"tool": "support · refund_order", "decision": "Approved", "labels": 2, "place": 0},
        {"tool": "support · refund_order", "decision": "Edited", "labels": 1, "place": 1},
        {"tool": "stock · refund_order", "decision": "Rejected", "labels": 1, "place": 2},
    ]


def test_a_tool_shows_the_share_of_each_decision() -> None:
    made = Counter({DecisionType.APPROVE: 2, DecisionType.EDIT: 1})

    cells = labels_page.line_of("support", "refund_order", made).cells

    assert [(cells[name].text, cells[name].under) for name in ("labels", "approve", "edit", "reject")] == [
        ("3", ""),
        ("2", "67%"),
        ("1", "33%"),
        ("–", ""),
    ]


def test_labels_are_downloaded_between_two_moments() -> None:
    assert downloads.decisions_address("labels.csv", EVERY_DECISION) == "/download/labels.csv"
    assert downloads.decisions_address("labels.jsonl", DecisionFilter(since=START)) == (
        "/download/labels.jsonl?since=2026-11-02T09%3A30%3A15.123456%2B00%3A00"
    )


def test_the_address_of_an_export_says_the_whole_filter() -> None:
    of_items = ItemFilter(
        statuses=(Status.SETTLED, Status.EXPIRED),
        agent="support",
        tool="refund & more",
        decision=DecisionType.EDIT,
        execution=Execution.UNKNOWN,
        settled_by="Ada Lovelace",
        text="Größe=1;",
        since=START,
        until=START + timedelta(days=1),
    )
    where = DecisionFilter(of_items, DecisionType.APPROVE, "reviewer-0123456789ab", START, START + timedelta(days=2))

    address = downloads.decisions_address("decisions.csv", where)

    path, _, query = address.partition("?")
    assert path == "/download/decisions.csv"
    assert downloads.decision_filter(QueryParams(query)) == where
    assert downloads.decision_filter(QueryParams("")) == EVERY_DECISION
    with pytest.raises(ValueError, match="acquitted"):
        downloads.decision_filter(QueryParams("decision=acquitted"))


TOOLS = (
    ToolRule(agent="support", tool="refund_order"),
    ToolRule(
        agent="stock",
        tool="reorder",
        autonomy=Autonomy.GUARDED,
        threshold=0.9,
        queue="stock",
        due_in=90,
        permit_for=3601,
        outcome_within=61,
        approve_on_expiry=True,
    ),
)


@pytest.mark.parametrize("tools", [TOOLS, TOOLS[:1], ()])
def test_a_table_of_tools_that_nobody_edited_makes_the_same_rules(tools: tuple[ToolRule, ...]) -> None:
    columns = drafts.tool_columns(tools)

    assert tuple(columns) == drafts.TOOL_COLUMNS
    assert drafts.tool_rules(columns) == (tools, [])


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ({"agent": "not a name", "tool": "x"}, "Row 3 of the tools: agent: "),
        ({"agent": "support"}, "Row 3 of the tools needs an agent and a tool."),
        ({"threshold": 0.5}, "Row 3 of the tools needs an agent and a tool."),
        ({"agent": "support", "tool": "x", "threshold": 1.5}, "Row 3 of the tools: threshold: "),
    ],
)
def test_a_row_that_cannot_be_used_is_named(row: dict[str, object], problem: str) -> None:
    columns = drafts.tool_columns(TOOLS)
    for name, values in columns.items():
        values.append(row.get(name))

    rules, problems = drafts.tool_rules(columns)

    assert rules == TOOLS
    assert [told.startswith(problem) for told in problems] == [True]


def test_a_row_that_is_not_filled_in_is_passed_over() -> None:
    columns = drafts.tool_columns(TOOLS)
    for name, values in columns.items():
        values += [None, False if name == "approve_on_expiry" else float("nan")]

    assert drafts.tool_rules(columns) == (TOOLS, [])


SENSITIVE = (
    Sensitive(tool="refund_order", at=("/note", "/lines/*/to")),
    Sensitive(tool="send_gift", at=("/to",)),
)


@pytest.mark.parametrize("parts", [(), SENSITIVE])
def test_a_table_of_what_is_masked_gives_back_what_it_was_made_of(parts: tuple[Sensitive, ...]) -> None:
    assert drafts.sensitive_parts(drafts.sensitive_columns(parts)) == (parts, [])


def test_a_row_that_names_no_place_is_told_and_one_that_stands_twice_counts_once() -> None:
    columns = {"tool": ["pay", "pay", "pay", None, None, "a b"], "at": ["/iban", " /iban", "iban", None, "/to", "/to"]}

    parts, problems = drafts.sensitive_parts(columns)

    assert parts == (Sensitive(tool="pay", at=("/iban",)),)
    assert {problem.partition(":")[0].split(" of ")[0] for problem in problems} == {"Row 3", "Row 5", "Row 6"}


def test_many_places_of_one_tool_are_kept_in_parts() -> None:
    places = [f"/a{number}" for number in range(120)]

    parts, problems = drafts.sensitive_parts({"tool": ["pay"] * 120, "at": places})

    assert problems == []
    assert [at for part in parts for at in part.at] == places


def test_tools_that_agents_use_and_the_policy_does_not_name_can_be_added() -> None:
    document = PolicyDocument(tools=TOOLS)

    unnamed = drafts.unnamed_tools(document, [a_tool("refund_order", agent="support"), a_tool("call_client")])

    assert unnamed == [ToolRule(agent="support", tool="call_client")]


@pytest.mark.parametrize(
    ("place", "by", "order"), [(0, 1, "bac"), (2, -1, "acb"), (0, -1, "abc"), (2, 1, "abc"), (1, 5, "acb")]
)
def test_a_rule_moves_as_far_as_the_ends(place: int, by: int, order: str) -> None:
    rules = [a_rule(name) for name in "abc"]

    assert "".join(rule.name for rule in drafts.moved(rules, place, by=by)) == order


def test_a_rule_is_replaced_added_or_taken_away() -> None:
    a, b, c = (a_rule(name) for name in "abc")

    assert drafts.put([a, b], c, at=0) == (c, b)
    assert drafts.put([a, b], c, at=None) == (a, b, c)
    assert drafts.without([a, b, c], 1) == (a, c)


QUEUE = Queue(
    name="letters",
    guidelines="Read it aloud.",
    skills=("french",),
    reasons_for=(DecisionType.REJECT,),
    reasons=(ReasonCode.UNSAFE,),
    hides=(DecisionType.RESPOND,),
    due_in=5400,
    raise_to=2,
    move_to="general",
    blind=True,
    one_by_one=True,
)


def queue_values(**changes: object) -> dict[str, object]:
    """Return what the form of a queue holds: that of QUEUE, with changes."""
    return {**QUEUE.model_dump(), "due_in": 90.0, **changes}


def test_a_queue_comes_back_from_its_form() -> None:
    typed = queue_values(name=" letters ", guidelines="Read it aloud.\n", skills=["french", "french "])

    assert drafts.queue_made(typed, others=[Queue(name="general")]) == (QUEUE, [])


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"name": ""}, "name"),
        ({"name": "two words"}, "name"),
        ({"skills": [" "]}, "skills"),
        ({"due_in": 0.001}, "due in"),
        ({"move_to": "letters"}, "The queue letters moves what is overdue to itself."),
        ({"hides": [DecisionType.REJECT]}, "The queue letters hides reject; a person must always be able to say no."),
        ({"name": "general", "move_to": None}, "The queue general stands in the policy already."),
    ],
)
def test_a_queue_that_cannot_stand_is_refused_with_its_problem(changes: dict[str, object], problem: str) -> None:
    queue, problems = drafts.queue_made(queue_values(**changes), others=[Queue(name="general")])

    assert queue is None
    assert [problem in told.replace("_", " ").lower() or problem in told for told in problems] == [True]


def test_a_queue_shows_what_it_asks_for_and_what_becomes_of_the_late() -> None:
    cells = policy_page.queue_line(0, QUEUE).cells

    assert {name: cell.text for name, cell in cells.items()} == {
        "name": "letters",
        "skills": "french",
        "asks": "a reason to reject, no respond, blind second looks, decisions one by one",
        "late": "due in 1 h 30 min, then priority 2, then to general",
    }


def test_a_document_comes_back_from_its_own_text() -> None:
    document = PolicyDocument(rules=(a_rule("doubtful"),), tools=TOOLS, audit_rate=0.1)

    assert drafts.document_in(drafts.as_text(document)) == (document, [])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"version": 1, "version": 1}',
        '{"version": 2}',
        '{"rules": [{"name": "a"}]}',
        '{"audit_rate": NaN}',
        json.dumps({"unknown": 1}),
    ],
)
def test_text_that_is_no_policy_is_refused_with_its_problems(text: str) -> None:
    document, problems = drafts.document_in(text)

    assert document is None
    assert problems


def test_a_draft_has_changes_until_it_is_as_its_base_again() -> None:
    draft = Draft.of(PolicyDocument(), 3)

    changed = draft.with_(audit_rate=0.5)

    assert not draft.has_changes
    assert changed.has_changes
    assert changed.begun_anew(PolicyDocument()) == Draft.of(PolicyDocument(), 3, generation=1)
    assert draft.with_problems(["Row 1"]).has_changes


def test_a_preview_counts_the_answers_before_and_after() -> None:
    items = [an_item(route=Route.EXECUTE), an_item(route=Route.REVIEW), an_item(route=Route.REVIEW)]
    draft = PolicyDocument(tools=(ToolRule(agent="support", tool="refund_order"),))

    found: Preview = preview(compiled(draft), items, in_force=compiled(draft), signals=lambda _: Signals())

    assert policy_page.preview_facts(found) == [
        ("Execute (runs)", "1 → 0"),
        ("Review (a person looks)", "2 → 3"),
        ("Deny (is stopped)", "0 → 0"),
    ]
    changed = next(row for row in found.rows if row.is_changed)
    cells = policy_page.change_line(changed).cells
    assert (cells["answered"].text, cells["would"].text) == ("Execute", "Review")
    assert (cells["changes"].text, cells["why"].text) == ("", "Every refund_order of support is reviewed.")


def test_a_preview_says_in_words_what_would_change_where_the_answer_does_not() -> None:
    tool = ToolRule(agent="support", tool="refund_order")
    draft = PolicyDocument(
        tools=(tool.model_copy(update={"queue": "high-value", "due_in": 1800, "permit_for": 7200}),),
        rules=(Rule(name="all", when="true", route=Route.REVIEW, priority=2, quorum=2, blind=True),),
    )
    in_force = compiled(PolicyDocument(tools=(tool,)))

    (row,) = preview(compiled(draft), [an_item()], in_force=in_force, signals=lambda _: Signals()).rows

    assert policy_page.change_line(row).cells["changes"].text.split("\n") == [
        "general → high-value",
        "priority 5 → priority 2",
        "1 person → 2 people",
        "not blind → blind",
        "due in 4 h → due in 30 min",
        "permitted for 24 h → permitted for 2 h",
    ]


def test_a_preview_says_how_much_of_what_runs_alone_would_be_looked_at() -> None:
    tools = (ToolRule(agent="support", tool="refund_order", autonomy=Autonomy.AUTONOMOUS),)
    draft, in_force = (compiled(PolicyDocument(tools=tools, audit_rate=rate)) for rate in (0.125, 0.05))

    (row,) = preview(draft, [an_item(route=Route.EXECUTE)], in_force=in_force, signals=lambda _: Signals()).rows

    assert policy_page.change_words(row) == ["audit slice 5 % → audit slice 12.5 %"]


def test_a_rule_shows_what_it_asks_for_beside_its_answer() -> None:
    rule = Rule(name="large", when="true", route=Route.REVIEW, queue="high", priority=1, quorum=2, due_in=3600)

    assert policy_page.rule_line(0, rule).cells["asks"].text == "queue high, priority 1, 2 people, due in 1 h"


def test_of_a_run_of_which_nothing_is_left_nothing_is_told() -> None:
    kept = Outcome(status=OutcomeStatus.FAILED)

    assert history_page.outcome_parts(kept) == []
    assert len(history_page.outcome_parts(kept.model_copy(update={"error": "No.", "attempts": 2}))) == 2


@pytest.mark.parametrize(
    ("agent", "tool", "means"),
    [
        (None, None, "Nothing new is permitted and no receipt"),
        ("support", None, "For the agent support nothing new is permitted and no receipt"),
        (None, "refund", "For the tool refund nothing new is permitted and no receipt"),
        ("support", "refund", "For the tool refund of support nothing new is permitted and no receipt"),
    ],
)
def test_the_banner_of_a_pause_says_for_what_nothing_is_permitted(
    agent: str | None, tool: str | None, means: str
) -> None:
    banner = pausing.notice_of(Pause("w", agent, tool, "It is odd", START, "Ada"))

    assert f"UTC. {means}" in banner
    assert "It is odd.<" in banner


def test_a_version_without_a_comment_has_a_dash() -> None:
    assert policy_page.version_line(a_policy(comment="")).cells["comment"].text == "–"
