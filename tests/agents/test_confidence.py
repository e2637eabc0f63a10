"""The sources of confidence: what they measure, how many model calls that costs, and what it was worth on real runs."""

import asyncio
import gzip
import json
import math
import os
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.tools import tool
from pydantic import ValidationError
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss, roc_auc_score
from sklearn.model_selection import GroupKFold

from agents import Gate
from agents.confidence import (
    Calibration,
    Opinion,
    SecondOpinion,
    SignalWeight,
    calibrated,
    from_classifier,
    from_logprobs,
    learn_calibration,
    normalised,
    second_opinion,
    stated,
)
from agents.protocol import Args, Route
from tests.console import Console

SHARED = Path(os.environ.get("SIGNOFF_REPLAY_DATA", Path(__file__).parents[3] / "shared" / "data"))
ACTIONS = SHARED / "actions.jsonl.gz"
needs_shared_data = pytest.mark.skipif(not ACTIONS.exists(), reason="the shared data are not on this machine")

CALL: Args = {"order_id": "R-1042", "amount": "49.00"}


@tool
def refund(order_id: str, amount: str, notify: bool = True) -> str:  # noqa: FBT001, FBT002 -- as a model calls it
    """Refund an order."""
    return f"Refunded {amount} on {order_id}, {notify}."


def proposing(args: dict[str, Any], name: str = "refund") -> AIMessage:
    return AIMessage("", tool_calls=[{"name": name, "args": args, "id": "call_1"}])


def conversation() -> Sequence[BaseMessage]:
    return [HumanMessage("Refund R-1042, please.")]


AGREES = proposing({"amount": 49, "order_id": "R-1042"})
DIFFERS = proposing({**CALL, "amount": "94.00"})


class Script:
    """A real chat model interface over messages that the test wrote down, and how many of them were asked for."""

    def __init__(self, *messages: AIMessage) -> None:
        self.asked = 0
        self.model = GenericFakeChatModel(messages=self._counted(messages))

    def _counted(self, messages: Sequence[AIMessage]) -> Iterator[AIMessage]:
        for message in messages:
            self.asked += 1
            yield message

    def opinion(self, **settings: Any) -> SecondOpinion:  # noqa: ANN401 -- any of second_opinion's
        return second_opinion(self.model, **{"tool": refund, "messages": conversation, **settings})


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ({"amount": "49.00"}, {"amount": 49}, True),
        ({"amount": 49.0}, {"amount": "49"}, True),
        ({"amount": "49.10"}, {"amount": "49.1"}, True),
        ({"amount": "49.10"}, {"amount": "49.01"}, False),
        ({"amount": -0.0}, {"amount": 0}, True),
        ({"amount": 100}, {"amount": 10}, False),
        ({"amount": 1e-7}, {"amount": "0.0000001"}, True),
        ({"code": "007"}, {"code": "7"}, False),
        ({"code": "1e3"}, {"code": "1000"}, False),
        ({"flag": True}, {"flag": 1}, False),
        ({"flag": True}, {"flag": "True"}, False),
        ({"text": " Good  evening\n"}, {"text": "Good evening"}, True),
        ({"text": "Ine\u0300s"}, {"text": "In\u00e8s"}, True),
        ({"text": "r-1042"}, {"text": "R-1042"}, False),
        ({"note": None}, {}, True),
        ({"note": ""}, {}, False),
        ({"items": ["a", "b"]}, {"items": ["b", "a"]}, False),
        ({"items": ["1.0", {"a": 2}]}, {"items": [1, {"a": "2.00"}]}, True),
        ({"at": {"x": 1, "y": 2}}, {"at": {"y": 2, "x": 1}}, True),
        ({"at": {"x": None}}, {"at": {}}, False),
        ({"notify": True}, {}, True),
        ({"notify": False}, {}, False),
        ({"message": "Done!"}, {"message": "All done."}, True),
    ],
)
def test_two_calls_are_the_same_when_they_mean_the_same(one: Args, other: Args, same: bool) -> None:  # noqa: FBT001 -- a column of the table
    settled = [normalised(args, defaults={"notify": True}, ignoring=["message"]) for args in (one, other)]

    assert (settled[0] == settled[1]) is same


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda members: st.lists(members, max_size=4) | st.dictionaries(st.text(), members, max_size=4),
    max_leaves=12,
)
arguments = st.dictionaries(st.text(min_size=1), json_values, max_size=5)


@given(args=arguments)
def test_normalising_twice_changes_nothing_more(args: dict[str, Any]) -> None:
    once = normalised(args)

    assert normalised(once) == once
    assert json.loads(json.dumps(once)) == once


@given(args=arguments, spaces=st.sampled_from([" ", "\t", "\n", "\u00a0"]))
def test_white_space_around_a_text_never_makes_another_call(args: dict[str, Any], spaces: str) -> None:
    padded = {name: f"{spaces}{value}{spaces}" if isinstance(value, str) else value for name, value in args.items()}

    assert normalised(padded) == normalised(args)


