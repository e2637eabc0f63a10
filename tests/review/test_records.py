"""The records: pages to look at, and streams that hold everything once."""

import csv
import hashlib
import io
import json
import zipfile
from base64 import urlsafe_b64decode
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agents.canonical import canonical
from agents.protocol import Approve, ContextEntry, ContextKind, DecisionType, Reject, Respond
from review.audit import SYSTEM, AuditEvent, EventFilter, EventKind
from review.checkpoints import Checkpoint, opened, trusted, verifier_key
from review.errors import InvalidCursorError, NotAllowedError, UnknownReviewerError
from review.exports import decisions_csv, labels_csv, labels_jsonl
from review.items import EVERY_DECISION, DecisionFilter, DecisionRecord, ItemFilter, ReviewItem
from review.labels import Label, Verdict, pseudonym, training_archive
from review.lifecycle import shown_digest
from review.manifests import RowExport
from review.policy import PolicyDocument, Sensitive
from review.records import EXPORT_BATCH, Records
from review.sealer import AuditExport
from review.store import COUNT_LIMIT, Writing
from review.verify import commitment
from tests.builders import (
    WORKSPACE,
    a_decision,
    a_request,
    ada,
    an_action,
    an_event,
    an_item,
    grace,
    keeping,
    lin,
    mary,
    root,
)
from tests.clock import START, MovableClock
from tests.console import Console
from tests.review.steps import an_edit, caller, decide, events, submit

MANY = 2 * EXPORT_BATCH + 7


@pytest.fixture
def records(either_house: Console) -> Records:
    return either_house.records


def leaves(export: AuditExport) -> list[dict[str, Any]]:
    return [json.loads(event.leaf) for event in export]


def keep(house: Console, item: ReviewItem | None, decisions: list[DecisionRecord], events: list[AuditEvent]) -> None:
    def work(tx: Writing) -> None:
        if item is not None:
            tx.add_item(item)
        for record in decisions:
            tx.add_decision(record)
        for event in events:
            tx.record(event)

    house.store.write(work)


def last_told(export: RowExport[Label]) -> dict[str, Any]:
    header, *_, row = csv.reader(io.StringIO(b"".join(labels_csv(export)).decode(), newline=""))
    told: dict[str, Any] = json.loads(dict(zip(header, row, strict=True))["message"])
    return told


def test_every_event_is_exported_once_and_in_order_and_the_export_itself_is_one(
    records: Records, either_house: Console
) -> None:
    made = [an_event() for _ in range(MANY)]
    keep(either_house, None, [], made)

    exported = list(records.audit_events(mary, EventFilter()))

    assert [json.loads(event.leaf)["id"] for event in exported[:-1]] == [str(event.id) for event in made]
    assert [event.index for event in exported] == list(range(MANY + 1))
    last = json.loads(exported[-1].leaf)
    assert (last["kind"], last["actor"]) == (EventKind.EXPORT_MADE, {"kind": "person"})
    assert json.loads(exported[-1].openings)["actor_id"][1] == mary.id
    assert last["data"] == {"what": "audit", "since": None, "until": None}


def test_every_decision_is_exported_once_and_in_order(records: Records, either_house: Console) -> None:
    item = an_item()
    made = [a_decision(item) for _ in range(MANY)]
    keep(either_house, item, made, [])

    assert [record for _, record in records.decisions(mary)] == made
    assert [label.id for label in records.labels(mary)] == [record.id for record in made]


def test_an_export_between_two_moments_takes_the_first_and_leaves_the_last(
    records: Records, either_house: Console
) -> None:
    item = an_item()
    moments = [START + timedelta(seconds=n) for n in range(4)]
    decisions = [a_decision(item, decided_at=at) for at in moments]
    happened = [an_event(at=at) for at in moments]
    keep(either_house, item, decisions, happened)
    since, until = moments[1], moments[3]

    exported = [
        json.loads(event.leaf)["id"] for event in records.audit_events(mary, EventFilter(since=since, until=until))
    ]

    # The export is itself an event, at the start of the clock, and so before the time that was asked for.
    assert exported == [str(event.id) for event in happened[1:3]]
    where = DecisionFilter(since=since, until=until)
    assert [record for _, record in records.decisions(mary, where)] == decisions[1:3]
    assert [label.id for label in records.labels(mary, where)] == [r.id for r in decisions[1:3]]


