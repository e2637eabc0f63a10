"""Secrets, personal data and declared fields are masked until somebody reveals them, which is put on record."""

import json
import time
from dataclasses import replace
from typing import Any

import pytest
from pydantic import ValidationError

from agents.protocol import Args, ContextEntry, ContextKind, Edit, Impact, Outcome, OutcomeStatus, Reject
from db.store import SqlStore
from review.audit import EventFilter, EventKind
from review.desk import ReviewDesk, WholeItem
from review.errors import NotAllowedError
from review.indexer import Search
from review.items import Assignment, Reconciliation, ReviewItem
from review.masking import Cover, Kind, KnownValues, Mask, masked_args, masked_subject, masked_text, pattern_of
from review.policy import PolicyDocument, Sensitive
from tests.builders import (
    ISSUER,
    WORKSPACE,
    a_decision,
    a_note,
    a_request,
    ada,
    an_action,
    an_item,
    keeping,
    mary,
    root,
)
from tests.console import Console

SECRETS = [
    "AKIAIOSFODNN7EXAMPLE",
    "ghp_" + "a1B2" * 9,
    "github_pat_" + "a1B2_" * 12,
    "glpat-" + "x" * 20,
    "xoxb-123456789012-abcdefghijkl",
    "sk_live_" + "4eC39HqLyjWDarjtT1zdp7dc",
    "sk-ant-api03-" + "A" * 40,
    "AIza" + "B" * 35,
    "SG." + "c" * 22 + "." + "d" * 43,
    "npm_" + "e" * 36,
    "whsec_" + "Zm9v" * 8,
    "sgn_0123456789ab_" + "f" * 43,
    "eyJhbGciOiJFZDI1NTE5In0.eyJzdWIiOiIxMjM0NTY3ODkwIn0.c2lnbmF0dXJl",
    "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXk=\n-----END OPENSSH PRIVATE KEY-----",
    "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nMC4CAQ==\n-----END RSA PRIVATE KEY-----",
]


@pytest.mark.parametrize("secret", SECRETS)
def test_a_credential_is_masked_wherever_it_stands(secret: str) -> None:
    shown = masked_text(f"use {secret} please")

    assert shown == "use ⟨masked secret⟩ please"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Authorization: Bearer abcdefghijklmnopqrst", "Authorization: Bearer ⟨masked secret⟩"),
        ("https://ada:hunter22@db.example/x", "https://⟨masked secret⟩@db.example/x"),
        (f"https://ada:{SECRETS[1]}@db.example/x", "https://⟨masked secret⟩@db.example/x"),
        (f"Bearer {SECRETS[12]} and {SECRETS[0]}", "Bearer ⟨masked secret⟩ and ⟨masked secret⟩"),
        ("write to ada.lovelace+x@mail.example.com.", "write to ⟨masked e-mail: a…@mail.example.com⟩."),
        ("DE89 3704 0044 0532 0130 00 today", "⟨masked IBAN: DE…3000⟩ today"),
        ("GB82WEST12345698765432", "⟨masked IBAN: GB…5432⟩"),
        ("card 4242 4242 4242 4242", "card ⟨masked card number: …4242⟩"),
        ("378282246310005", "⟨masked card number: …0005⟩"),
        ("call +49 (0)30 1234-5678", "call ⟨masked phone number: +49…78⟩"),
    ],
)
def test_a_mask_says_what_it_hides_and_how_to_recognise_it(text: str, shown: str) -> None:
    assert masked_text(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        *("order A-1001", "49.90 EUR", "R-1042", "2026-11-27T22:00:00Z", "1 234 567.89", "user@localhost"),
        *("DE00 3704 0044 0532 0130 00", "4242 4242 4242 4241", "0.4242424242424242", "skirt-and-trousers-for-summer"),
        *("01a21f09-bc63-70a9-b01d-38719bf8bb91", "+5 points", "a@b", "1234567890123", "#foo_token"),
    ],
)
def test_what_is_no_secret_is_left_as_it_is(text: str) -> None:
    assert masked_text(text) == text


