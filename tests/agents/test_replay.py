"""The replay: what it reads and sends, and that it goes on where it stopped, filing nothing twice."""

import gzip
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agents.client import Client
from agents.protocol import ActionRequest, ActionStatus, ContextKind
from agents.replay import BadRecordError, Record, ReplayError, ReplayFile, main
from review.audit import SYSTEM
from review.people import Limits
from tests.builders import WORKSPACE
from tests.console import Console
from tests.waiting import PATIENCE_SECONDS

SHARED = Path(os.environ.get("SIGNOFF_REPLAY_DATA", Path(__file__).parents[3] / "shared" / "data"))
ACTIONS = SHARED / "actions.jsonl.gz"
needs_shared_data = pytest.mark.skipif(not ACTIONS.exists(), reason="the shared data are not on this machine")

Written = Callable[..., Path]


def a_line(**changes: object) -> dict[str, Any]:
    usual: dict[str, Any] = {
        "id": "rec-1",
        "submit": {"tool": "cancel_reservation", "args": {"reservation_id": "M05"}},
        "signals": {"peer3": 0.67},
    }
    return {**usual, **changes}


def a_submit(**changes: object) -> dict[str, Any]:
    return a_line(submit={**a_line()["submit"], **changes})


@pytest.fixture
def written(tmp_path: Path) -> Written:
    def write(*lines: object, name: str = "actions.jsonl") -> Path:
        path = tmp_path / name
        text = "".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines)
        path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
        return path

    return write


def records(path: Path) -> list[Record]:
    return list(ReplayFile(path).records())


def request(path: Path) -> ActionRequest:
    [record] = records(path)
    assert isinstance(record.request, ActionRequest), record.request
    return record.request


def sent(console: Console, key: str) -> list[ActionStatus]:
    with Client(console.url, key) as client:
        items: list[ActionStatus] = []
        cursor: str | None = None
        for _ in range(100):
            page = client.send(client.items(cursor=cursor, limit=100))
            items.extend(page.items)
            cursor = page.next_cursor
            if cursor is None:
                return items
    pytest.fail("the list of items does not end")


@needs_shared_data
def test_every_logged_action_becomes_a_request() -> None:
    file = ReplayFile(ACTIONS)

    found = list(file.records())

    assert len(found) == len(file) == 568
    assert [record.place for record in found if isinstance(record.request, BadRecordError)] == []
    assert len({file.idempotency_key(record) for record in found}) == 568


@needs_shared_data
def test_what_the_agent_could_not_know_is_never_sent() -> None:
    raw = [json.loads(line) for line in gzip.decompress(ACTIONS.read_bytes()).splitlines()]

    for record, line in zip(records(ACTIONS), raw, strict=True):
        assert isinstance(record.request, ActionRequest)
        body = record.request.model_dump_json()
        assert record.request.action.args == line["submit"]["args"]
        assert "customer_goal" not in body
        assert "gold_" not in body


def test_a_line_becomes_what_the_agent_would_have_sent(written: Written) -> None:
    submit = {
        "tool": "cancel_reservation",
        "args": {"reservation_id": "M05"},
        "schema": "airline.cancel",
        "context": "Please cancel it.",
        "agent_text": "I will cancel it.",
        "excerpt": [
            {"role": "assistant", "text": None, "calls": [{"tool": "find", "args": {"id": "M05"}}]},
            {"role": "tool", "text": "found"},
        ],
        "evidence": [{"tool": "get_reservation", "args": {"id": "M05"}, "result": '{"status": "booked"}'}],
    }
    path = written(a_line(submit=submit, model="gpt-4.1", source="tau2-bench", run="run-1", group="omar"))
    path.with_name("tool_schemas.json").write_text(
        json.dumps({"airline.cancel": {"description": "Cancel it.", "parameters": {"type": "object"}, "source": "x"}})
    )

    found = request(path)

    assert (found.action.name, found.action.args) == ("cancel_reservation", {"reservation_id": "M05"})
    assert (found.description, found.rationale) == ("Cancel it.", "I will cancel it.")
    assert found.args_schema == {"type": "object"}
    assert [(entry.kind, entry.role, entry.content) for entry in found.context] == [
        (ContextKind.MESSAGE, "user", "Please cancel it."),
        (ContextKind.MESSAGE, "assistant", '→ {"tool": "find", "args": {"id": "M05"}}'),
        (ContextKind.TOOL_RESULT, "tool", "found"),
        (ContextKind.RECORD, None, '{"status": "booked"}'),
    ]
    assert (found.agent_version, found.run.thread_id, found.run.tool_call_id) == ("gpt-4.1", "run-1", "rec-1")
    assert found.metadata == {"source": "tau2-bench", "run": "run-1", "group": "omar"}