WRITERS: dict[str, Callable[[Records, DecisionFilter], Iterator[bytes]]] = {
    "decisions": lambda records, where: decisions_csv(records.decisions(mary, where)),
    "labels": lambda records, where: labels_csv(records.labels(mary, where)),
}


@pytest.mark.parametrize("what", list(WRITERS))
def test_the_last_row_of_an_export_says_what_was_asked_for_and_is_signed(either_house: Console, what: str) -> None:
    items = [an_item(), an_item(agent="buyer")]
    made = [a_decision(item, person) for item in items for person in (ada, grace)]
    either_house.store.write(keeping(*items, *made))
    either_house.sealer.announce(Ed25519PrivateKey.generate().public_key(), SYSTEM)
    where = DecisionFilter(ItemFilter(agent="buyer"), DecisionType.APPROVE, since=START)

    content = b"".join(WRITERS[what](either_house.records, where))

    *before, last = content.splitlines(keepends=True)
    header, *_, row = csv.reader(io.StringIO(content.decode(), newline=""))
    shown = dict(zip(header, row, strict=True))
    note = urlsafe_b64decode(shown["manifest"] + "=" * (-len(shown["manifest"]) % 4)).decode()
    head = either_house.store.read(lambda tx: tx.log_head(WORKSPACE))
    assert head is not None
    key = verifier_key(head.origin, either_house.receipts.verifying_key)
    first_line, told_line, _ = opened(note, trusted(key)).split("\n")
    told = json.loads(told_line)
    assert first_line == f"{head.origin}/export/{what}"
    assert (shown["id"], shown["message"], shown["decided_at"]) == ("manifest", told_line, told["made_at"])
    assert told | {"made_at": "", "checkpoint": "", "successors": [], "filter_salt": ""} == {
        "version": 1,
        "what": what,
        "origin": head.origin,
        "workspace": WORKSPACE,
        "made_at": "",
        "filter": {"items": {"agent": "buyer"}, "decision": "approve", "since": START.isoformat()},
        "filter_salt": "",
        "first": str(made[2].id),
        "last": str(made[3].id),
        "count": 2,
        "sha256": hashlib.sha256(b"".join(before)).hexdigest(),
        "shows_names": what == "decisions",
        "shows_values": False,
        "checkpoint": "",
        "successors": [],
    }
    assert Checkpoint.parse(opened(told["checkpoint"], trusted(key))).size == head.frontier.size
    assert len(told["successors"]) == 1
    assert opened(told["successors"][0], trusted(key)).startswith(f"{head.origin}/next-key\n")
    assert last not in before


def test_a_row_that_was_left_out_or_altered_shows_in_the_manifest(records: Records, either_house: Console) -> None:
    item = an_item()
    keep(either_house, item, [a_decision(item) for _ in range(3)], [])
    header, *made, manifest = b"".join(decisions_csv(records.decisions(mary))).splitlines(keepends=True)
    altered = made[1].replace(b"approve", b"decline")

    digests = {
        hashlib.sha256(b"".join(rows)).hexdigest() in manifest.decode()
        for rows in ([header, *made[:2]], [header, *made[1:]], [header, made[0], altered, made[2]], made)
    }

    assert digests == {False}
    assert hashlib.sha256(b"".join([header, *made])).hexdigest() in manifest.decode()
    assert altered != made[1]


def test_an_export_without_a_checkpoint_is_signed_all_the_same(records: Records) -> None:
    content = b"".join(labels_csv(records.labels(mary))).decode()

    header, row = csv.reader(io.StringIO(content, newline=""))
    told = json.loads(dict(zip(header, row, strict=True))["message"])
    assert (told["count"], told["first"], told["checkpoint"]) == (0, None, None)
    assert told["origin"] == "console.test/default"


