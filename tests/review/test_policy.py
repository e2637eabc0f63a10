"""The escalation policy: rules, thresholds, and that every doubt brings a person in."""

from dataclasses import fields, replace
from datetime import timedelta
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.protocol import ActionRequest, Impact, Note, OnExpiry, Reason, Reject, Route
from review.errors import InvalidPolicyError
from review.items import PendingDecision, Purpose
from review.policy import (
    MAX_WALKED,
    Asks,
    Autonomy,
    CompiledPolicy,
    PolicyDocument,
    Queue,
    Routing,
    Rule,
    Signals,
    ToolRule,
    compiled,
    default_policy,
    preview,
)
from tests.builders import AGENT, ISSUER, a_claim, a_request, an_action, an_item
from tests.clock import START

TOOL = "refund_order"
EVERYTHING = "true"
COUNTS = {"user": 1, "tool": 0, "untrusted": 0, "nowhere": 2}


def a_rule(when: str = EVERYTHING, route: Route = Route.REVIEW, **fields: Any) -> Rule:  # noqa: ANN401 -- whatever the rule takes
    return Rule(**({"name": "the rule", "when": when, "route": route} | fields))


def a_tool_rule(autonomy: Autonomy = Autonomy.GUARDED, **fields: Any) -> ToolRule:  # noqa: ANN401 -- whatever the rule takes
    given: dict[str, Any] = {"agent": AGENT, "tool": TOOL, "autonomy": autonomy, "threshold": 0.9}
    return ToolRule(**(given | fields))


def a_compiled(*rules: Rule, tool: ToolRule | None = None, **fields: Any) -> CompiledPolicy:  # noqa: ANN401 -- whatever the document takes
    return compiled(PolicyDocument(rules=rules, tools=(tool or a_tool_rule(),), **fields))


def routed(policy: CompiledPolicy, request: ActionRequest | None = None, **signals: Any) -> Routing:  # noqa: ANN401 -- whatever the policy asks for
    given: dict[str, Any] = {"agent": AGENT, "now": START, "grounding": None}
    return policy.route(request or a_request(confidence=0.95), **(given | signals))


def codes(routing: Routing) -> list[str]:
    return [reason.code for reason in routing.reasons]


@pytest.mark.parametrize(
    ("autonomy", "confidence", "route", "code"),
    [
        (Autonomy.SHADOW, 1.0, Route.REVIEW, "shadow"),
        (Autonomy.SUPERVISED, 1.0, Route.REVIEW, "supervised"),
        (Autonomy.GUARDED, 0.9, Route.EXECUTE, "threshold_reached"),
        (Autonomy.GUARDED, 0.8999, Route.REVIEW, "below_threshold"),
        (Autonomy.GUARDED, 0.0, Route.REVIEW, "below_threshold"),
        (Autonomy.GUARDED, None, Route.REVIEW, "no_confidence"),
        (Autonomy.AUTONOMOUS, 0.0, Route.EXECUTE, "autonomous"),
        (Autonomy.AUTONOMOUS, None, Route.EXECUTE, "autonomous"),
    ],
)
def test_autonomy_decides_where_no_rule_holds(
    autonomy: Autonomy, confidence: float | None, route: Route, code: str
) -> None:
    policy = a_compiled(tool=a_tool_rule(autonomy))

    routing = routed(policy, a_request(confidence=confidence))

    assert (routing.route, codes(routing), routing.audited) == (route, [code], route is Route.EXECUTE)


def test_a_guarded_tool_without_a_threshold_is_reviewed() -> None:
    policy = a_compiled(tool=a_tool_rule(threshold=None))

    routing = routed(policy, a_request(confidence=1.0))

    assert (routing.route, codes(routing)) == (Route.REVIEW, ["no_threshold"])


def test_a_tool_in_other_hands_is_unknown() -> None:
    policy = a_compiled(a_rule(route=Route.EXECUTE), tool=a_tool_rule(agent="another", autonomy=Autonomy.AUTONOMOUS))

    routing = routed(policy)

    assert (routing.route, codes(routing)) == (Route.REVIEW, ["unknown_tool"])


