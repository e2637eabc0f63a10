"""The gate's way of one action, step by step without I/O: above all, everything that must keep it shut."""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest
from joserfc.jwk import OKPKey

from agents.canonical import action_digest
from agents.client import Exchange, Pause, Reply, Run, body_of
from agents.errors import (
    AlreadyConsumedError,
    AnswerUnreadableError,
    EditRefusedError,
    GateError,
    KeySetError,
    NotPermittedError,
    ReceiptClaimError,
    ReceiptDigestError,
    ReceiptError,
    ReceiptKeyError,
    ReceiptSignatureError,
    ReceiptTimeError,
    RequestInvalidError,
    ServerAwayError,
    ServerRefusedError,
    UndecidedError,
)
from agents.execution import Breaker, OvertimeError, Ran, RunPlan, Traffic
from agents.gate import MAX_REMEMBERED, Gate, Proposal, Told, failed, remember, request_for, succeeded
from agents.protocol import MAX_DEPTH, Action, ActionRequest, Args, Impact, Outcome, OutcomeStatus
from tests.agents.answers import (
    ARGS,
    ITEM_ID,
    KEY,
    OTHER_KEY,
    TOOL,
    key_set,
    paths,
    problem,
    receipt,
    reply,
    status,
    taken,
)

URL = "http://127.0.0.1:9"
EDITED: Args = {**ARGS, "amount": "10.00"}
EDIT = {"type": "edit", "edited_action": {"name": TOOL, "args": EDITED}}
STARTED = reply(status(execution="started", receipt=None))
REPORTED = reply(status(execution="succeeded", receipt=None))
WAITING = status(status="waiting", decision=None, receipt=None, execution="none")


def allow_edit(args: Args) -> None:
    assert args == EDITED


def a_proposal(*, timeout: float | None = None, check_edit: Callable[[Args], None] = allow_edit) -> Proposal:
    request = ActionRequest(action=Action(name=TOOL, args=ARGS))
    return Proposal(request, "call-1", timeout, check_edit, succeeded)


def a_gate(trusted_keys: Any = None, **settings: Any) -> Gate:  # noqa: ANN401 -- any of the gate's settings
    return Gate(URL, "sgn_test_key", trusted_keys=trusted_keys or key_set(KEY), attempts=1, **settings)


def went(*answers: object, gate: Gate | None = None, proposal: Proposal | None = None) -> tuple[list[object], Any]:
    return taken((gate or a_gate()).steps(proposal or a_proposal()), *answers)


def ran_with(steps: list[object]) -> list[Args]:
    return [step.args for step in steps if isinstance(step, Run)]


def outcome(steps: list[object]) -> Outcome:
    exchange = steps[-1]
    assert isinstance(exchange, Exchange)
    assert exchange.body is not None
    return Outcome.model_validate_json(exchange.body)


def test_an_approved_action_is_consumed_then_run_then_reported() -> None:
    steps, answer = went(reply(status(), 201), STARTED, Ran("done"), REPORTED)

    assert paths(steps) == [
        "POST /actions",
        f"POST /actions/{ITEM_ID}/consume",
        "run",
        f"POST /actions/{ITEM_ID}/outcome",
    ]
    assert ran_with(steps) == [ARGS]
    assert answer == Ran("done")
    assert outcome(steps) == Outcome(status=OutcomeStatus.SUCCEEDED, result="done")


def test_an_edited_action_runs_as_it_was_edited() -> None:
    edited = receipt(decision="edit", args_digest=action_digest(TOOL, EDITED))

    steps, _ = went(reply(status(decision=EDIT, receipt=edited)), STARTED, Ran("done"), REPORTED)

    assert ran_with(steps) == [EDITED]


def test_an_action_that_the_policy_lets_run_waits_for_nobody() -> None:
    let = receipt(reviewers=[], quorum=0)

    steps, _ = went(reply(status(route="execute", receipt=let), 201), STARTED, Ran("done"), REPORTED)

    assert ran_with(steps) == [ARGS]


def test_the_keys_are_fetched_before_the_first_submission_and_then_kept() -> None:
    gate = Gate(URL, "sgn_test_key", attempts=1)
    first = [reply(key_set(KEY)), reply(status()), STARTED, Ran(), REPORTED]

    steps, _ = went(*first, gate=gate)
    again, _ = went(*first[1:], gate=gate)

    assert paths(steps)[0] == "GET /.well-known/jwks.json"
    assert paths(again)[0] == "POST /actions"