def test_reviewers_are_named_only_for_who_may_export_the_audit_log(records: Records, either_house: Console) -> None:
    item = an_item()
    keep(either_house, item, [a_decision(item)], [])

    named, unnamed = (b"".join(decisions_csv(records.decisions(person))) for person in (mary, grace))

    assert ada.name.encode() in named
    assert ada.name.encode() not in unnamed
    assert ada.id.encode() not in unnamed
    assert pseudonym(WORKSPACE, ada.iss, ada.sub).encode() in unnamed


def test_one_reviewers_decisions_are_exported_by_the_name_that_the_asker_may_know(
    records: Records, either_house: Console
) -> None:
    item = an_item()
    made = [a_decision(item), a_decision(item, grace), a_decision(item, replace(ada, name="Ada King"))]
    keep(either_house, item, made, [])
    alias = pseudonym(WORKSPACE, ada.iss, ada.sub)

    found = {
        asked: [record for _, record in records.decisions(mary, DecisionFilter(reviewer=asked))]
        for asked in (alias, ada.id, ada.name, "Ada King")
    }

    assert list(found.values()) == [[made[0], made[2]]] * 4
    assert [label.id for label in records.labels(grace, DecisionFilter(reviewer=alias))] == [made[0].id, made[2].id]
    assert records.count_decisions(grace, DecisionFilter(reviewer=alias)) == 2
    for asker, asked in ((grace, ada.name), (grace, ada.id), (mary, "Nobody")):
        with pytest.raises(UnknownReviewerError, match=f"Nobody known as {asked}"):
            records.decisions(asker, DecisionFilter(reviewer=asked))


def test_a_reviewer_exports_their_own_decisions_and_nobody_elses(records: Records, either_house: Console) -> None:
    item, other = an_item(), an_item(agent="buyer")
    made = [a_decision(item), a_decision(item, grace), a_decision(other)]
    either_house.store.write(keeping(item, other, *made))
    own = pseudonym(WORKSPACE, ada.iss, ada.sub)

    exported = [
        [record for _, record in records.decisions(ada, where)]
        for where in (EVERY_DECISION, DecisionFilter(reviewer=own), DecisionFilter(ItemFilter(agent="buyer")))
    ]

    assert exported == [[made[0], made[2]], [made[0], made[2]], [made[2]]]
    assert list(records.decisions(lin)) == []
    told = [(event.kind, event.actor.id, "filter" in event.data) for event in events(either_house)]
    assert told == [(EventKind.EXPORT_MADE, person.id, True) for person in (ada, ada, ada, lin)]


@pytest.mark.parametrize("asked", [grace.id, grace.name, ada.name, pseudonym(WORKSPACE, grace.iss, grace.sub)])
def test_a_reviewer_exports_nothing_by_another_name_than_their_pseudonym(
    records: Records, either_house: Console, asked: str
) -> None:
    item = an_item()
    keep(either_house, item, [a_decision(item), a_decision(item, grace)], [])

    with pytest.raises(NotAllowedError):
        records.decisions(ada, DecisionFilter(reviewer=asked))
    with pytest.raises(NotAllowedError):
        records.labels(ada)

    assert events(either_house) == []


def test_the_event_of_a_narrowed_export_says_its_filter_to_nobody_but_who_has_the_manifest(
    records: Records, either_house: Console
) -> None:
    where = DecisionFilter(ItemFilter(text="Ada's cup"))

    made = [last_told(records.labels(mary, where)) for _ in range(2)]

    committed = [event.data["filter"] for event in sorted(events(either_house), key=lambda event: event.id)]
    assert [told["filter"] for told in made] == [{"items": {"text": "Ada's cup"}}] * 2
    assert committed == [
        commitment(urlsafe_b64decode(told["filter_salt"] + "=="), canonical(told["filter"]).decode()) for told in made
    ]
    assert len(set(committed)) == 2
    leaves = b"".join(event.leaf for event in events(either_house))
    assert hashlib.sha256(canonical(made[0]["filter"])).hexdigest().encode() not in leaves