@pytest.mark.parametrize(
    ("signals", "confidence"),
    [
        ({"peer3": 0.67, "self_agree": 0.1, "n_same": 4}, 0.67),
        ({"peer3": 0.0, "self_agree": 1.0, "n_same": 4}, 0.0),
        ({"self_agree": 0.25, "n_same": 4}, 0.25),
        ({"peer3": None, "self_agree": 1, "n_same": 1}, 1.0),
        ({"self_agree": 0.25, "n_same": 0}, None),
        ({"self_agree": 0.25}, None),
        ({}, None),
        (None, None),
    ],
)
def test_the_confidence_is_the_agreement_of_others_else_its_own(
    written: Written, signals: object, confidence: float | None
) -> None:
    assert request(written(a_line(signals=signals))).confidence == confidence


def test_integers_that_canonical_json_cannot_hold_are_sent_as_strings(written: Written) -> None:
    args = {"safe": 2**53 - 1, "low": -(2**53) + 1, "big": 2**53, "huge": 10**40, "deep": [{"id": -(2**60)}]}

    found = request(written(a_submit(args=args)))

    assert found.action.args == {
        "safe": 2**53 - 1,
        "low": -(2**53) + 1,
        "big": str(2**53),
        "huge": str(10**40),
        "deep": [{"id": str(-(2**60))}],
    }


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        ("{", "not JSON"),
        ("[]", "dictionary"),
        ('{"id": "x", "submit": {"tool": "t", "args": {"n": NaN}}}', "NaN"),
        ("[" * 100_000, "not JSON"),
        ({"id": "rec-2"}, "submit"),
        (a_line(id=None), "id"),
        (a_submit(tool=None), "tool"),
        (a_submit(tool="no such name!"), "name"),
        (a_submit(args=["M05"]), "args"),
        (a_line(signals={"peer3": 1.5}), "confidence"),
    ],
)
def test_a_bad_record_is_named_with_its_line_and_the_others_go_on(written: Written, bad: object, why: str) -> None:
    path = written(a_line(id="first"), "", bad, a_line(id="last"))

    first, second, third = records(path)

    assert isinstance(first.request, ActionRequest)
    assert isinstance(second.request, BadRecordError)
    assert isinstance(third.request, ActionRequest)
    assert second.place == "line 3"
    assert why in str(second.request)


TAU: dict[str, Any] = {
    "timestamp": "2025-10-31T07:16:27",
    "info": {
        "num_trials": 1,
        "agent_info": {
            "implementation": "llm_agent",
            "llm": "claude-sonnet-4-5",
            "llm_args": {"temperature": 0.0},
        },
        "environment_info": {"domain_name": "retail", "policy": "# Retail agent policy", "tool_defs": None},
    },
    "tasks": [{"id": "0"}],
    "simulations": [
        {
            "id": "sim-1",
            "task_id": "0",
            "trial": 0,
            "reward_info": {"reward": 1.0},
            "messages": [
                {"role": "assistant", "content": "Hi!", "tool_calls": None, "turn_idx": 0, "cost": 0.0},
                {"role": "user", "content": "Cancel my order.", "tool_calls": None, "turn_idx": 1},
                {
                    "role": "assistant",
                    "content": None,
                    "tool_calls": [
                        {
                            "id": "toolu_1",
                            "name": "get_order",
                            "arguments": {"id": "#W1"},
                            "requestor": "assistant",
                        },
                        {"id": "toolu_2", "name": "get_user", "arguments": {}, "requestor": "assistant"},
                    ],
                    "usage": {"completion_tokens": 35, "prompt_tokens": 391},
                },
                {
                    "role": "tool",
                    "tool_messages": [
                        {"id": "toolu_1", "role": "tool", "content": "pending", "requestor": "assistant"},
                        {"id": "toolu_2", "role": "tool", "content": "Yusuf", "requestor": "assistant"},
                    ],
                },
                {
                    "role": "user",
                    "content": None,
                    "tool_calls": [{"id": "u1", "name": "toggle_data", "arguments": {}, "requestor": "user"}],
                },
                {
                    "role": "assistant",
                    "content": "I cancel it.",
                    "tool_calls": [{"id": "toolu_3", "name": "cancel_order", "arguments": {"id": "#W1"}}],
                },
            ],
        }
    ],
}