@pytest.mark.parametrize(("tool", "quorum"), [(TOOL, 1), ("never_heard_of", 2)])
def test_a_rule_can_ask_for_two_people_where_the_tool_is_unknown(tool: str, quorum: int) -> None:
    policy = a_compiled(a_rule("!tool.known", quorum=2))

    assert routed(policy, a_request(action=an_action(tool), confidence=1.0)).quorum == quorum


@pytest.mark.parametrize(
    ("version", "route"),
    [("2.1", Route.EXECUTE), ("2.2", Route.REVIEW), (None, Route.REVIEW), ("", Route.REVIEW)],
)
def test_only_known_versions_of_a_named_agent_run(version: str | None, route: Route) -> None:
    policy = a_compiled(agent_versions={AGENT: ("2.0", "2.1")})

    routing = routed(policy, a_request(confidence=1.0, agent_version=version))

    assert routing.route is route


def test_an_agent_that_is_not_named_may_have_any_version() -> None:
    policy = a_compiled(agent_versions={"another": ("1",)})

    routing = routed(policy, a_request(confidence=1.0, agent_version="9"))

    assert routing.route is Route.EXECUTE


def test_the_first_rule_that_holds_wins() -> None:
    policy = a_compiled(
        a_rule("args.amount == '1'", Route.DENY, name="never"),
        a_rule(
            "args.amount == '49.90'",
            Route.REVIEW,
            name="first",
            queue="money",
            priority=1,
            quorum=2,
            due_in=60,
        ),
        a_rule(EVERYTHING, Route.DENY, name="later", queue="other", priority=0, quorum=3),
    )

    routing = routed(policy)

    assert routing == Routing(
        route=Route.REVIEW,
        reasons=(Reason(code="rule", text="The rule first answers review."),),
        queue="money",
        priority=1,
        quorum=2,
        due_in=60,
        expires_in=24 * 3600,
        audited=False,
        permit_for=24 * 3600,
    )


def test_a_deny_stands_whatever_else_is_wrong() -> None:
    policy = a_compiled(a_rule("action.name == 'drop_all'", Route.DENY, reason="Nobody drops everything."))

    routing = routed(policy, a_request(action=an_action("drop_all")), invalid_args=True)

    assert (routing.route, [reason.text for reason in routing.reasons]) == (
        Route.DENY,
        ["Nobody drops everything."],
    )


@pytest.mark.parametrize("confidence", [None, 0.1])
def test_an_execute_rule_waives_a_missing_or_low_confidence(confidence: float | None) -> None:
    policy = a_compiled(a_rule(route=Route.EXECUTE, reason="Looking things up is harmless."))

    routing = routed(policy, a_request(confidence=confidence))

    assert (routing.route, routing.audited) == (Route.EXECUTE, True)
    assert [reason.text for reason in routing.reasons] == ["Looking things up is harmless."]


@pytest.mark.parametrize(
    ("fields", "signals", "code"),
    [
        ({"tool": a_tool_rule(Autonomy.SHADOW)}, {}, "shadow"),
        ({"tool": a_tool_rule(Autonomy.SUPERVISED)}, {}, "supervised"),
        ({"tool": a_tool_rule(tool="another")}, {}, "unknown_tool"),
        ({"agent_versions": {AGENT: ("1",)}}, {}, "unknown_agent_version"),
        ({}, {"invalid_args": True}, "invalid_args"),
        ({}, {"escalate": (Reason(code="loop", text="It was rejected before."),)}, "loop"),
    ],
)
def test_an_execute_rule_waives_nothing_else(fields: dict[str, Any], signals: dict[str, Any], code: str) -> None:
    policy = a_compiled(a_rule(route=Route.EXECUTE), **fields)

    routing = routed(policy, **signals)

    assert (routing.route, codes(routing)) == (Route.REVIEW, [code])