def test_an_export_between_two_times_has_nothing_to_hide(records: Records, either_house: Console) -> None:
    told = last_told(records.labels(mary, DecisionFilter(since=START)))

    (event,) = events(either_house)
    assert event.data == {"what": "labels", "since": START.isoformat(), "until": None}
    assert "filter_salt" not in told


def test_an_export_counts_its_rows_before_and_while_it_is_read(records: Records, either_house: Console) -> None:
    item = an_item()
    keep(either_house, item, [a_decision(item) for _ in range(3)], [an_event() for _ in range(3)])

    decisions, log = records.decisions(mary), records.audit_events(mary, EventFilter())

    begun = (decisions.size, decisions.passed, log.size, log.passed)
    assert [(next(rows) is not None) for rows in (iter(decisions), iter(log))] == [True, True]
    assert begun == (3, 0, 5, 0)
    assert (decisions.passed, log.passed) == (1, 1)
    assert records.count_decisions(mary, EVERY_DECISION) == 3
    assert records.count_events(mary, EventFilter(kind=EventKind.ACTION_SUBMITTED)) == 3


def test_counting_ends_at_the_limit(records: Records, either_house: Console) -> None:
    item = an_item()
    more = COUNT_LIMIT + 5
    keep(either_house, item, [a_decision(item) for _ in range(more)], [an_event() for _ in range(more)])

    counts = (records.count_decisions(mary, EVERY_DECISION), records.count_events(mary, EventFilter()))

    assert counts == (COUNT_LIMIT + 1, COUNT_LIMIT + 1)
    assert records.decisions(mary).size == more


def test_an_export_is_recorded_before_its_first_row_is_read(records: Records, either_house: Console) -> None:
    records.labels(mary)

    assert [event.data["what"] for event in events(either_house)] == ["labels"]


def test_another_workspaces_records_are_not_shown(records: Records, either_house: Console) -> None:
    item = an_item(workspace="elsewhere")
    keep(either_house, item, [a_decision(item)], [an_event(workspace="elsewhere")])

    exported = [*records.decisions(mary), *records.labels(mary)]

    assert (exported, records.label_preview(mary)) == ([], [])
    assert {leaf["workspace"] for leaf in leaves(records.audit_events(mary, EventFilter()))} == {WORKSPACE}


def test_the_log_is_paged_newest_first_and_filtered(records: Records, either_house: Console) -> None:
    made = [an_event(kind=kind) for kind in (EventKind.ITEM_CLAIMED, EventKind.ITEM_DECIDED) for _ in range(5)]
    keep(either_house, None, [], made)
    where = EventFilter(kind=EventKind.ITEM_CLAIMED)

    first = records.events(mary, where, limit=3)
    second = records.events(mary, where, limit=3, cursor=first.next_cursor)

    assert [*first.rows, *second.rows] == made[4::-1]
    assert second.next_cursor is None
    with pytest.raises(InvalidCursorError):
        records.events(mary, where, cursor="nonsense")


def test_a_decision_becomes_a_label(records: Records, either_house: Console, clock: MovableClock) -> None:
    agent = caller(either_house)
    for _ in range(2):
        submit(either_house, agent)
    decide(either_house, Approve())
    clock.advance(timedelta(minutes=1))
    decide(either_house, an_edit(order_id="B-2"))

    labels = list(records.labels(mary))

    assert [(label.verdict, label.agent) for label in labels] == [
        (Verdict.CORRECT, agent.agent),
        (Verdict.WRONG_ARGS, agent.agent),
    ]
    assert ada.name not in repr(labels)
    assert [label.id for label in records.label_preview(mary, limit=1)] == [labels[0].id]