DECLARED: dict[str, Any] = {
    "properties": {
        "code": {"type": "string", "format": "password"},
        "salary": {"type": "number", "writeOnly": True},
        "person": {"$ref": "#/$defs/person"},
        "rows": {"type": "array", "items": {"anyOf": [{"type": "null"}, {"x-signoff-sensitive": True}]}},
    },
    "additionalProperties": {"allOf": [{"properties": {"deep": {"x-signoff-sensitive": True}}}]},
    "$defs": {"person": {"properties": {"name": {"x-signoff-sensitive": True}, "of": {"$ref": "#/$defs/person"}}}},
}


def test_what_a_schema_declares_sensitive_is_masked_whatever_it_is() -> None:
    args: Args = {
        "code": "open sesame",
        "salary": 71_500.5,
        "person": {"name": "Ada", "age": 36, "of": {"name": ["Byron", {"x": "Lord Byron"}]}},
        "rows": ["one", None, {"two": 2}],
        "other": {"deep": "down", "flat": "ground"},
    }

    found = masked_args(args, DECLARED)

    cover = "⟨masked sensitive value⟩"
    assert found.args == {
        "code": cover,
        "salary": cover,
        "person": {"name": cover, "age": 36, "of": {"name": cover}},
        "rows": [cover, None, cover],
        "other": {"deep": cover, "flat": "ground"},
    }
    assert [mask.pointer for mask in found.masks] == [
        *("/code", "/salary", "/person/name", "/person/of/name", "/rows/0", "/rows/2", "/other/deep"),
    ]
    assert masked_text("Say open sesame to Lord Byron.", KnownValues(found.known)) == f"Say {cover} to {cover}."


@pytest.mark.parametrize(
    ("name", "is_masked"),
    [
        *(
            (name, True)
            for name in ("password", "apiKey", "API-KEY", "client_secret", "accessToken", "cvv", "db.password")
        ),
        *((name, False) for name in ("tokens", "input_tokens", "secretary", "pinned", "passenger", "cookies_baked")),
    ],
)
def test_a_field_that_is_named_as_a_secret_is_masked(name: str, is_masked: bool) -> None:  # noqa: FBT001 -- a table's column
    assert bool(masked_args({name: "plain words"}, None).masks) == is_masked


def test_numbers_and_lists_are_looked_into() -> None:
    found = masked_args(
        {"card": 4242424242424242, "to": ["ada@mail.example", "nobody"], "n": 7, "a/b~": ["+4930123456"]}, {}
    )

    assert found.masks == (
        Mask(("card",), Kind.CARD),
        Mask(("to", 0), Kind.EMAIL),
        Mask(("a/b~", 0), Kind.PHONE),
    )
    assert found.masks[-1].pointer == "/a~1b~0/0"
    assert found.args["n"] == 7


def test_a_schema_that_goes_round_or_wide_is_looked_at_within_bounds() -> None:
    wide: dict[str, Any] = {"anyOf": [{"properties": {"x": {"title": str(number)}}} for number in range(5_000)]}
    wide["allOf"] = [{"$ref": "#"}]

    found = masked_args({"x": "plain"}, wide)

    assert found.masks == (Mask(("x",), Kind.DECLARED),)


@pytest.mark.parametrize(
    "piece",
    [
        "a",
        "@",
        "a@",
        "a.",
        "1 ",
        "12",
        "+1",
        "DE12 ABCD ",
        "eyJ",
        "-----BEGIN ",
        "-----BEGIN PRIVATE KEY-----",
        "://a:",
        "sk-",
    ],
)
def test_no_text_takes_long(piece: str) -> None:
    text = piece * (262_144 // len(piece))
    began = time.process_time()

    masked_text(text)

    assert time.process_time() - began < 2


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    ("values", "texts"),
    [
        ([f"{number:04x}" for number in range(12_000)], ["x"] * 41_000),
        ([f"{number:04x}" for number in range(12_000)], ["zzzz"] * 20_000),
        ([f"{number:04x}" for number in range(12_000)], ["z" * 120_000]),
        (["a" * length for length in range(4, 500)], ["a" * 120_000]),
        (["a" * length for length in range(4, 500)], [f"{'a' * 99}b"] * 1_200),
    ],
)
def test_no_number_of_values_takes_long(values: list[str], texts: list[str]) -> None:
    request = a_request(action=an_action(secret=list(values)), metadata={"a": list(texts)})

    masked = WholeItem(an_item(request=request), (), (), None).masked()

    assert masked.item.request.action.args["secret"] == "⟨masked sensitive value⟩"