def test_of_the_fetched_keys_only_the_pinned_ones_are_trusted() -> None:
    gate = Gate(URL, "sgn_test_key", trusted_keys=[KEY.thumbprint()], attempts=1)
    both = reply(key_set(KEY, OTHER_KEY))
    forged = reply(status(receipt=receipt(OTHER_KEY)))

    with pytest.raises(ReceiptKeyError):
        went(both, forged, gate=gate)


def test_a_pinned_key_that_the_console_takes_up_later_is_fetched() -> None:
    gate = Gate(URL, "sgn_test_key", trusted_keys=[KEY.thumbprint(), OTHER_KEY.thumbprint()], attempts=1)
    turned = reply(status(receipt=receipt(OTHER_KEY)))
    answers = [reply(key_set(KEY)), turned, reply(key_set(KEY, OTHER_KEY)), STARTED, Ran("done"), REPORTED]

    _, answer = went(*answers, gate=gate)

    assert answer == Ran("done")


@pytest.mark.parametrize("keys", [key_set(), key_set(OTHER_KEY), {"keys": [{"kty": "RSA"}]}])
def test_a_key_set_without_a_trusted_key_stops_everything(keys: Mapping[str, Any]) -> None:
    gate = Gate(URL, "sgn_test_key", trusted_keys=[KEY.thumbprint()], attempts=1)

    with pytest.raises(KeySetError):
        went(reply(keys), gate=gate)


def test_one_thumbprint_is_not_taken_for_a_list_of_them() -> None:
    with pytest.raises(TypeError):
        Gate(URL, "sgn_test_key", trusted_keys=KEY.thumbprint())


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"receipt": receipt(OTHER_KEY)}, ReceiptKeyError),
        ({"receipt": receipt(OTHER_KEY, header={"kid": KEY.thumbprint()})}, ReceiptSignatureError),
        ({"receipt": receipt(exp=int(time.time()) - 3600)}, ReceiptTimeError),
        ({"receipt": receipt(tool="refund_all")}, ReceiptClaimError),
        ({"receipt": receipt(sub="01932b5e-7000-7000-8000-00000000ffff")}, ReceiptClaimError),
        ({"receipt": receipt(args_digest=action_digest(TOOL, EDITED))}, ReceiptDigestError),
        ({"receipt": receipt(original_digest=action_digest(TOOL, EDITED))}, ReceiptDigestError),
        ({"receipt": "not.a.receipt"}, ReceiptError),
        ({"decision": EDIT}, ReceiptDigestError),
        ({"decision": EDIT, "receipt": receipt(args_digest=action_digest(TOOL, EDITED))}, ReceiptDigestError),
        (
            {"receipt": receipt(decision="edit", args_digest=action_digest(TOOL, ARGS))},
            ReceiptClaimError,
        ),
        (
            {
                "decision": EDIT,
                "receipt": receipt(
                    decision="edit",
                    args_digest=action_digest(TOOL, EDITED),
                    original_digest=action_digest(TOOL, EDITED),
                ),
            },
            ReceiptDigestError,
        ),
        ({"receipt": None}, NotPermittedError),
        ({"decision": None}, NotPermittedError),
        ({"execution": "none"}, NotPermittedError),
        ({"execution": "started", "receipt": None}, AlreadyConsumedError),
        ({"execution": "succeeded", "receipt": None}, AlreadyConsumedError),
        ({"execution": "unknown", "receipt": None}, AlreadyConsumedError),
        ({"route": "execute", "receipt": None}, NotPermittedError),
    ],
)
def test_a_permission_in_doubt_is_neither_consumed_nor_run(changes: dict[str, Any], error: type[GateError]) -> None:
    steps = a_gate().steps(a_proposal())
    next(steps)

    with pytest.raises(error):
        steps.send(reply(status(**changes)))


def test_a_receipt_for_another_agent_is_refused() -> None:
    with pytest.raises(ReceiptClaimError):
        went(reply(status()), gate=a_gate(agent="inventory"))


def test_the_agent_of_the_first_receipt_is_kept() -> None:
    gate = a_gate()
    went(reply(status()), STARTED, Ran(), REPORTED, gate=gate)

    with pytest.raises(ReceiptClaimError):
        went(reply(status(receipt=receipt(aud="inventory"))), gate=gate)