@given(cents=st.integers(min_value=-(10**12), max_value=10**12))
def test_an_amount_is_the_same_as_text_and_as_number(cents: int) -> None:
    text = f"{'-' if cents < 0 else ''}{abs(cents) // 100}.{abs(cents) % 100:02}"

    assert normalised({"amount": text}) == normalised({"amount": cents / 100})


@pytest.mark.parametrize(
    ("samples", "settings", "agreed"),
    [
        ([AGREES], {}, (True,)),
        ([DIFFERS, AGREES, AGREES], {}, (False, True, True)),
        ([DIFFERS, DIFFERS, DIFFERS], {}, (False, False, False)),
        ([DIFFERS, AGREES], {"samples": 2}, (False, True)),
        ([AGREES, AGREES], {"enough": 2}, (True, True)),
        ([AGREES, DIFFERS, AGREES], {"enough": 2}, (True, False, True)),
        ([proposing({**CALL, "notify": True})], {}, (True,)),
        ([proposing({**CALL, "notify": False})], {"samples": 1}, (False,)),
        ([proposing(CALL, name="cancel")], {"samples": 1}, (False,)),
        ([AIMessage("I would rather ask first.")], {"samples": 1}, (False,)),
        ([DIFFERS], {"samples": 1, "ignoring": ["amount"]}, (True,)),
    ],
)
def test_a_second_opinion_draws_more_samples_only_where_the_first_leave_doubt(
    samples: list[AIMessage], settings: dict[str, Any], agreed: tuple[bool, ...]
) -> None:
    script = Script(*samples)

    opinion = script.opinion(**settings).ask({**CALL, "notify": True})

    assert opinion == Opinion(agreed)
    assert opinion.share == pytest.approx(sum(agreed) / len(agreed))
    assert script.asked == len(agreed)


def test_a_second_opinion_is_asked_without_blocking_the_event_loop() -> None:
    script = Script(DIFFERS, AGREES, DIFFERS)

    opinion = asyncio.run(script.opinion().aask(CALL))

    assert opinion == Opinion((False, True, False))


def test_several_models_are_asked_in_turn() -> None:
    first, second = Script(DIFFERS, AGREES), Script(AGREES)

    share = second_opinion(first.model, second.model, tool="refund", messages=conversation)(CALL)

    assert share == pytest.approx(2 / 3)
    assert (first.asked, second.asked) == (2, 1)


@pytest.mark.parametrize("settings", [{"samples": 0}, {"enough": 0}, {"enough": 4}])
def test_an_opinion_that_could_not_be_formed_is_refused(settings: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="needs a model"):
        Script().opinion(**settings)


def test_a_guarded_call_carries_the_second_opinion_and_its_source(console: Console) -> None:
    script = Script(DIFFERS, AGREES, AGREES)

    with Gate(console.url, console.agent_key()) as gate:
        gate.guard(refund, confidence=script.opinion(), timeout=0.1).invoke({**CALL})
        [item] = gate.client.send(gate.client.items()).items

    request = console.desk.whole(console.person, item.id).item.request
    assert request.confidence == pytest.approx(2 / 3)
    assert request.confidence_source == "second opinion, up to 3 samples"


def test_a_model_that_is_away_leaves_the_call_to_a_person(console: Console) -> None:
    exhausted = Script()

    with Gate(console.url, console.agent_key()) as gate:
        gate.guard(refund, confidence=exhausted.opinion(), timeout=0.1).invoke({**CALL})
        [item] = gate.client.send(gate.client.items()).items

    assert item.route is Route.REVIEW
    assert console.desk.whole(console.person, item.id).item.request.confidence is None


def spoken(*tokens: tuple[str, float]) -> AIMessage:
    content = [{"token": text, "logprob": log, "bytes": list(text.encode())} for text, log in tokens]
    return AIMessage("", response_metadata={"logprobs": {"content": content, "refusal": None}})


SPOKEN = spoken(
    ("Perhaps", -9.0),
    ('{"', -0.1),
    ('order_id":"R-1', -0.2),
    ('042","amount":"', -0.1),
    ("49", -1.2),
    ('.00"}', -0.0),
    (" done", -7.0),
)


@pytest.mark.parametrize(
    ("pooling", "expected"), [("least", math.exp(-1.2)), ("mean", math.exp(-0.32)), ("joint", math.exp(-1.6))]
)
def test_only_the_tokens_of_the_arguments_count(pooling: Any, expected: float) -> None:  # noqa: ANN401 -- a column of the table
    confidence = from_logprobs(lambda: SPOKEN, pooling=pooling)({**CALL, "notify": True})

    assert confidence == pytest.approx(expected)