def test_what_several_values_share_is_masked_with_all_of_them() -> None:
    known = KnownValues({value: Cover(Kind.DECLARED, f"<{value}>") for value in ("abcd", "cdefgh", "efgh", "wxyz")})

    assert masked_text("abcdefgh, efgh wxy wxyzwxyz", known) == "<cdefgh>, <efgh> wxy <wxyz><wxyz>"


@pytest.mark.parametrize("count", [1, 2_000])
def test_a_value_is_found_however_many_there_are(count: int) -> None:
    known = KnownValues({f"{number:05}": Cover(Kind.DECLARED, "***") for number in range(count)})

    assert masked_text("x00000y00000-0000", known) == "x***y***-0000"


CANARY = "canary-77@hidden.example"


@pytest.fixture
def desk(store: SqlStore) -> ReviewDesk:
    return Console(store).desk


# Of what is told of the item below, in the order in which it is read; of metadata, which no view shows, nothing is.
PLACES = [
    *("/to", "proposed/to", "proposed/api_key", "context/0/title", "context/0/content", "impact/subject"),
    *("description", "rationale"),
]


def with_canary(store: SqlStore) -> Any:  # noqa: ANN401 -- a review item
    entry = ContextEntry(kind=ContextKind.MESSAGE, role="user", title=CANARY, content=f"I am {CANARY}.")
    request = a_request(
        action=an_action(to=CANARY, api_key="plain-canary-key"),
        rationale=f"{CANARY} asked for it with plain-canary-key.",
        description=CANARY,
        context=(entry,),
        impact=Impact(subject=CANARY),
        metadata={"by": CANARY},
    )
    item = an_item(request=request, draft=an_action(to=CANARY, text="new"), notes=1)
    store.write(keeping(item, a_note(item, f"Is {CANARY} right?"), a_decision(item, decision=Reject(message=CANARY))))
    return item


def test_a_masked_item_shows_the_value_nowhere_and_is_the_same_item(store: SqlStore, desk: ReviewDesk) -> None:
    item = with_canary(store)
    whole = desk.whole(ada, item.id)

    masked = whole.masked()

    assert list(dict.fromkeys(mask.pointer for mask in whole.masks)) == [*PLACES, "notes/0/text"]
    assert whole.has_masked_args
    assert CANARY in repr(whole)
    assert CANARY not in repr(masked)
    assert "plain-canary-key" not in repr(masked)
    assert (masked.item.id, masked.item.digest, masked.item.version) == (item.id, item.digest, item.version)
    assert whole.item == item


def test_a_reveal_is_on_record_with_its_places_and_without_the_value(store: SqlStore, desk: ReviewDesk) -> None:
    item = with_canary(store)

    desk.reveal(mary, item.id)

    (event,) = store.read(lambda tx: tx.events(WORKSPACE, EventFilter(kind=EventKind.VALUES_REVEALED), limit=5)).rows
    told = {"count": 9, "places": "\n".join([*PLACES, "notes/0/text"])}
    assert (event.actor.id, event.item_id, event.data) == (mary.id, item.id, told)
    assert CANARY not in json.dumps(event.data) + event.leaf.decode()
    assert "/to" not in event.leaf.decode()  # Names of arguments are the agent's words; the leaf only commits to them.


def test_whoever_may_not_reveal_is_refused_and_nothing_is_recorded(store: SqlStore, desk: ReviewDesk) -> None:
    item = with_canary(store)

    with pytest.raises(NotAllowedError):
        desk.reveal(root, item.id)

    assert store.read(lambda tx: tx.events(WORKSPACE, EventFilter(), limit=5)).rows == ()


@pytest.mark.parametrize(
    ("pointer", "places"),
    [
        ("/note", ["/note"]),
        ("/client/name", ["/client/name"]),
        ("/client", ["/client"]),
        ("/client/*", ["/client/name", "/client/born"]),
        ("/lines/0/to", ["/lines/0/to"]),
        ("/lines/*/to", ["/lines/0/to", "/lines/1/to"]),
        ("/*/*/to", ["/lines/0/to", "/lines/1/to"]),
        ("/codes/*", ["/codes/0", "/codes/1"]),
        ("/a~1b", ["/a~1b"]),
        ("/total", ["/total"]),
        ("/lines/to", []),
        ("/clients/name", []),
        ("/client/name/first", []),
        ("/nothing", []),
    ],
)
def test_the_policy_masks_the_places_that_it_names(pointer: str, places: list[str]) -> None:
    args: Args = {
        "note": "by hand",
        "client": {"name": "Ada", "born": 1815},
        "lines": [{"to": "Ada", "is_gift": True}, {"to": "Grace"}],
        "codes": [1, 2],
        "a/b": "both",
        "total": 12.5,
    }

    masked = masked_args(args, None, [pattern_of(pointer)])

    assert [mask.pointer for mask in masked.masks] == places
    assert (masked.args == args) == (not places)


