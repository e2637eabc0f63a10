"""How good the agents' classifiers are on cases that they have not seen, measured and not assumed."""

from itertools import islice
from pathlib import Path

import pytest

from agents.demo import AGENT_NAMES, tool_schemas
from agents.demo.cases import Case, cases, examples, stream
from agents.demo.classifier import ToolClassifier, train, trained


@pytest.fixture(scope="module", params=AGENT_NAMES)
def agent(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def classifier(agent: str) -> ToolClassifier:
    return train(examples(agent))


def test_the_corpora_are_large_varied_and_apart(agent: str) -> None:
    learnt, unseen = examples(agent), cases(agent)

    texts = {example.text for example in learnt}

    assert len(texts) == len(learnt) >= 60
    assert len({case.text for case in unseen}) == len(unseen) > len(learnt)
    assert texts.isdisjoint(case.text for case in unseen)
    assert {example.tool for example in learnt} == set(tool_schemas(agent))
    assert {case.tool for case in unseen} == {*tool_schemas(agent), None}


def test_on_unseen_cases_the_classifier_beats_chance_and_the_base_rate(
    agent: str, classifier: ToolClassifier, capsys: pytest.CaptureFixture[str]
) -> None:
    known = [case for case in cases(agent) if case.tool is not None]
    tools = sorted(tool_schemas(agent))
    base_rate = {tool: sum(case.tool == tool for case in known) / len(known) for tool in tools}

    answers = [dict(classifier.probabilities(case.text)) for case in known]

    right = sum(max(answer, key=answer.__getitem__) == case.tool for answer, case in zip(answers, known, strict=True))
    accuracy = right / len(known)
    confidence = sum(max(answer.values()) for answer in answers) / len(known)
    brier = sum(_brier(answer, case) for answer, case in zip(answers, known, strict=True)) / len(known)
    base_brier = sum(_brier(base_rate, case) for case in known) / len(known)
    with capsys.disabled():
        print(  # noqa: T201 -- the figures are the point of the test
            f"\n{agent}: {len(known)} unseen cases, {accuracy:.0%} right, mean confidence {confidence:.2f}, "
            f"Brier {brier:.3f} (base rate {base_brier:.3f})"
        )
    assert accuracy > max(base_rate.values()) + 0.1
    assert brier < 0.8 * base_brier
    assert abs(confidence - accuracy) < 0.2


def test_cases_that_fit_no_tool_are_answered_with_less_confidence(agent: str, classifier: ToolClassifier) -> None:
    unseen = cases(agent)

    sure = {fits: _mean(classifier, [c for c in unseen if (c.tool is not None) is fits]) for fits in (True, False)}

    assert sure[False] < sure[True]


def test_a_trained_classifier_is_kept_and_read_again(tmp_path: Path) -> None:
    learnt = examples("inventory")
    first = trained("inventory", learnt, folder=tmp_path)
    (kept,) = tmp_path.iterdir()
    written = kept.stat().st_mtime_ns

    again = trained("inventory", learnt, folder=tmp_path)
    trained("inventory", learnt[3:], folder=tmp_path)

    assert again.choose("send 3 totes from Lyon") == first.choose("send 3 totes from Lyon")
    assert kept.stat().st_mtime_ns == written
    assert len(list(tmp_path.iterdir())) == 2


def test_the_stream_has_every_case_once_a_round_and_goes_on_where_it_was_left() -> None:
    all_cases = cases("creative_copy")
    whole = list(islice(stream("creative_copy"), 2 * len(all_cases)))

    later = list(islice(stream("creative_copy", position=50), 60))

    assert sorted(case.id for case in whole[: len(all_cases)]) == sorted(case.id for case in all_cases)
    assert len({case.id for case in whole}) == len(whole)
    assert later == whole[50:110]


def _brier(answer: dict[str, float], case: Case) -> float:
    return sum((share - (tool == case.tool)) ** 2 for tool, share in answer.items())


def _mean(classifier: ToolClassifier, some: list[Case]) -> float:
    return sum(classifier.choose(case.text).probability for case in some) / len(some)