def test_an_edit_that_names_another_tool_is_refused() -> None:
    other = {"type": "edit", "edited_action": {"name": "refund_all", "args": ARGS}}

    with pytest.raises(EditRefusedError, match="refund_all"):
        went(reply(status(decision=other)))


def test_an_edit_that_the_tool_cannot_run_is_refused_before_it_is_consumed() -> None:
    def refuse(_: Args) -> None:
        raise EditRefusedError(TOOL, why="amount is no number.")

    with pytest.raises(EditRefusedError, match="amount"):
        went(reply(status(decision=EDIT)), proposal=a_proposal(check_edit=refuse))


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (problem(409, "already_consumed"), AlreadyConsumedError),
        (problem(403, "digest_mismatch"), ServerRefusedError),
        (problem(403, "receipt_refused"), ServerRefusedError),
        (ServerAwayError(why="connection reset"), ServerAwayError),
        (reply({}, 502), ServerAwayError),
        (reply({}), AnswerUnreadableError),
        (reply(status()), NotPermittedError),
    ],
)
def test_nothing_runs_unless_the_console_says_that_the_receipt_is_consumed(
    answer: object, error: type[GateError]
) -> None:
    with pytest.raises(error):
        went(reply(status()), answer)


@pytest.mark.parametrize(
    "answer",
    [
        ServerAwayError(why="connection refused"),
        problem(401, "key_refused"),
        problem(422, "idempotency_mismatch"),
    ],
)
def test_nothing_runs_that_could_not_be_submitted(answer: object) -> None:
    with pytest.raises(GateError):
        went(answer)


@pytest.mark.parametrize(
    ("changes", "words", "is_error"),
    [
        (
            {"route": "deny", "reasons": [{"code": "rule", "text": "Refunds stop at 500."}]},
            "Refunds stop at 500.",
            True,
        ),
        ({"decision": {"type": "reject", "message": "Wrong order."}}, "Wrong order.", True),
        ({"decision": {"type": "reject"}}, "gave no reason", True),
        ({"decision": {"type": "respond", "message": "Offer a voucher."}}, "Offer a voucher.", False),
        (
            {"status": "expired", "decision": {"type": "reject", "message": "Too late."}},
            "before it expired",
            True,
        ),
        ({"status": "cancelled", "decision": None}, "withdrawn", True),
    ],
)
def test_what_is_not_permitted_is_told_in_words(changes: dict[str, Any], words: str, is_error: bool) -> None:  # noqa: FBT001 -- a column of the table
    steps, answer = went(reply(status(**{"receipt": None, "execution": "none", **changes})))

    assert paths(steps) == ["POST /actions"]
    assert isinstance(answer, Told)
    assert answer.is_error is is_error
    assert words in answer.text
    assert "not run" in answer.text
    assert TOOL in answer.text


def test_a_denial_stands_even_beside_a_genuine_receipt() -> None:
    _, answer = went(reply(status(route="deny")))

    assert isinstance(answer, Told)


def test_it_asks_again_until_the_decision_is_there() -> None:
    claimed = reply({**WAITING, "status": "claimed"})

    steps, answer = went(reply(WAITING, 201), claimed, claimed, None, reply(status()), STARTED, Ran("done"), REPORTED)

    # An answer that says something new is no reason to pause; one that came early and says nothing new is.
    assert [type(step) for step in steps[1:5]] == [Exchange, Exchange, Pause, Exchange]
    assert answer == Ran("done")


def test_a_call_that_waited_too_long_is_withdrawn() -> None:
    steps, answer = went(
        reply(WAITING, 201), reply({**WAITING, "status": "cancelled"}), proposal=a_proposal(timeout=0.0)
    )

    assert paths(steps) == ["POST /actions", f"POST /actions/{ITEM_ID}/cancel"]
    assert isinstance(answer, Told)
    assert "withdrawn" in answer.text


def test_a_decision_that_came_just_before_the_withdrawal_stands() -> None:
    answers = [
        reply(WAITING, 201),
        problem(409, "already_settled"),
        reply(status()),
        STARTED,
        Ran("done"),
        REPORTED,
    ]

    _, answer = went(*answers, gate=a_gate(timeout=0.0))

    assert answer == Ran("done")


def test_a_withdrawal_that_failed_is_a_doubt() -> None:
    with pytest.raises(ServerAwayError):
        went(reply(WAITING), ServerAwayError(why="gone"), proposal=a_proposal(timeout=0.0))