def test_labels_are_counted_by_what_they_say(records: Records, either_house: Console) -> None:
    item, erased, other = an_item(), an_item(erased_at=START), an_item(agent="stock")
    edited = replace(item, draft=an_action(amount="20.00"))
    approves_the_edit = a_decision(item, grace, digest_seen=shown_digest(edited))
    edits, answers = (
        a_decision(item, decision=an_edit(amount="20.00")),
        a_decision(item, decision=Respond(message="No.")),
    )
    keep(either_house, edited, [a_decision(item), edits, approves_the_edit, answers], [])
    keep(either_house, other, [a_decision(other, decision=Reject(message="No."))], [])
    keep(either_house, erased, [a_decision(erased)], [])

    counted = records.label_counts(mary)

    told = Counter((label.agent, label.proposed.name, label.decision) for label in records.labels(mary))
    assert {(agent, tool, decision): labels for agent, tool, decision, labels in counted} == told
    assert told[item.agent, "refund_order", DecisionType.EDIT] == 2


CARD = "4111 1111 1111 1111"
WORDS = "Augusta by her own hand"
HIDES = PolicyDocument(sensitive=(Sensitive(tool="refund_order", at=("/note",)),))


def with_masked_values(house: Console) -> None:
    house.save_policy(HIDES)
    entry = ContextEntry(kind=ContextKind.MESSAGE, role="user", content=f"{WORDS}: {CARD}")
    request = a_request(action=an_action(note=WORDS, card=CARD), context=(entry,), description=f"for {CARD}")
    item = an_item(request=request)
    edit = an_edit(note=f"{WORDS} again", card=CARD)
    house.store.write(keeping(item, a_decision(item, decision=edit), a_decision(item, decision=Reject(message=CARD))))


def exported(house: Console, what: str, *, shows_values: bool) -> str:
    labels = {"labels.csv": labels_csv, "labels.jsonl": labels_jsonl, "labels-hf.zip": training_archive}
    if what == "decisions.csv":
        return b"".join(decisions_csv(house.records.decisions(mary, shows_values=shows_values))).decode()
    content = b"".join(labels[what](house.records.labels(mary, shows_values=shows_values)))
    if not what.endswith("zip"):
        return content.decode()
    archive = zipfile.ZipFile(io.BytesIO(content))
    return "".join(archive.read(name).decode() for name in archive.namelist())


FILES = ("decisions.csv", "labels.csv", "labels.jsonl", "labels-hf.zip")


@pytest.mark.parametrize("what", FILES)
def test_an_export_is_masked_unless_whoever_may_reveal_asks_for_the_values(either_house: Console, what: str) -> None:
    with_masked_values(either_house)

    masked, whole = (exported(either_house, what, shows_values=shows) for shows in (False, True))

    assert [word in masked for word in (CARD, WORDS)] == [False, False]
    assert "masked card number: …1111" in masked
    assert [word in whole for word in (CARD, WORDS)] == [True, True]
    told = [event.data.get("shows_values") for event in events(either_house) if event.kind is EventKind.EXPORT_MADE]
    assert told == [None, True]


def test_what_a_decision_says_of_the_proposal_stands_in_a_masked_label(either_house: Console) -> None:
    with_masked_values(either_house)

    masked, whole = (list(either_house.records.labels(mary, shows_values=shows)) for shows in (False, True))

    assert [label.verdict for label in masked] == [label.verdict for label in whole]
    assert [label.id for label in masked] == [label.id for label in whole]


def test_a_preview_of_labels_is_masked(either_house: Console) -> None:
    with_masked_values(either_house)

    assert not {word for word in (CARD, WORDS) if word in repr(either_house.records.label_preview(mary))}


def test_who_may_not_reveal_gets_no_export_with_the_values(either_house: Console) -> None:
    with_masked_values(either_house)

    for export in (either_house.records.labels, either_house.records.decisions):
        with pytest.raises(NotAllowedError):
            export(root, shows_values=True)
        with pytest.raises(NotAllowedError):
            export(ada, shows_values=True)

    assert EventKind.EXPORT_MADE not in {event.kind for event in events(either_house)}