def test_the_arguments_are_found_inside_a_whole_call_and_after_a_draft() -> None:
    message = spoken(
        ('{"city":"Zu\u0308rich"}', -5.0),
        (' {"name":"visit","arguments":', -4.0),
        ('{"city":"Zu\u0308', -0.5),
        ('rich"}', -0.1),
        ("}", -3.0),
    )

    confidence = from_logprobs(lambda: message)({"city": "Zu\u0308rich"})

    assert confidence == pytest.approx(math.exp(-0.5))


def test_a_character_that_is_cut_between_two_tokens_is_put_together() -> None:
    whole = '{"city":"Zürich"}'.encode()
    content = [
        {"token": "?", "logprob": -0.1, "bytes": list(whole[:11])},
        {"token": "?", "logprob": -0.7, "bytes": list(whole[11:])},
    ]
    message = AIMessage("", response_metadata={"logprobs": {"content": content}})

    assert from_logprobs(lambda: message)({"city": "Zürich"}) == pytest.approx(math.exp(-0.7))


@pytest.mark.parametrize(
    "message",
    [
        AIMessage("No metadata."),
        AIMessage("", response_metadata={"logprobs": None}),
        AIMessage("", response_metadata={"logprobs": {"content": None}}),
        spoken(("Let me see {", -0.1), ("}.", -0.2)),
        spoken(('{"order_id":"R-7"}', -0.2)),
        AIMessage("", response_metadata={"logprobs": {"content": [{"token": "", "logprob": 0, "bytes": [255]}]}}),
    ],
)
def test_without_tokens_of_the_arguments_there_is_no_confidence(message: AIMessage) -> None:
    assert from_logprobs(lambda: message)(CALL) is None


def test_arguments_that_python_takes_for_the_calls_are_others() -> None:
    assert from_logprobs(lambda: spoken(('{"express":true}', -0.2)))({"express": 1}) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Confidence: 0.8", 0.8),
        ("I refund it. My confidence is 80 %.", 0.8),
        ("confidence=1", 1.0),
        ("Confidence: 10%, no, on reflection: confidence 95%", 0.95),
        ("Confidence: 80", None),
        ("Confidence: 120 %", None),
        ("I am very sure.", None),
        ("", None),
    ],
)
def test_the_models_own_words_are_read_where_they_are_a_share(text: str, expected: float | None) -> None:
    assert stated(lambda: AIMessage(text))(CALL) == expected


def test_a_classifier_tells_the_probability_of_the_class_that_the_call_stands_for() -> None:
    classifier = LogisticRegression().fit([[0.0], [1.0], [4.0], [5.0]], ["keep", "keep", "refund", "refund"])
    confidence = from_classifier(classifier, features=lambda args: [args["days"]], of=lambda args: args["kind"])

    known = confidence({"days": 5.0, "kind": "refund"})
    unknown = confidence({"days": 5.0, "kind": "exchange"})

    assert known == pytest.approx(classifier.predict_proba([[5.0]])[0][1])
    assert unknown is None


def test_a_calibration_steps_between_its_knots_and_stays_within_them() -> None:
    weight = SignalWeight(name="agreement", weight=4.0, if_missing=0.5)
    calibration = Calibration(signals=(weight,), intercept=-2.0, knots=((0.2, 0.1), (0.5, 0.1), (0.8, 0.7)))

    steps = [calibration.probability({"agreement": value}) for value in (0.0, 0.5, 0.6, 1.0)]

    between = 0.1 + 0.6 * (1 / (1 + math.exp(-0.4)) - 0.5) / 0.3
    assert steps == pytest.approx([0.1, 0.1, between, 0.7])


def test_a_calibration_survives_being_kept_as_json() -> None:
    calibration = learn_calibration(*labelled(60), groups=[f"case-{number % 12}" for number in range(60)])

    kept = Calibration.model_validate_json(calibration.model_dump_json())

    assert kept == calibration
    with pytest.raises(ValidationError):
        Calibration.model_validate({**calibration.model_dump(), "version": 2})


def labelled(size: int) -> tuple[list[dict[str, float | None]], list[bool]]:
    rows: list[dict[str, float | None]] = [
        {"agreement": number % 4 / 3, "stated": None if number % 5 else 0.9} for number in range(size)
    ]
    return rows, [number % 4 + number % 3 >= 3 for number in range(size)]


@pytest.mark.parametrize("method", ["isotonic", "logistic"])
def test_a_learned_calibration_rises_with_a_signal_that_tells_right_from_wrong(method: Any) -> None:  # noqa: ANN401 -- a column of the table
    groups = [f"case-{number % 12}" for number in range(120)]
    calibration = learn_calibration(*labelled(120), groups=groups, method=method)

    chances = [calibration.probability({"agreement": share, "stated": None}) for share in (0.0, 1 / 3, 2 / 3, 1.0)]

    known = [chance for chance in chances if chance is not None]
    assert known == sorted(known)
    assert 0 < known[0] < 0.3 < 0.7 < known[-1] < 1


