"""The OpenAPI document and the door agree: schemathesis asks what the document allows, and what it does not."""

import json
from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import schemathesis
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import events, from_schema
from schemathesis.engine.recorder import ScenarioRecorder

from db.store import open_store
from tests.console import Console, served

EXAMPLES = 25

# What JSON Schema cannot say of a request: its idempotency key was used, a cursor or a schema means nothing, a number
# is too large for canonical JSON, or is a whole one that is written with a point.
UNSAYABLE = {"idempotency_mismatch", "invalid_cursor", "invalid_schema", "integer_too_large", "token_request_malformed"}
WRITTEN_WITH_A_POINT = {"int_type", "int_from_float"}
REJECTED = "Schema-valid request rejected"
REFUSALS = ["400", "401", "403", "404", "405", "409", "413", "415", "422", "429"]


def asked(console: Console) -> Iterator[ScenarioRecorder]:
    """Run all that schemathesis knows: borders, fuzzing and sequences of calls, with data that fits and does not."""
    config = SchemathesisConfig.from_dict(
        {
            "seed": 1,
            "continue-on-failure": True,
            "headers": {"Authorization": f"Bearer {console.agent_key()}"},
            "parameters": {"wait": 0},
            "generation": {"deterministic": True, "max-examples": EXAMPLES, "database": "none"},
            "checks": {"negative_data_rejection": {"expected-statuses": REFUSALS}},
        }
    )
    schema = schemathesis.openapi.from_url(f"{console.url}/api/v1/openapi.json", config=config)
    for event in from_schema(schema).execute():
        assert not isinstance(event, events.NonFatalError | events.FatalError), event
        if isinstance(event, events.ScenarioFinished):
            yield event.recorder


def complaints(recorder: ScenarioRecorder) -> Iterator[str]:
    for case_id, checks in recorder.checks.items():
        for check in checks:
            if check.failure_info is None:
                continue
            failure, answer = check.failure_info.failure, recorder.interactions[case_id].response
            content = answer.content if answer else b""
            if failure.title != REJECTED or not is_unsayable(content):
                yield f"{failure.operation}: {failure.title}: {failure.message[:400]}: {content[:400]!r}"


def is_unsayable(content: bytes | None) -> bool:
    problem = json.loads(content or b"{}")
    errors = problem.get("errors") or [{"type": None}]
    return problem.get("code") in UNSAYABLE or all(error["type"] in WRITTEN_WITH_A_POINT for error in errors)


@pytest.mark.long
def test_the_door_answers_as_its_document_says(tmp_path: Path) -> None:
    statuses: dict[str, set[int]] = defaultdict(set)
    with closing(open_store(f"sqlite:///{tmp_path / 'signoff.db'}")) as store, served(Console(store)) as console:
        console.agent_key()
        console.sealer.seal()  # The first event gives the log its first checkpoint.
        found: list[str] = []
        for recorder in asked(console):
            found += complaints(recorder)
            for case_id, interaction in recorder.interactions.items():
                if interaction.response is not None:
                    label = recorder.cases[case_id].value.operation.label
                    statuses[label].add(interaction.response.status_code)

    assert sorted(set(found)) == []
    assert {label for label, seen in statuses.items() if not seen & {200, 201}} <= {
        "POST /v1/actions/{item_id}/consume",
        "POST /v1/actions/{item_id}/outcome",
        "POST /v1/oauth/token",
    }
    assert len(statuses) == 11
