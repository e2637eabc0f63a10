"""The signing key and the receipts made with it."""

import json
import stat
from base64 import urlsafe_b64decode
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jws
from joserfc.jwk import OKPKey
from uuid_utils.compat import uuid7

from agents.protocol import Approve, Status
from agents.receipts import MAX_RECEIPT_CHARACTERS, RECEIPT_TYPE
from review import lifecycle
from review.errors import NotPermittedError, ReceiptRefusedError
from review.items import Purpose, ReviewItem
from review.signing import (
    MAX_CARRIED,
    RECEIPT_LIFE,
    Receipts,
    adopt_successor,
    load_former_keys,
    load_signing_key,
    load_successor,
    new_permission_id,
)
from tests.builders import AGENT, WORKSPACE, an_item
from tests.clock import START
from tests.review.steps import all_at_once, an_edit

SECOND = timedelta(seconds=1)
KEY = OKPKey.generate_key("Ed25519")
RECEIPTS = Receipts(KEY, issuer="https://console.example")


def permitted(decision: Any = None, *, permit_for: timedelta = timedelta(hours=1)) -> ReviewItem:  # noqa: ANN401 -- approve or edit
    item = an_item(epoch=3, quorum=2)
    jti = new_permission_id()
    return lifecycle.settled(item, decision or Approve(), by="Ada", now=START, jti=jti, permit_for=permit_for)


def issued(item: ReviewItem) -> str:
    return RECEIPTS.issue(item, reviewers=("a#ada", "a#grace"), now=START)


def recognise(token: str, item: ReviewItem, **other: Any) -> Any:  # noqa: ANN401 -- what is asked of the receipts
    asked = {"workspace": WORKSPACE, "agent": AGENT, "item_id": item.id, "now": START, **other}
    return RECEIPTS.recognise(token, **asked)


def test_a_key_is_made_once_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "key.pem"

    first, again = load_signing_key(path), load_signing_key(path)

    assert first.thumbprint() == again.thumbprint()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [file.name for file in path.parent.iterdir()] == ["key.pem"]