def test_a_console_that_never_closes_an_item_is_not_waited_for_forever() -> None:
    overdue = {**WAITING, "submitted_at": "2026-11-22T12:00:00Z", "expires_at": "2026-11-22T11:50:00Z"}

    with pytest.raises(UndecidedError):
        went(reply(overdue, 201))


def test_an_error_of_the_tool_is_reported_and_raised_on() -> None:
    broken = Ran(error=OSError("the till is shut"))

    steps, answer = went(reply(status()), STARTED, broken, REPORTED)

    assert answer == broken
    assert outcome(steps) == Outcome(status=OutcomeStatus.FAILED, error="OSError: the till is shut")


@pytest.mark.parametrize("plan", [RunPlan(doubtful=(KeyError,)), RunPlan(nothing_done=(OSError,), fallbacks=(print,))])
def test_a_run_past_its_time_is_unknown_and_ends_it_whatever_the_plan_declares(plan: RunPlan) -> None:
    proposal = replace(a_proposal(), plan=plan, ways=(TOOL, "by hand")[: 1 + len(plan.fallbacks)])

    steps, answer = went(
        reply(status()), STARTED, Ran(error=OvertimeError(TOOL, 1.0)), REPORTED, gate=a_gate(), proposal=proposal
    )

    assert isinstance(answer, Told)
    assert len(ran_with(steps)) == 1
    assert outcome(steps).status is OutcomeStatus.UNKNOWN


def test_an_error_after_the_permission_was_used_up_is_reported_as_unknown() -> None:
    steps = a_gate().steps(a_proposal())
    next(steps)
    steps.send(reply(status()))
    steps.send(STARTED)

    last = steps.throw(RuntimeError("can't start new thread"))

    assert outcome([last]).status is OutcomeStatus.UNKNOWN
    assert "can't start new thread" in str(outcome([last]).error)
    with pytest.raises(RuntimeError, match="new thread"):
        steps.send(REPORTED)


@pytest.mark.parametrize(
    ("trouble", "is_kept"),
    [
        (problem(401, "unauthorized"), True),
        (problem(429, "too_many_requests"), True),
        (Reply(403, b"<h1>Log in</h1>", None), True),
        (Reply(200, b"<h1>Welcome</h1>", None), True),
        (Reply(413, b"", None), False),
        (problem(409, "outcome_conflict"), False),
    ],
)
def test_an_outcome_is_kept_unless_the_console_itself_refuses_it(
    trouble: Reply, caplog: pytest.LogCaptureFixture, *, is_kept: bool
) -> None:
    with a_gate() as gate:
        went(reply(status()), STARTED, Ran("done"), trouble, gate=gate)

    assert ("is reported later" in caplog.text) is is_kept


def test_a_report_that_fails_is_logged_and_the_result_is_kept(caplog: pytest.LogCaptureFixture) -> None:
    _, answer = went(reply(status()), STARTED, Ran("done"), ServerAwayError(why="gone"))

    assert answer == Ran("done")
    assert "is reported later" in caplog.text


@pytest.mark.parametrize("interruption", [KeyboardInterrupt(), SystemExit(1), asyncio.CancelledError()])
def test_an_interruption_while_it_runs_is_reported_as_unknown(interruption: BaseException) -> None:
    steps = a_gate().steps(a_proposal())
    next(steps)
    steps.send(reply(status()))
    assert ran_with([steps.send(STARTED)]) == [ARGS]

    last = steps.throw(interruption)

    assert outcome([last]).status is OutcomeStatus.UNKNOWN
    with pytest.raises(type(interruption)):
        steps.send(REPORTED)


@pytest.mark.parametrize("trouble", [problem(409, "already_consumed"), KeyboardInterrupt()], ids=["refused", "stopped"])
def test_a_call_that_was_to_try_out_a_resting_tool_and_did_not_leaves_that_to_the_next(trouble: object) -> None:
    now = 0.0
    gate, breaker = a_gate(), Breaker(failures=1, seconds=60.0)
    resting = gate._traffic.setdefault(TOOL, Traffic(lambda: now))  # noqa: SLF001 -- to move its time
    resting.left(breaker, Ran(error=OSError()))
    now = 60.0
    proposal = replace(a_proposal(), plan=RunPlan(breaker=breaker))

    with pytest.raises((AlreadyConsumedError, KeyboardInterrupt)):
        went(
            reply(status()),
            *([trouble] if isinstance(trouble, Reply) else [STARTED, trouble, REPORTED]),
            gate=gate,
            proposal=proposal,
        )

    assert resting.enter(breaker)