def test_every_reason_that_applies_is_told() -> None:
    policy = a_compiled(a_rule("args.nothing == 1", name="broken"), agent_versions={AGENT: ("1",)})
    loop = Reason(code="loop", text="It was rejected before.")

    routing = routed(policy, a_request(confidence=0.2), invalid_args=True, escalate=(loop,))

    assert codes(routing) == [
        "unknown_agent_version",
        "rule_failed",
        "loop",
        "invalid_args",
        "below_threshold",
    ]
    assert all(reason.text.endswith(".") for reason in routing.reasons)


@pytest.mark.parametrize(
    ("signals", "code"),
    [
        ({"provenance": COUNTS | {"untrusted": 1}}, "untrusted_source"),
        ({"rejections": 1}, "repeated_after_rejection"),
    ],
)
@pytest.mark.parametrize("autonomy", [Autonomy.GUARDED, Autonomy.AUTONOMOUS])
def test_no_rule_and_no_autonomy_waives_a_signal_of_ours(
    autonomy: Autonomy, signals: dict[str, Any], code: str
) -> None:
    policy = a_compiled(a_rule(route=Route.EXECUTE), tool=a_tool_rule(autonomy))
    patient = a_request(confidence=1.0, on_expiry=OnExpiry.APPROVE)

    routing = routed(policy, patient, **signals)

    assert (routing.route, codes(routing), routing.audited) == (Route.REVIEW, [code], False)
    assert not policy.approves_on_expiry(an_item(request=patient, route=routing.route, reasons=routing.reasons))
    assert codes(routed(policy, patient, provenance=COUNTS)) == ["rule"]


def test_a_denied_repeat_says_that_it_is_one() -> None:
    policy = a_compiled(a_rule("rejections >= 2", Route.DENY))

    assert codes(routed(policy, rejections=2)) == ["rule", "repeated_after_rejection"]
    assert codes(routed(policy, rejections=1)) == ["repeated_after_rejection"]


def test_a_tool_has_a_quarter_of_an_hour_to_tell_its_outcome_unless_its_rule_says_otherwise() -> None:
    policy = a_compiled(tool=a_tool_rule(outcome_within=90))

    assert policy.outcome_within(AGENT, TOOL) == timedelta(seconds=90)
    assert policy.outcome_within(AGENT, "unknown") == timedelta(minutes=15)


@pytest.mark.parametrize(
    "when",
    [
        "args.missing == 'x'",
        "confidence < 'a'",
        "1",
        "'true'",
        "null",
        "grounding < 0.5",
        "novelty > 0.5",
        "provenance.untrusted > 0",
        "impact.amount > 'many'",
        "args.order_id[0] == 'A'",
        "args.order_id.matches('(')",
        "1 / 0 == 1",
    ],
)
def test_a_rule_that_gives_no_answer_brings_a_person_in(when: str) -> None:
    policy = a_compiled(a_rule(when, name="broken"), a_rule(route=Route.EXECUTE, name="let it"))

    routing = routed(policy)

    assert (routing.route, codes(routing)) == (Route.REVIEW, ["rule_failed"])
    assert "broken" in routing.reasons[0].text


def test_a_rule_that_failed_still_asks_for_its_quorum_and_urgency() -> None:
    policy = a_compiled(a_rule("args.missing == 'x'", queue="money", quorum=3, priority=1, due_in=60))

    routing = routed(policy)

    assert (routing.queue, routing.quorum, routing.priority, routing.due_in) == ("money", 3, 1, 60)


