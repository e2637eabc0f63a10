"""Receipts: every way in which one can be wrong keeps the gate shut."""

import base64
import json
import time
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jws
from joserfc.jwk import ECKey, OctKey, OKPKey
from uuid_utils.compat import uuid7

from agents.canonical import action_digest
from agents.errors import (
    KeySetError,
    ReceiptClaimError,
    ReceiptDigestError,
    ReceiptError,
    ReceiptKeyError,
    ReceiptMalformedError,
    ReceiptSignatureError,
    ReceiptTimeError,
)
from agents.protocol import Args
from agents.receipts import CLOCK_LEEWAY_SECONDS, ReceiptClaims, receipt_keys, verify_receipt
from tests.agents.answers import ARGS, ITEM_ID, KEY, OTHER_KEY, TOOL, claims, key_set, receipt

OTHER_DIGEST = action_digest(TOOL, {**ARGS, "amount": "4900.00"})


def verified(token: str, **changes: Any) -> ReceiptClaims:  # noqa: ANN401 -- any of verify_receipt's arguments
    usual = {
        "keys": receipt_keys(key_set(KEY)),
        "audience": "shopper",
        "issuer": "http://console.test",
        "item_id": ITEM_ID,
        "tool": TOOL,
        "args": ARGS,
        "now": time.time(),
    }
    return verify_receipt(token, **{**usual, **changes})


def unsigned(header: Mapping[str, object], **changes: object) -> str:
    parts = [json.dumps(header).encode(), json.dumps(claims(**changes)).encode(), b""]
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


def test_a_receipt_for_these_very_arguments_permits_them() -> None:
    token = receipt()

    found = verified(token)

    assert found.args_digest == action_digest(TOOL, ARGS)
    assert (found.aud, found.sub, found.tool) == ("shopper", ITEM_ID, TOOL)


def test_an_edit_permits_the_edited_arguments_and_not_the_proposed_ones() -> None:
    token = receipt(decision="edit", args_digest=OTHER_DIGEST)

    found = verified(token, args={**ARGS, "amount": "4900.00"})

    assert found.args_digest == OTHER_DIGEST
    with pytest.raises(ReceiptDigestError):
        verified(token)


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"iss": "http://elsewhere.test"}, ReceiptClaimError),
        ({"aud": "inventory"}, ReceiptClaimError),
        ({"sub": str(uuid7())}, ReceiptClaimError),
        ({"tool": "refund_all"}, ReceiptClaimError),
        ({"decision": "reject"}, ReceiptClaimError),
        ({"decision": "respond"}, ReceiptClaimError),
        ({"args_digest": OTHER_DIGEST}, ReceiptDigestError),
        ({"original_digest": OTHER_DIGEST}, ReceiptDigestError),
        ({"exp": int(time.time()) - CLOCK_LEEWAY_SECONDS - 5}, ReceiptTimeError),
        ({"iat": int(time.time()) + 3600}, ReceiptTimeError),
        ({"exp": "never"}, ReceiptMalformedError),
        ({"exp": None}, ReceiptMalformedError),
        ({"sub": "item"}, ReceiptMalformedError),
        ({"quorum": -1}, ReceiptMalformedError),
        ({"args_digest": "sha256:00"}, ReceiptMalformedError),
        ({"may_run_anything": True}, ReceiptMalformedError),
    ],
)
def test_a_genuine_receipt_with_another_claim_is_refused(changes: dict[str, Any], error: type[ReceiptError]) -> None:
    token = receipt(**changes)

    with pytest.raises(error):
        verified(token)


@pytest.mark.parametrize(
    ("header", "error"),
    [
        ({"typ": "JWT"}, ReceiptMalformedError),
        ({"kid": OTHER_KEY.thumbprint()}, ReceiptKeyError),
        ({"kid": "unknown"}, ReceiptKeyError),
        ({"jku": "https://evil.test/keys"}, ReceiptMalformedError),
        ({"jwk": dict(OTHER_KEY.as_dict(private=False))}, ReceiptMalformedError),
        ({"x5u": "https://evil.test/cert"}, ReceiptMalformedError),
        ({"cty": "json"}, ReceiptMalformedError),
    ],
)
def test_a_receipt_with_another_header_is_refused(header: dict[str, object], error: type[ReceiptError]) -> None:
    token = receipt(header=header)

    with pytest.raises(error):
        verified(token)


def test_a_receipt_signed_by_another_key_under_a_trusted_kid_is_refused() -> None:
    token = receipt(OTHER_KEY, header={"kid": KEY.thumbprint()})

    with pytest.raises(ReceiptSignatureError):
        verified(token)