def test_a_result_that_cannot_be_described_still_counts_as_run(caplog: pytest.LogCaptureFixture) -> None:
    def describe(_: object) -> Outcome:
        raise ZeroDivisionError

    proposal = Proposal(a_proposal().request, "call-1", None, allow_edit, describe)

    steps, answer = went(reply(status()), STARTED, Ran("done"), REPORTED, proposal=proposal)

    assert answer == Ran("done")
    assert outcome(steps) == Outcome(status=OutcomeStatus.SUCCEEDED)
    assert "cannot be described" in caplog.text


def test_what_is_told_may_be_functions_of_the_arguments() -> None:
    request = request_for(
        TOOL,
        ARGS,
        {
            "confidence": lambda args: 0.25 if args["amount"] == "49.00" else 1.0,
            "context": lambda args: [{"kind": "record", "content": str(args["order_id"])}],
            "impact": lambda args: {"amount": str(args["amount"]), "currency": "EUR"},
            "rationale": "The client asked.",
        },
        description="Refund an order.",
    )

    assert request.confidence == 0.25
    assert request.context[0].content == "R-1042"
    assert request.impact == Impact(amount="49.00", currency="EUR")
    assert request.rationale == "The client asked."
    assert request.description == "Refund an order."


def test_of_the_remembered_proposals_the_oldest_give_way() -> None:
    known: dict[int, Proposal] = {}

    for number in [*range(MAX_REMEMBERED), 0, MAX_REMEMBERED]:
        remember(known, number, a_proposal())

    assert list(known) == [*range(2, MAX_REMEMBERED), 0, MAX_REMEMBERED]


def test_what_the_agent_says_goes_before_what_the_framework_knows() -> None:
    request = request_for(TOOL, ARGS, {"description": "As a gesture."}, description="Refund an order.")

    assert request.description == "As a gesture."


@pytest.mark.parametrize(
    "confidence",
    [None, float("nan"), -0.1, 1.1, "high", lambda _: None, lambda args: args["missing"], lambda _: 1 / 0],
)
def test_a_confidence_that_cannot_be_read_leaves_the_call_to_a_person(confidence: Any) -> None:  # noqa: ANN401 -- that is the point
    request = request_for(TOOL, ARGS, {"confidence": confidence})

    assert request.confidence is None


@pytest.mark.parametrize("confidence", [0, 1, 0.5, "0.5"])
def test_a_number_between_0_and_1_is_a_confidence(confidence: Any) -> None:  # noqa: ANN401 -- as a caller may have it
    assert request_for(TOOL, ARGS, {"confidence": confidence}).confidence == float(confidence)


def test_a_request_that_cannot_be_made_is_no_validation_error_of_the_tool() -> None:
    with pytest.raises(RequestInvalidError):
        request_for("no such name!", ARGS, {})


@pytest.mark.parametrize(
    ("result", "told"),
    [
        ("done", "done"),
        ({"refund": ["RF-1", 2, True, None]}, {"refund": ["RF-1", 2, True, None]}),
        (None, None),
        (2**60, str(2**60)),
        ("\ud800", "?"),
        (
            {
                1,
            },
            "{1}",
        ),
        (OKPKey, str(OKPKey)),
    ],
)
def test_a_result_is_told_as_json_where_it_is_json_else_as_text(result: object, told: object) -> None:
    assert succeeded(result) == Outcome(status=OutcomeStatus.SUCCEEDED, result=told)  # type: ignore[arg-type]  # JSON, by the table


def test_a_result_that_is_too_deep_for_the_report_alone_is_told_as_text() -> None:
    deep: Any = "bottom"
    for _ in range(MAX_DEPTH):
        deep = [deep]

    told = succeeded(deep)

    assert told.result == str(deep)
    assert body_of(told)


def test_a_large_result_is_cut() -> None:
    told = succeeded("x" * 1_000_000).result

    assert isinstance(told, str)
    assert len(told) == 20_000


def test_an_error_is_told_as_text_that_fits() -> None:
    assert failed("\ud800" * 30_000).error == "?" * 20_000