@pytest.mark.parametrize(("correct", "groups"), [([True, True], ["a", "b"]), ([True, False], ["a", "a"])])
def test_labels_that_teach_nothing_are_refused(correct: list[bool], groups: list[str]) -> None:
    with pytest.raises(ValueError, match="right and wrong calls"):
        learn_calibration([{"agreement": 1.0}, {"agreement": 0.0}], correct, groups=groups)


def test_a_combination_of_signals_is_one_confidence() -> None:
    weights = [SignalWeight(name=name, weight=2.0, if_missing=-1.0) for name in ("agreement", "said")]
    calibration = Calibration(signals=tuple(weights), intercept=0.0)
    said = stated(lambda: AIMessage("Who knows?"))

    confidence = calibrated(calibration, agreement=Script(AGREES).opinion(), said=said)

    assert confidence(CALL) == pytest.approx(1 / (1 + math.exp(-1.0)))
    assert calibrated(calibration, agreement=said, said=said)(CALL) is None
    with pytest.raises(ValueError, match="differ in agreement"):
        calibrated(calibration, said=said)


@pytest.fixture(scope="module")
def actions() -> list[dict[str, Any]]:
    with gzip.open(ACTIONS, "rt", encoding="utf-8") as lines:
        every = [json.loads(line) for line in lines]
    # Telecom's labels are weak; disputed gold actions and those that the store refused prove nothing.
    return [
        action
        for action in every
        if action["domain"] in ("retail", "airline")
        and not action["truth"]["gold_disputed"]
        and not action["truth"]["store_rejected"]
    ]


def is_right(action: dict[str, Any]) -> bool:
    return bool(action["truth"]["label"] == "correct")


@needs_shared_data
@pytest.mark.parametrize(("signal", "least"), [("peer1", 0.7), ("peer3", 0.8), ("self_agree", 0.65)])
def test_agreement_tells_right_calls_from_wrong_ones(actions: list[dict[str, Any]], signal: str, least: float) -> None:
    known = [action for action in actions if signal != "self_agree" or action["signals"]["n_same"] > 0]

    area = roc_auc_score([is_right(action) for action in known], [action["signals"][signal] for action in known])

    assert area > least


@needs_shared_data
def test_drawing_more_samples_only_in_doubt_is_worth_more_than_one_and_costs_less_than_three(
    actions: list[dict[str, Any]],
) -> None:
    right = [is_right(action) for action in actions]
    one = [action["signals"]["peer1"] for action in actions]
    three = [action["signals"]["peer3"] for action in actions]

    adaptive = [first if first == 1 else all_three for first, all_three in zip(one, three, strict=True)]
    calls = [1 if first == 1 else 3 for first in one]

    assert roc_auc_score(right, one) < roc_auc_score(right, adaptive) < roc_auc_score(right, three)
    assert sum(calls) / len(calls) < 2


@needs_shared_data
@pytest.mark.parametrize("method", ["isotonic", "logistic"])
def test_a_calibrated_combination_beats_the_base_rate_on_customers_it_has_not_seen(
    actions: list[dict[str, Any]],
    method: Any,  # noqa: ANN401 -- a column of the table
) -> None:
    rows = [signals(action) for action in actions]
    right = [is_right(action) for action in actions]
    customers = [action["group"] for action in actions]
    predicted = dict.fromkeys(range(len(rows)), 0.0)
    base_rate = dict(predicted)

    for learned, unseen in GroupKFold(n_splits=5).split(rows, groups=customers):
        calibration = learn_calibration(
            [rows[at] for at in learned],
            [right[at] for at in learned],
            groups=[customers[at] for at in learned],
            method=method,
        )
        for at in unseen:
            predicted[at] = calibration.probability(rows[at]) or 0.0
            base_rate[at] = sum(right[other] for other in learned) / len(learned)

    scores = [brier_score_loss(right, list(chances.values())) for chances in (predicted, base_rate)]
    assert scores[0] < 0.7 * scores[1]


def signals(action: dict[str, Any]) -> dict[str, float | None]:
    known = action["signals"]
    return {
        "peer1": known["peer1"],
        "peer3": known["peer3"],
        "self_agree": known["self_agree"] if known["n_same"] > 0 else None,
    }


def test_the_parts_of_a_confidence_are_asked_once_a_call() -> None:
    asked = count()

    def agreement(_args: Args) -> float:
        next(asked)
        return 1.0

    calibration = Calibration(signals=(SignalWeight(name="agreement", weight=1.0, if_missing=0.0),), intercept=0.0)

    calibrated(calibration, agreement=agreement)(CALL)

    assert next(asked) == 1