def an_entry(
    kind: ContextKind, *, content: str = "As it is.", title: str | None = None, role: str | None = None
) -> dict[str, Any]:
    return {"context": (ContextEntry(kind=kind, content=content, title=title, role=role),)}


BESIDE: list[tuple[dict[str, Any], str]] = [
    ({"confidence_source": CANARY}, "confidence_source"),
    ({"description": f"For {CANARY}."}, "description"),
    ({"rationale": f"{CANARY} asked."}, "rationale"),
    ({"impact": Impact(subject=CANARY)}, "impact/subject"),
    *(
        (an_entry(kind, content=f"Of {CANARY}."), "context/0/content")
        for kind in ContextKind
        if kind is not ContextKind.IMAGE
    ),
    *((an_entry(kind, title=CANARY), "context/0/title") for kind in ContextKind),
    (an_entry(ContextKind.RECORD, content=json.dumps({"to": [CANARY]})), "context/0/content"),
    (an_entry(ContextKind.MESSAGE, role=CANARY), "context/0/role"),
]


@pytest.mark.parametrize(("about", "place"), BESIDE)
def test_what_stands_beside_the_arguments_alone_is_masked_too_and_told(about: dict[str, Any], place: str) -> None:
    whole = WholeItem(an_item(request=a_request(**about)), (), (), None)

    masked = whole.masked()

    assert [(mask.pointer, mask.kind) for mask in whole.masks] == [(place, Kind.EMAIL)]
    assert not whole.has_masked_args
    assert CANARY in repr(whole)
    assert CANARY not in repr(masked)
    assert masked.item.request.action == whole.item.request.action


def happened(item: ReviewItem) -> dict[str, Any]:
    """All that people and the agent can have said of it since it was proposed, with the canary in each."""
    found = Reconciliation(
        status=OutcomeStatus.SUCCEEDED,
        note=f"{CANARY} has it.",
        iss=ada.iss,
        sub=CANARY,
        name="Ada",
        at=item.submitted_at,
    )
    return {
        "item": replace(
            item,
            decision=Reject(message=f"Not to {CANARY}."),
            outcome=Outcome(status=OutcomeStatus.FAILED, result={"sent": ["no", CANARY]}, error=f"No mail to {CANARY}"),
            reconciliation=found,
            assignment=Assignment(ISSUER, "grace", "Grace", item.expires_at, by="Ada", note=f"Ask {CANARY} first."),
        ),
        "notes": (a_note(item), a_note(item, f"Is {CANARY} right?")),
        "repeated": (a_decision(item, decision=Edit(edited_action=an_action(to=CANARY))),),
    }


def test_what_was_said_of_an_item_since_is_masked_without_a_mask_in_its_arguments() -> None:
    whole = WholeItem(**(happened(an_item()) | {"decisions": (), "args_schema": None}))

    masked = whole.masked()

    assert [mask.pointer for mask in whole.masks] == [
        *("decision/message", "outcome/result/sent/1", "outcome/error", "reconciliation/note"),
        "assignment/note",
        *("notes/1/text", "repeated/0/edited_action/args/to"),
    ]
    assert not whole.has_masked_args
    assert masked.item.reconciliation is not None
    assert masked.item.reconciliation.sub == CANARY  # Who found it is no content of the item.
    assert CANARY not in repr(replace(masked, item=replace(masked.item, reconciliation=None)))
    assert CANARY not in masked.item.reconciliation.note


def test_every_kind_of_value_in_a_text_is_told_and_its_place_once(store: SqlStore, desk: ReviewDesk) -> None:
    both = f"I am {CANARY}, my card is 4242 4242 4242 4242, and I am {CANARY}."
    item = an_item(request=a_request(**an_entry(ContextKind.MESSAGE, content=both)))
    store.write(keeping(item))

    desk.reveal(mary, item.id)

    kinds = [mask.kind for mask in desk.whole(ada, item.id).masks]
    (event,) = store.read(lambda tx: tx.events(WORKSPACE, EventFilter(kind=EventKind.VALUES_REVEALED), limit=5)).rows
    assert kinds == [Kind.EMAIL, Kind.CARD]
    assert event.data == {"count": 1, "places": "context/0/content"}