@pytest.mark.parametrize(
    "when",
    [
        "action.name == 'refund_order' && action.args.order_id == 'A-1001'",
        "args['order_id'].startsWith('A-')",
        "'order_id' in args && size(args) == 3",
        "confidence == 0.95",
        "has(impact.amount) && impact.amount > 49.0 && impact.amount < 50.0",
        "!has(impact.subject) || impact.subject.contains('A-1001')",
        "impact.reversible && impact.currency == 'EUR'",
        "agent.name == 'support' && agent.version == null",
        "tool.name == action.name && tool.known",
        "!has(usage.cost)",
        "novelty == 0.25 && grounding == 0.5",
        "provenance.untrusted == 0 && provenance.nowhere >= 2 && provenance['user'] == 1",
        "rejections == 3 && rejections >= 2",
        "now > timestamp('2026-01-01T00:00:00Z') && now.getHours() == 9",
        "args.exists(name, args[name] == '49.90')",
        "args . order_id != 'x' // a comment",
    ],
)
def test_rules_read_what_is_known_of_the_action(when: str) -> None:
    policy = a_compiled(a_rule(when, Route.DENY))

    routing = routed(policy, grounding=0.5, novelty=0.25, provenance=COUNTS, rejections=3)

    assert routing.route is Route.DENY, routing.reasons


@pytest.mark.parametrize(
    ("when", "problem"),
    [
        ("colour == 'red'", "names the unknown variable colour"),
        ("shout(args.a)", "calls the unknown function shout"),
        ("args.a ==", "does not compile: 1:"),
        ("args.list.map(x, x).size() > 1", "uses map or filter"),
        ("args.list.filter(x, x > 1).size() > 1", "uses map or filter"),
        ("args.a.exists(x, args.b.exists(y, x == y))", "walks a list inside the walk of another"),
        (
            r"r'\' == 'x' && args.a.all(x, x.all(y, true)) || 'y' == ''",
            "walks a list inside the walk of another",
        ),
        ("(" * 17 + "true" + ")" * 17, "is nested 17 brackets deep"),
        ("true" + " && true" * 200, "has 401 words and signs"),
    ],
)
def test_a_rule_that_cannot_be_run_safely_is_refused_by_name(when: str, problem: str) -> None:
    document = PolicyDocument(rules=(a_rule(when, name="suspect"),))

    with pytest.raises(InvalidPolicyError) as refused:
        compiled(document)

    assert len(refused.value.problems) == 1
    assert refused.value.problems[0].startswith(f"The rule suspect {problem}")


def test_brackets_and_macros_within_texts_do_not_count() -> None:
    policy = a_compiled(a_rule("args.order_id != '" + "(.map(" * 20 + "' // ((((((((((((((((((((((((((", Route.DENY))

    assert routed(policy).route is Route.DENY


def test_every_problem_of_a_document_is_told_at_once() -> None:
    document = PolicyDocument(
        rules=(a_rule(), a_rule(), a_rule("x > 1 && y > 1", name="two")), tools=(a_tool_rule(), a_tool_rule())
    )

    with pytest.raises(InvalidPolicyError) as refused:
        compiled(document)

    assert [problem.split(";")[0] for problem in refused.value.problems] == [
        "Two rules are named the rule.",
        "The tool refund_order of support stands twice in the policy.",
        "The rule two names the unknown variable x",
        "The rule two names the unknown variable y",
    ]


@pytest.mark.parametrize(("length", "route"), [(MAX_WALKED, Route.EXECUTE), (MAX_WALKED + 1, Route.REVIEW)])
def test_a_rule_does_not_walk_very_long_lists(length: int, route: Route) -> None:
    policy = a_compiled(a_rule("args.skus.exists(sku, sku == 'gold')"))

    routing = routed(policy, a_request(action=an_action(skus=["a"] * length), confidence=1.0))

    assert routing.route is route


@pytest.mark.parametrize("low", [None, 0.0, 0.5])
def test_confidence_in_a_rule_only_makes_the_answer_stricter(low: float | None) -> None:
    sure = a_rule("confidence != null && confidence > 0.9", Route.EXECUTE, name="sure", priority=9)
    large = a_rule("impact.amount > 10.0", Route.REVIEW, name="large", quorum=2, priority=1)
    policy = a_compiled(sure, large)

    confident, doubtful = (
        routed(policy, a_request(confidence=0.99)),
        routed(policy, a_request(confidence=low)),
    )

    assert (confident.route, confident.quorum, confident.priority) == (Route.REVIEW, 2, 1)
    assert (doubtful.route, doubtful.quorum, doubtful.priority) == (Route.REVIEW, 2, 1)