def test_a_receipt_of_a_key_that_is_not_pinned_is_refused() -> None:
    with pytest.raises(ReceiptKeyError):
        verified(receipt(OTHER_KEY))


@pytest.mark.parametrize("algorithm", ["none", "HS256", "EdDSA", "ES256"])
def test_a_receipt_of_another_algorithm_is_refused(algorithm: str) -> None:
    header = {"alg": algorithm, "typ": "signoff-receipt+jwt", "kid": KEY.thumbprint()}

    with pytest.raises(ReceiptMalformedError):
        verified(unsigned(header))


def test_the_public_key_used_as_a_shared_secret_signs_nothing() -> None:
    secret = OctKey.import_key({"kty": "oct", "k": str(KEY.as_dict(private=False)["x"])})
    header = {"alg": "HS256", "typ": "signoff-receipt+jwt", "kid": KEY.thumbprint()}
    token = jws.serialize_compact(header, json.dumps(claims()), secret, algorithms=["HS256"])

    with pytest.raises(ReceiptMalformedError):
        verified(token)


@pytest.mark.parametrize("part", [0, 1, 2])
def test_a_receipt_with_one_changed_character_is_refused(part: int) -> None:
    parts = receipt().split(".")
    parts[part] = ("B" if parts[part][0] != "B" else "C") + parts[part][1:]

    with pytest.raises(ReceiptError):
        verified(".".join(parts))


def test_a_member_that_stands_twice_in_the_claims_is_refused() -> None:
    payload = json.dumps(claims())[:-1] + ', "tool": "refund"}'
    header = {"alg": "Ed25519", "typ": "signoff-receipt+jwt", "kid": KEY.thumbprint()}
    token = jws.serialize_compact(header, payload, KEY, algorithms=["Ed25519"])

    with pytest.raises(ReceiptMalformedError):
        verified(token)


@pytest.mark.parametrize(
    "args",
    [
        {},
        {**ARGS, "amount": "49.0"},
        {**ARGS, "amount": 49},
        {**ARGS, "note": None},
        {"order_id": "R-1042"},
        {**ARGS, "order_id": "R-1042 "},
        {**ARGS, "big": 2**60},
    ],
)
def test_any_other_arguments_are_refused(args: Args) -> None:
    with pytest.raises(ReceiptDigestError):
        verified(receipt(), args=args)


def test_the_order_of_the_arguments_does_not_matter() -> None:
    verified(receipt(), args=dict(reversed(ARGS.items())))


def test_a_receipt_holds_until_its_expiry_and_the_leeway_of_clocks() -> None:
    expiry = int(time.time())
    token = receipt(iat=expiry - 60, exp=expiry)

    verified(token, now=expiry + CLOCK_LEEWAY_SECONDS)

    with pytest.raises(ReceiptTimeError):
        verified(token, now=expiry + CLOCK_LEEWAY_SECONDS + 1)


@given(st.text(max_size=300) | st.binary(max_size=300).map(lambda raw: raw.decode("latin-1")))
def test_no_text_is_taken_for_a_receipt_or_breaks_the_verifier(token: str) -> None:
    with pytest.raises(ReceiptError):
        verified(token)


@given(st.integers(0, 2), st.data())
def test_a_receipt_with_foreign_bytes_in_it_is_refused(part: int, data: st.DataObject) -> None:
    parts = receipt().split(".")
    foreign = data.draw(st.binary(min_size=1, max_size=80))
    parts[part] = base64.urlsafe_b64encode(foreign).rstrip(b"=").decode()

    with pytest.raises(ReceiptError):
        verified(".".join(parts))


def test_keys_are_known_by_their_thumbprints_and_other_kinds_are_passed_over() -> None:
    elliptic = dict(ECKey.generate_key("P-256").as_dict(private=False))
    agreement = dict(OKPKey.generate_key("X25519").as_dict(private=False))
    published = key_set(KEY, OTHER_KEY)["keys"]

    keys = receipt_keys({"keys": [elliptic, agreement, *published]})

    assert set(keys) == {KEY.thumbprint(), OTHER_KEY.thumbprint()}


@pytest.mark.parametrize(
    "keys",
    [
        {},
        {"keys": "none"},
        {"keys": [{**key_set(KEY)["keys"][0], "kid": OTHER_KEY.thumbprint()}]},
        {"keys": [{"kty": "OKP", "crv": "Ed25519", "x": "AA"}]},
        {"keys": [{"kty": "OKP", "crv": "Ed25519"}]},
        {"keys": [dict(KEY.as_dict(private=True))]},
    ],
)
def test_a_key_set_that_is_broken_or_private_is_not_trusted(keys: dict[str, object]) -> None:
    with pytest.raises(KeySetError):
        receipt_keys(keys)