@pytest.mark.parametrize("metadata", [{}, {"by": CANARY}])
def test_where_nothing_that_is_shown_is_masked_nothing_is_revealed(
    store: SqlStore, desk: ReviewDesk, metadata: dict[str, Any]
) -> None:
    item = an_item(request=a_request(metadata=metadata))
    store.write(keeping(item))

    desk.reveal(mary, item.id)

    assert desk.whole(mary, item.id).masks == ()
    assert store.read(lambda tx: tx.events(WORKSPACE, EventFilter(), limit=5)).rows == ()


BY_POLICY = PolicyDocument(sensitive=(Sensitive(tool="refund_order", at=("/note", "/lines/*/to")),))
HIDDEN = "Augusta by her own hand"


def declared(console: Console, **args: Any) -> Any:  # noqa: ANN401 -- JSON values, and a review item
    console.save_policy(BY_POLICY)
    item = an_item(request=a_request(action=an_action(**args), rationale=f"She wrote {HIDDEN}."))
    console.store.write(keeping(item))
    return item


def test_what_the_policy_declares_is_masked_throughout_and_each_reveal_names_it(store: SqlStore) -> None:
    console = Console(store)
    item = declared(console, note=HIDDEN, lines=[{"to": "Ada"}], amount="1.00")

    whole = console.desk.whole(ada, item.id)
    console.desk.reveal(mary, item.id)

    assert [mask.pointer for mask in whole.masks] == ["/note", "/lines/0/to", "rationale"]
    assert HIDDEN not in repr(whole.masked())
    assert whole.masked().item.request.action.args["amount"] == "1.00"
    (event,) = store.read(lambda tx: tx.events(WORKSPACE, EventFilter(kind=EventKind.VALUES_REVEALED), limit=5)).rows
    assert event.data["places"] == "/note\n/lines/0/to\nrationale"


def test_what_a_policy_declares_later_is_masked_in_what_was_there_before(store: SqlStore) -> None:
    console = Console(store)
    item = declared(console, note=HIDDEN)

    console.save_policy(PolicyDocument())
    before = console.desk.whole(ada, item.id).masks
    console.save_policy(BY_POLICY)

    assert before == ()
    assert [mask.pointer for mask in console.desk.whole(ada, item.id).masks] == ["/note", "rationale"]


def test_a_masked_value_in_what_a_person_edited_stays_masked(store: SqlStore) -> None:
    console = Console(store)
    item = declared(console, note="by hand")
    edit = Edit(edited_action=an_action(note="Ed", api_key="plain"))
    made = a_decision(item, decision=edit)
    store.write(keeping(made))

    masked = console.desk.whole(ada, item.id).masked()

    assert isinstance(masked.decisions[0].decision, Edit)
    assert masked.decisions[0].decision.edited_action.args == {
        "note": "⟨masked sensitive value⟩",
        "api_key": "⟨masked sensitive value⟩",
    }


def test_a_search_finds_what_is_masked_and_does_not_show_it(store: SqlStore) -> None:
    console = Console(store)
    item = declared(console, note=HIDDEN, order="A-1001")
    search = Search(store, console.policies)
    while search.tick():
        pass

    found = search.snippets(ada, [item.id], "augusta")
    beside = search.snippets(ada, [item.id], "a-1001")

    assert found == {}
    assert beside[item.id].found == "A-1001"


def test_a_list_masks_whom_an_item_concerns() -> None:
    assert [masked_subject(subject) for subject in (None, "", "Order A-1", CANARY)] == [
        "",
        "",
        "Order A-1",
        "⟨masked e-mail: c…@hidden.example⟩",
    ]


@pytest.mark.parametrize("at", ["note", "", "/", "//a", "/a~2", "/a/", "/" + "x" * 512, "/a" * 33])
def test_what_is_no_place_in_arguments_is_not_declared(at: str) -> None:
    with pytest.raises(ValidationError):
        Sensitive(tool="refund_order", at=(at,))
