"""Receipts: the signed, single-use permission to execute exactly what was approved.

A receipt is a JWS (RFC 7515) with ``alg`` Ed25519 (RFC 9864) and ``typ`` ``signoff-receipt+jwt``. Its key is
pinned by ``kid``, the RFC 7638 thumbprint; header members that name a key elsewhere are never followed.
"""

from base64 import urlsafe_b64decode
from collections.abc import Mapping
from typing import Annotated, Any, Final
from uuid import UUID

from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import OKPKey
from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from .canonical import NotCanonicalError, action_digest, parse
from .errors import (
    KeySetError,
    ReceiptClaimError,
    ReceiptDigestError,
    ReceiptKeyError,
    ReceiptMalformedError,
    ReceiptSignatureError,
    ReceiptTimeError,
)
from .protocol import DecisionType, Digest

RECEIPT_TYPE: Final = "signoff-receipt+jwt"
RECEIPT_ALGORITHM: Final = "Ed25519"
CLOCK_LEEWAY_SECONDS = 30
MAX_RECEIPT_CHARACTERS = 8192

_HEADER_MEMBERS = {"alg", "typ", "kid"}
_PERMITTING = (DecisionType.APPROVE, DecisionType.EDIT)


class ReceiptClaims(BaseModel):
    """What a receipt says; times are seconds since the epoch."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    iss: str
    aud: str
    sub: UUID
    jti: UUID
    iat: int
    exp: int
    workspace: str
    tool: str
    args_digest: Digest
    original_digest: Digest
    decision: DecisionType
    reviewers: tuple[str, ...]
    quorum: Annotated[int, Field(ge=0)]
    policy_version: int
    epoch: int
    checkpoint: str | None = None


def receipt_keys(key_set: Mapping[str, Any]) -> dict[str, OKPKey]:
    """Return the Ed25519 keys of a JWK set (RFC 7517) by their thumbprints; other kinds are passed over.

    Raises KeySetError where an Ed25519 key is broken, private, or states another ``kid`` than its thumbprint.
    """
    members = key_set.get("keys")
    if not isinstance(members, list):
        raise KeySetError(why="it has no list of keys")
    keys = [_public_key(member) for member in members if _is_ed25519(member)]
    return {key.thumbprint(): key for key in keys}


def verify_receipt(  # noqa: PLR0913 -- each is a claim that has to be what the executor expects
    token: str,
    *,
    keys: Mapping[str, OKPKey],
    audience: str | None,
    item_id: UUID,
    tool: str,
    args: Mapping[str, JsonValue],
    now: float,
    issuer: str | None = None,
) -> ReceiptClaims:
    """Return the claims of a receipt that permits running ``tool`` with exactly ``args`` now.

    ``keys`` are the pinned keys by thumbprint, as `receipt_keys` returns them; ``now`` is in seconds since
    the epoch. An ``audience`` or ``issuer`` of None is not compared. Raises a subclass of ReceiptError on any
    doubt.
    """
    claims = _signed_claims(token, keys)
    if now > claims.exp + CLOCK_LEEWAY_SECONDS:
        raise ReceiptTimeError(why="has expired")
    if claims.iat > now + CLOCK_LEEWAY_SECONDS:
        raise ReceiptTimeError(why="is dated in the future")
    expected = (
        ("issuer", claims.iss, issuer),
        ("audience", claims.aud, audience),
        ("item", str(claims.sub), str(item_id)),
        ("tool", claims.tool, tool),
    )
    for claim, said, wanted in expected:
        if wanted is not None and said != wanted:
            raise ReceiptClaimError(claim=claim, said=said, wanted=wanted)
    if claims.decision not in _PERMITTING:
        raise ReceiptClaimError(claim="decision", said=claims.decision, wanted=" or ".join(_PERMITTING))
    _check_digest(claims, tool, args)
    return claims


def _check_digest(claims: ReceiptClaims, tool: str, args: Mapping[str, JsonValue]) -> None:
    try:
        digest = action_digest(tool, args)
    except NotCanonicalError as error:
        raise ReceiptDigestError from error
    if digest != claims.args_digest:
        raise ReceiptDigestError
    if claims.decision is DecisionType.APPROVE and digest != claims.original_digest:
        raise ReceiptDigestError


def receipt_key_id(token: str) -> str:
    """Return the key id that the receipt's header states, unverified. Raises ReceiptMalformedError."""
    if len(token) > MAX_RECEIPT_CHARACTERS:
        raise ReceiptMalformedError(why="it is too long")
    try:
        header = parse(urlsafe_b64decode(token.partition(".")[0].encode("ascii") + b"=="))
    except (NotCanonicalError, ValueError) as error:
        raise ReceiptMalformedError(why="its header cannot be read") from error
    # An allow-list: no member (jku, jwk, x5u, crit, b64, ...) names a key or changes the verification.
    if not isinstance(header, dict) or set(header) != _HEADER_MEMBERS:
        raise ReceiptMalformedError(why="its header has other members than alg, typ and kid")
    if (header["alg"], header["typ"]) != (RECEIPT_ALGORITHM, RECEIPT_TYPE):
        raise ReceiptMalformedError(why="its header is that of another kind of document")
    kid = header["kid"]
    if not isinstance(kid, str):
        raise ReceiptMalformedError(why="its key id is no text")
    return kid


def _signed_claims(token: str, keys: Mapping[str, OKPKey]) -> ReceiptClaims:
    kid = receipt_key_id(token)
    if kid not in keys:
        raise ReceiptKeyError(kid)
    try:
        signed = jws.deserialize_compact(token, keys[kid], algorithms=[RECEIPT_ALGORITHM])
    except (JoseError, ValueError) as error:
        raise ReceiptSignatureError from error
    if signed.headers() != {"alg": RECEIPT_ALGORITHM, "typ": RECEIPT_TYPE, "kid": kid}:
        raise ReceiptMalformedError(why="its header can be read in two ways")
    try:
        return ReceiptClaims.model_validate(parse(signed.payload or b""))
    except (NotCanonicalError, ValidationError) as error:
        raise ReceiptMalformedError(why="its claims are not those of a receipt") from error


def _is_ed25519(member: object) -> bool:
    return isinstance(member, dict) and member.get("kty") == "OKP" and member.get("crv") == RECEIPT_ALGORITHM


def _public_key(member: dict[str, Any]) -> OKPKey:
    if "d" in member:
        raise KeySetError(why="it publishes a private key")
    try:
        key = OKPKey.import_key(member)
        thumbprint = key.thumbprint()
    except (JoseError, ValueError, TypeError) as error:
        raise KeySetError(why="one of its keys is broken") from error
    if member.get("kid", thumbprint) != thumbprint:
        raise KeySetError(why="a key's kid is not its thumbprint")
    return key