def test_the_assistants_calls_of_a_tau2_result_are_read_with_what_was_said_before(written: Written) -> None:
    path = written(TAU, name="results.json")

    found = records(path)

    assert [record.place for record in found] == [
        "simulations[0].messages[2].tool_calls[0]",
        "simulations[0].messages[2].tool_calls[1]",
        "simulations[0].messages[5].tool_calls[0]",
    ]
    last = found[-1].request
    assert isinstance(last, ActionRequest)
    assert (last.action.name, last.action.args) == ("cancel_order", {"id": "#W1"})
    assert (last.rationale, last.confidence, last.agent_version) == (
        "I cancel it.",
        None,
        "claude-sonnet-4-5",
    )
    assert [(entry.role, entry.content) for entry in last.context] == [
        ("assistant", "Hi!"),
        ("user", "Cancel my order."),
        ("assistant", '→ get_order {"id": "#W1"}\n→ get_user {}'),
        ("tool", "pending"),
        ("tool", "Yusuf"),
        ("user", "→ toggle_data {}"),
    ]
    first = found[0].request
    assert isinstance(first, ActionRequest)
    assert (first.usage.input_tokens, first.usage.output_tokens) == (391, 35)
    assert first.metadata == {"domain": "retail", "task_id": "0", "trial": 0}


def test_a_tau2_result_may_keep_its_simulations_in_files_of_their_own(written: Written) -> None:
    path = written({**TAU, "simulations": []}, name="results.json.gz")
    folder = path.with_name("simulations")
    folder.mkdir()
    (folder / "sim-1.json").write_text(json.dumps(TAU["simulations"][0]))

    assert [record.id for record in records(path)] == ["sim-1/2/0", "sim-1/2/1", "sim-1/5/0"]


def test_a_broken_message_of_a_tau2_result_is_named_and_the_others_go_on(written: Written) -> None:
    messages = [{"content": "no role"}, *TAU["simulations"][0]["messages"]]
    voice = {"id": "sim-2", "ticks": []}
    path = written({**TAU, "simulations": [{"id": "sim-1", "messages": messages}, voice, None]}, name="results.json")

    bad = [record.place for record in records(path) if isinstance(record.request, BadRecordError)]

    assert bad == ["simulations[0].messages[0]", "simulations[1]", "simulations[2]"]
    assert len(records(path)) == 6


@pytest.mark.parametrize("content", ["[]", "{}", '{"info": []}', "{"])
def test_a_file_that_holds_no_results_is_refused(written: Written, content: str) -> None:
    with pytest.raises(ReplayError):
        records(written(content, name="results.json"))


def test_a_missing_or_damaged_file_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    damaged = tmp_path / "actions.jsonl.gz"
    damaged.write_bytes(b"\x1f\x8b broken")

    codes = [main([str(path), "--url", "http://127.0.0.1:9", "--key", "k"]) for path in (damaged, tmp_path / "none")]

    assert codes == [2, 2]
    assert "damaged" in capsys.readouterr().err