def test_a_rule_on_confidence_does_not_waive_the_threshold() -> None:
    policy = a_compiled(a_rule("confidence > 0.5", Route.EXECUTE))

    routing = routed(policy, a_request(confidence=0.6))

    assert (routing.route, codes(routing)) == (Route.REVIEW, ["below_threshold"])


_STRICT = {Route.EXECUTE: 0, Route.REVIEW: 1, Route.DENY: 2}
_RULES = st.lists(
    st.builds(
        lambda when, route, quorum, priority: (when, route, quorum, priority),
        st.sampled_from(["true", "false", "confidence > 0.5", "confidence > 0.8", "impact.amount > 10.0"]),
        st.sampled_from(Route),
        st.integers(1, 3),
        st.integers(0, 9),
    ),
    max_size=5,
)


@given(rules=_RULES, autonomy=st.sampled_from(Autonomy), confidence=st.floats(0, 1))
def test_the_answer_is_never_weaker_than_that_of_the_rules_without_confidence(
    rules: list[tuple[str, Route, int, int]], autonomy: Autonomy, confidence: float
) -> None:
    made = [
        a_rule(when, route, name=f"rule {place}", quorum=quorum, priority=priority)
        for place, (when, route, quorum, priority) in enumerate(rules)
    ]
    without = [rule for rule in made if "confidence" not in rule.when]
    request = a_request(confidence=confidence)

    whole = routed(a_compiled(*made, tool=a_tool_rule(autonomy)), request)

    bare = routed(a_compiled(*without, tool=a_tool_rule(autonomy)), request)
    assert _STRICT[whole.route] >= _STRICT[bare.route]
    assert whole.quorum >= bare.quorum
    assert whole.priority <= bare.priority


@pytest.mark.parametrize(
    ("rule_queue", "tool_queue", "queue"),
    [("money", "refunds", "money"), (None, "refunds", "refunds"), (None, None, "general")],
)
def test_the_queue_is_the_rules_then_the_tools_then_the_documents(
    rule_queue: str | None, tool_queue: str | None, queue: str
) -> None:
    policy = a_compiled(a_rule(queue=rule_queue), tool=a_tool_rule(queue=tool_queue))

    assert routed(policy).queue == queue


@pytest.mark.parametrize(
    ("expires_in", "due_in", "found"),
    [(None, None, (14_400, 86_400)), (600, None, (600, 600)), (600, 60, (60, 600))],
)
def test_nothing_is_due_after_it_has_expired(
    expires_in: int | None, due_in: int | None, found: tuple[int, int]
) -> None:
    policy = a_compiled(tool=a_tool_rule(due_in=due_in))

    routing = routed(policy, a_request(expires_in=expires_in))

    assert (routing.due_in, routing.expires_in) == found


def test_an_approval_in_shadow_permits_nothing() -> None:
    policy = a_compiled(tool=a_tool_rule(Autonomy.SHADOW, permit_for=60))

    assert (routed(policy).permit_for, policy.permit_for(AGENT, TOOL)) == (0, timedelta(0))


@pytest.mark.parametrize(("tool", "seconds"), [(TOOL, 60), ("another", 86_400)])
def test_an_approval_permits_execution_for_as_long_as_the_tool_says(tool: str, seconds: int) -> None:
    policy = a_compiled(tool=a_tool_rule(permit_for=60))

    assert policy.permit_for(AGENT, tool) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("autonomy", "permitted", "asked", "signals", "approves"),
    [
        (Autonomy.SUPERVISED, True, OnExpiry.APPROVE, {}, True),
        (Autonomy.GUARDED, True, OnExpiry.APPROVE, {}, True),
        (Autonomy.SHADOW, True, OnExpiry.APPROVE, {}, False),
        (Autonomy.SUPERVISED, False, OnExpiry.APPROVE, {}, False),
        (Autonomy.SUPERVISED, True, OnExpiry.REJECT, {}, False),
        (Autonomy.SUPERVISED, True, OnExpiry.APPROVE, {"invalid_args": True}, False),
    ],
)
def test_an_item_is_approved_on_expiry_only_where_its_autonomy_alone_held_it_up(
    *, autonomy: Autonomy, permitted: bool, asked: OnExpiry, signals: dict[str, Any], approves: bool
) -> None:
    policy = a_compiled(tool=a_tool_rule(autonomy, approve_on_expiry=permitted))
    request = a_request(on_expiry=asked)

    routing = routed(policy, request, **signals)

    item = an_item(request=request, reasons=routing.reasons)
    assert policy.approves_on_expiry(item) is approves