def test_many_that_start_at_once_agree_on_one_key(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"

    keys = all_at_once(8, lambda _: load_signing_key(path).thumbprint())

    assert set(keys) == {load_signing_key(path).thumbprint()}


def test_only_the_public_half_is_told() -> None:
    (told,) = RECEIPTS.jwks()["keys"]

    assert set(told) == {"kty", "crv", "x", "kid", "use", "alg"}
    assert told["kid"] == KEY.thumbprint()
    assert RECEIPTS.public_pem().startswith(b"-----BEGIN PUBLIC KEY-----")


def test_a_receipt_says_what_was_permitted_to_whom_and_by_whom() -> None:
    item = permitted(an_edit(order_id="B-2"))

    token = issued(item)

    header = json.loads(urlsafe_b64decode(token.partition(".")[0] + "=="))
    assert header == {"alg": "Ed25519", "typ": RECEIPT_TYPE, "kid": KEY.thumbprint()}
    assert recognise(token, item).model_dump() == {
        "iss": "https://console.example",
        "aud": AGENT,
        "sub": item.id,
        "jti": item.jti,
        "iat": int(START.timestamp()),
        "exp": int((START + RECEIPT_LIFE).timestamp()),
        "workspace": WORKSPACE,
        "tool": "refund_order",
        "args_digest": item.permitted_digest,
        "original_digest": item.digest,
        "decision": "edit",
        "reviewers": ("a#ada", "a#grace"),
        "quorum": 2,
        "policy_version": 1,
        "epoch": 3,
        "checkpoint": None,
    }


def test_a_receipt_ends_with_its_permission_if_that_is_sooner() -> None:
    item = permitted(permit_for=timedelta(seconds=90))

    claims = recognise(issued(item), item)

    assert claims.exp == int((START + timedelta(seconds=90)).timestamp())


@pytest.mark.parametrize(
    "item",
    [
        an_item(),
        an_item(status=Status.SETTLED),
        lifecycle.expired(an_item(), START),
        lifecycle.settled(
            an_item(purpose=Purpose.AUDIT), Approve(), by="Ada", now=START, jti=uuid7(), permit_for=timedelta(hours=1)
        ),
    ],
    ids=["waiting", "settled without a permission", "expired", "audit"],
)
def test_what_permits_nothing_has_no_receipt(item: ReviewItem) -> None:
    with pytest.raises(NotPermittedError):
        RECEIPTS.issue(item, reviewers=(), now=START)


@pytest.mark.parametrize(
    ("other", "why"),
    [
        ({"workspace": "elsewhere"}, "somebody else"),
        ({"agent": "another"}, "somebody else"),
        ({"item_id": uuid7()}, "another item"),
        ({"now": START + RECEIPT_LIFE}, "expired"),
    ],
)
def test_a_receipt_is_recognised_only_where_it_belongs(other: dict[str, Any], why: str) -> None:
    item = permitted()

    with pytest.raises(ReceiptRefusedError, match=why):
        recognise(issued(item), item, **other)


def test_a_receipt_of_another_console_is_refused() -> None:
    item = permitted()
    others = [
        Receipts(KEY, issuer="https://another.example"),
        Receipts(OKPKey.generate_key("Ed25519"), issuer="https://console.example"),
    ]

    for other in others:
        with pytest.raises(ReceiptRefusedError):
            recognise(other.issue(item, reviewers=(), now=START), item)


@pytest.mark.parametrize("header", [{"typ": "JWT"}, {"typ": None}, {"kid": "another"}, {"kid": None}])
def test_our_own_signature_on_another_kind_of_document_is_refused(header: dict[str, Any]) -> None:
    item = permitted()
    payload = jws.deserialize_compact(issued(item), KEY, algorithms=["Ed25519"]).payload or b""
    full = {"alg": "Ed25519", "typ": RECEIPT_TYPE, "kid": KEY.thumbprint()} | header
    stated = {name: value for name, value in full.items() if value is not None}
    token = jws.serialize_compact(stated, payload, KEY, algorithms=["Ed25519"])

    with pytest.raises(ReceiptRefusedError):
        recognise(token, item)


@given(text=st.text() | st.from_regex(r"[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*", fullmatch=True))
def test_any_text_is_refused_as_no_receipt(text: str) -> None:
    with pytest.raises(ReceiptRefusedError):
        recognise(text, an_item())


@given(place=st.integers(min_value=0), bit=st.integers(0, 5))
def test_a_changed_sign_anywhere_is_noticed(place: int, bit: int) -> None:
    item = TAMPERED
    token = issued(item)
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    at = place % len(token)
    sign = alphabet[alphabet.index(token[at]) ^ (1 << bit)] if token[at] in alphabet else "A"
    changed = token[:at] + sign + token[at + 1 :]

    try:
        claims = recognise(changed, item)
    except ReceiptRefusedError:
        return
    # The last sign of a base64 part has bits that stand for nothing: the same bytes, so the same receipt.
    assert urlsafe_b64decode(changed.split(".")[2] + "==") == urlsafe_b64decode(token.split(".")[2] + "==")
    assert claims == recognise(token, item)


TAMPERED = permitted()


def test_a_receipt_is_renewed_in_its_second_half() -> None:
    item = permitted()
    kept = issued(item)
    with_receipt = replace(item, receipt=kept)
    half = RECEIPT_LIFE / 2

    renewed = [RECEIPTS.renewed(with_receipt, START + after) for after in (timedelta(), half - SECOND, half + SECOND)]

    assert renewed[:2] == [kept, kept]
    fresh = recognise(renewed[2] or "", item, now=START + half + SECOND)
    assert fresh.exp == int((START + half + SECOND + RECEIPT_LIFE).timestamp())
    assert fresh.jti == item.jti


def test_a_receipt_is_renewed_after_its_end_but_not_after_its_permissions() -> None:
    item = permitted()
    with_receipt = replace(item, receipt=issued(item))
    until = item.permitted_until
    assert until is not None

    last, after = (RECEIPTS.renewed(with_receipt, at) for at in (until - SECOND, until))

    assert recognise(last or "", item, now=until - SECOND).exp == int(until.timestamp())
    assert after is None
    assert RECEIPTS.renewed(item, START) is None


def test_a_former_keys_receipts_are_still_recognised_and_renewed_with_the_new_key() -> None:
    new = OKPKey.generate_key("Ed25519")
    receipts = Receipts(new, issuer="https://console.example", former=[OKPKey.import_key(KEY.as_pem(private=False))])
    item = permitted()
    item = replace(item, receipt=issued(item))
    later = START + RECEIPT_LIFE * 0.75

    claims = receipts.recognise(item.receipt or "", workspace=WORKSPACE, agent=AGENT, item_id=item.id, now=START)
    renewed = receipts.renewed(item, later)

    assert claims.jti == item.jti
    header = json.loads(urlsafe_b64decode((renewed or "").partition(".")[0] + "=="))
    assert header["kid"] == new.thumbprint()
    assert [key["kid"] for key in receipts.jwks()["keys"]] == [new.thumbprint(), KEY.thumbprint()]


def test_a_key_is_replaced_by_its_successor_and_remembered(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    kids = [load_signing_key(path).thumbprint()]

    for _ in range(2):
        assert load_successor(path).thumbprint() == load_successor(path).thumbprint()
        kids.append(load_successor(path).thumbprint())
        adopt_successor(path)

    assert load_signing_key(path).thumbprint() == kids[-1]
    assert [key.thumbprint() for key in load_former_keys(path)] == kids[:-1]
    assert not any(key.is_private for key in load_former_keys(path))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_receipt_carries_the_checkpoint_and_stays_within_its_length() -> None:
    receipts = Receipts(KEY, issuer="https://console.example")
    receipts.carry(WORKSPACE, "x" * MAX_CARRIED)
    item = permitted()

    token = receipts.issue(item, reviewers=("a#ada",), now=START)

    claims = receipts.recognise(token, workspace=WORKSPACE, agent=AGENT, item_id=item.id, now=START)
    assert claims.checkpoint == "x" * MAX_CARRIED
    assert len(token) < MAX_RECEIPT_CHARACTERS / 2