def test_the_console_and_the_key_must_be_named(
    written: Written, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("SIGNOFF_URL", raising=False)

    assert main([str(written(a_line())), "--key", "k"]) == 2
    assert "--url" in capsys.readouterr().err


def test_a_replay_sends_everything_and_names_what_it_skips(
    console: Console, written: Written, capsys: pytest.CaptureFixture[str]
) -> None:
    good = [a_line(id=f"rec-{number}") for number in range(3)]
    path = written(
        *good,
        "{",
        a_submit(args={"n": "x" * 300_000}),
        a_submit(context="\ud800"),
        a_submit(args={"n": 1e999}),
    )
    key = console.agent_key("replayed")

    code = main([str(path), "--url", console.url, "--key", key, "--rate", "0"])

    out, err = capsys.readouterr()
    assert code == 1
    assert out == "3 actions sent, 4 records skipped.\n"
    assert [f"line {number}: " in err for number in range(1, 8)] == [False] * 3 + [True] * 4
    assert len(sent(console, key)) == 3


def test_a_replay_goes_on_where_it_stopped(console: Console, written: Written) -> None:
    path = written(*[a_line(id=f"rec-{number}") for number in range(5)])
    key = console.agent_key("replayed")
    command = [str(path), "--url", console.url, "--key", key, "--rate", "0"]

    first = main([*command, "--limit", "2"])
    after_first = len(sent(console, key))
    second = main(command)

    assert (first, after_first) == (0, 2)
    assert (second, len(sent(console, key))) == (0, 5)


def test_a_replay_whose_state_was_lost_files_nothing_twice(console: Console, written: Written) -> None:
    path = written(*[a_line(id=f"rec-{number}") for number in range(3)])
    key = console.agent_key("replayed")
    command = [str(path), "--url", console.url, "--key", key, "--rate", "0"]

    main(command)
    path.with_name("actions.jsonl.replay.json").unlink()
    again = main(command)

    assert again == 0
    assert len(sent(console, key)) == 3


def test_a_replay_that_is_killed_goes_on_without_a_gap_or_a_double(console: Console, written: Written) -> None:
    path = written(*[a_line(id=f"rec-{number}") for number in range(40)])
    key = console.agent_key("replayed")
    command = [
        sys.executable,
        "-m",
        "agents.replay",
        str(path),
        "--url",
        console.url,
        "--key",
        key,
        "--rate",
        "100",
    ]

    for _ in range(2):
        started = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        try:
            started.wait(timeout=1.2)
        except subprocess.TimeoutExpired:
            started.send_signal(signal.SIGKILL)
        started.communicate(timeout=PATIENCE_SECONDS)
    finished = subprocess.run(command, capture_output=True, timeout=PATIENCE_SECONDS, check=False)

    assert finished.returncode == 0, finished.stderr
    assert len(sent(console, key)) == 40


def test_a_state_that_belongs_to_another_file_is_not_used(
    console: Console, written: Written, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = str(tmp_path / "state.json")
    command = ["--url", console.url, "--key", console.agent_key("replayed"), "--rate", "0", "--state", state]
    main([str(written(a_line(), name="one.jsonl")), *command])

    code = main([str(written(a_line(id="other"), name="two.jsonl")), *command])

    assert code == 2
    assert "belongs to another" in capsys.readouterr().err


def test_a_key_that_is_refused_stops_the_replay(
    console: Console, written: Written, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main([str(written(a_line())), "--url", console.url, "--key", "sgn_no_key", "--rate", "0"])

    assert code == 2
    assert "key_refused" in capsys.readouterr().err


def test_calls_of_one_tool_alone_can_be_sent(console: Console, written: Written) -> None:
    path = written(TAU, name="results.json")
    key = console.agent_key("replayed")

    code = main([str(path), "--url", console.url, "--key", key, "--rate", "0", "--tool", "cancel_order"])

    assert code == 0
    assert len(sent(console, key)) == 1


@needs_shared_data
def test_the_shared_actions_go_through_whole(console: Console, tmp_path: Path) -> None:
    key = console.keys.create("replayed", WORKSPACE, SYSTEM, limits=Limits(most_waiting=1_000))[1]
    state = str(tmp_path / "state.json")

    code = main([str(ACTIONS), "--url", console.url, "--key", key, "--rate", "0", "--state", state])

    assert code == 0
    assert len(sent(console, key)) == 568