@pytest.mark.parametrize(
    "fields", [{"quorum": 2}, {"purpose": Purpose.AUDIT}, {"draft": an_action()}, {"route": Route.DENY}]
)
def test_an_item_that_needs_more_than_one_look_is_not_approved_on_expiry(fields: dict[str, Any]) -> None:
    policy = a_compiled(tool=a_tool_rule(approve_on_expiry=True))
    item = an_item(request=a_request(on_expiry=OnExpiry.APPROVE), **fields)

    assert not policy.approves_on_expiry(item)


@pytest.mark.parametrize(
    ("held_for", "approves"), [(timedelta(hours=24), True), (timedelta(hours=24, microseconds=1), False)]
)
def test_what_somebody_holds_when_its_time_is_up_is_not_approved_on_expiry(
    *, held_for: timedelta, approves: bool
) -> None:
    policy = a_compiled(tool=a_tool_rule(approve_on_expiry=True))
    request = a_request(on_expiry=OnExpiry.APPROVE)
    item = an_item(request=request, reasons=routed(policy, request).reasons, claim=a_claim(until=START + held_for))

    assert policy.approves_on_expiry(replace(item, expires_at=START + timedelta(hours=24))) is approves


@pytest.mark.parametrize(("authors", "approves"), [((), True), (("reviewer",), False), (("reviewer", "agent"), True)])
def test_what_a_reviewer_waits_to_have_answered_is_not_approved_on_expiry(
    *, authors: tuple[Literal["reviewer", "agent"], ...], approves: bool
) -> None:
    policy = a_compiled(tool=a_tool_rule(approve_on_expiry=True))
    request = a_request(on_expiry=OnExpiry.APPROVE)
    item = an_item(request=request, reasons=routed(policy, request).reasons)
    notes = [Note(author=author, text="Is it hers?", at=START) for author in authors]

    assert policy.approves_on_expiry(item, notes=notes) is approves


def test_what_somebody_has_decided_is_not_approved_on_expiry() -> None:
    policy = a_compiled(tool=a_tool_rule(approve_on_expiry=True))
    request = a_request(on_expiry=OnExpiry.APPROVE)
    made = PendingDecision(
        decision=Reject(),
        iss=ISSUER,
        sub="ada",
        name="Ada",
        digest_seen="",
        dwell_ms=1,
        decided_at=START,
        settles_at=START,
    )

    item = an_item(request=request, reasons=routed(policy, request).reasons, pending=made)

    assert not policy.approves_on_expiry(item)


def test_a_rule_that_held_keeps_the_item_from_being_approved_on_expiry() -> None:
    policy = a_compiled(a_rule(), tool=a_tool_rule(approve_on_expiry=True))
    request = a_request(on_expiry=OnExpiry.APPROVE)

    item = an_item(request=request, reasons=routed(policy, request).reasons)

    assert not policy.approves_on_expiry(item)


def test_values_that_the_engine_cannot_hold_bring_a_person_in() -> None:
    policy = a_compiled(a_rule("args.order_id == 'x'"), tool=a_tool_rule(Autonomy.AUTONOMOUS))

    routing = routed(policy, a_request(action=an_action(order_id="\ud800")))

    assert (routing.route, codes(routing)) == (Route.REVIEW, ["rule_failed"])


def test_the_default_policy_supervises_each_known_tool() -> None:
    policy = compiled(default_policy({AGENT: [TOOL, "look_up"]}))

    known, unknown = routed(policy), routed(policy, agent="stranger")

    assert (codes(known), codes(unknown)) == (["supervised"], ["unknown_tool"])


def test_a_preview_compares_a_draft_with_what_was_answered() -> None:
    draft = a_compiled(a_rule("impact.amount > 1000.0", Route.DENY, name="huge"))
    small = an_item(request=a_request(confidence=0.95))
    huge = an_item(request=a_request(impact=Impact(amount="5000")))
    invalid = an_item(
        request=a_request(confidence=0.95), reasons=(Reason(code="invalid_args", text="They do not fit."),)
    )

    found = preview(draft, [small, huge, invalid], in_force=draft, signals=lambda _: Signals())

    assert [(row.item_id, row.routing.route, row.is_changed) for row in found.rows] == [
        (small.id, Route.EXECUTE, True),
        (huge.id, Route.DENY, True),
        (invalid.id, Route.REVIEW, False),
    ]
    assert found.counts == {
        (Route.REVIEW, Route.EXECUTE): 1,
        (Route.REVIEW, Route.DENY): 1,
        (Route.REVIEW, Route.REVIEW): 1,
    }


@pytest.mark.parametrize(
    ("item", "draft", "asked", "would_ask"),
    [
        ({}, {}, Asks(), Asks()),
        ({}, {"default_queue": "late"}, Asks(queue="general"), Asks(queue="late")),
        ({}, {"default_priority": 2}, Asks(priority=5), Asks(priority=2)),
        ({}, {"default_due_in": 600}, Asks(due_in=4 * 3600), Asks(due_in=600)),
        ({}, {"default_expires_in": 20 * 3600}, Asks(expires_in=24 * 3600), Asks(expires_in=20 * 3600)),
        ({"quorum": 2, "blind": True}, {}, Asks(quorum=2, blind=True), Asks(quorum=1, blind=False)),
        ({"breached_at": START}, {"default_queue": "late"}, Asks(queue="general"), Asks(queue="late")),
    ],
)
def test_a_preview_tells_what_a_review_would_ask_for_otherwise(
    item: dict[str, Any], draft: dict[str, Any], asked: Asks, would_ask: Asks
) -> None:
    tools = (a_tool_rule(),)
    in_force = compiled(PolicyDocument(tools=tools))
    tried = compiled(PolicyDocument(tools=tools, **draft))

    (row,) = preview(tried, [an_item(**item)], in_force=in_force, signals=lambda _: Signals()).rows

    assert row.routing.route is row.answered
    assert row.is_changed == (asked != would_ask)
    differing = [each for each in fields(Asks) if getattr(row.asked, each.name) != getattr(row.would_ask, each.name)]
    assert Asks(**{each.name: getattr(row.asked, each.name) for each in differing}) == asked
    assert Asks(**{each.name: getattr(row.would_ask, each.name) for each in differing}) == would_ask


def test_what_its_queue_did_with_a_late_item_is_no_change_of_the_drafts() -> None:
    queue = Queue(name="general", raise_to=1, move_to="late")
    policy = compiled(PolicyDocument(tools=(a_tool_rule(),), queues=(queue, Queue(name="late"))))
    moved = an_item(queue="late", priority=1, breached_at=START)

    (row,) = preview(policy, [moved], in_force=policy, signals=lambda _: Signals()).rows

    assert not row.is_changed


def test_a_preview_tells_of_another_audit_slice_and_another_permission() -> None:
    tools = [a_tool_rule(Autonomy.AUTONOMOUS, permit_for=seconds) for seconds in (3600, 60)]
    in_force, draft = (
        compiled(PolicyDocument(tools=(tool,), audit_rate=rate)) for tool, rate in zip(tools, (0.05, 0.2), strict=True)
    )
    ran = an_item(route=Route.EXECUTE, queue="elsewhere")

    (row,) = preview(draft, [ran], in_force=in_force, signals=lambda _: Signals()).rows

    assert (row.asked, row.would_ask) == (Asks(audit_rate=0.05, permit_for=3600), Asks(audit_rate=0.2, permit_for=60))
    assert row.is_changed
