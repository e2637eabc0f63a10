"""The signing key and the receipts made with it (JWS, Ed25519; see `agents.receipts` for the form)."""

import logging
import os
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from joserfc import jws
from joserfc.errors import BadSignatureError, JoseError
from joserfc.jwk import OKPKey
from pydantic import ValidationError
from uuid_utils.compat import uuid7

from agents.protocol import DecisionType, Status
from agents.receipts import RECEIPT_ALGORITHM, RECEIPT_TYPE, ReceiptClaims
from review.checkpoints import signed
from review.errors import NotPermittedError, ReceiptFault, ReceiptRefusedError
from review.items import Purpose, ReviewItem

RECEIPT_LIFE = timedelta(minutes=15)
# A receipt may have 8192 signs in all, and a checkpoint is there to be kept, not to keep the receipt from its holder.
MAX_CARRIED = 1024
_ITEMS_TOLD = 10_000

_log = logging.getLogger("signoff.signing")


class SigningKeyError(ValueError):
    """The signing key is none, or of another kind."""

    def __init__(self) -> None:
        super().__init__("The signing key is not a private Ed25519 key. Put one there, or let Signoff make a new one.")


class ForeignDocumentError(ValueError):
    """What was signed is a document of another type, or names another key."""


def load_signing_key(path: Path) -> OKPKey:
    """Return the Ed25519 key kept in the PEM file; make one, readable by its owner alone, where there is none."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        # A name of its own, not the process's number: containers that share a volume have the same numbers.
        handle, name = tempfile.mkstemp(prefix=f"{path.name}.", suffix=".new", dir=path.parent)
        draft = Path(name)
        with os.fdopen(handle, "wb") as file:
            file.write(OKPKey.generate_key("Ed25519").as_pem(private=True))
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, path)  # Unlike a rename, this never replaces the key that another process made first.
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    return OKPKey.import_key(path.read_bytes())


def load_former_keys(path: Path) -> list[OKPKey]:
    """Return the public halves of the keys that came before the one in the PEM file, oldest first."""
    former = _beside(path, "former")
    if not former.exists():
        return []
    end = "-----END PUBLIC KEY-----\n"
    return [OKPKey.import_key(pem + end) for pem in former.read_text(encoding="ascii").split(end)[:-1]]


def load_successor(path: Path) -> OKPKey:
    """Return the key that is to follow the one in the PEM file; make one where there is none."""
    return load_signing_key(_beside(path, "next"))


def adopt_successor(path: Path) -> None:
    """Put the successor in the place of the key in the PEM file, and keep the public half of the one that goes.

    May be broken off at any point and called again.
    """
    public = load_signing_key(path).as_pem(private=False)
    former = _beside(path, "former")
    known = former.read_bytes() if former.exists() else b""
    if public not in known:
        draft = _beside(path, "former.new")
        draft.write_bytes(known + public)
        draft.replace(former)
    _beside(path, "next").replace(path)


def _beside(path: Path, what: str) -> Path:
    return path.with_name(f"{path.name}.{what}")


class Receipts:
    """Issues receipts for permitted items, and recognises its own.

    ``issuer`` is the console's public address; receipts of another issuer, workspace, agent or item are refused. What a
    ``former`` key has signed is still recognised.
    """

    def __init__(self, key: OKPKey, *, issuer: str, former: Sequence[OKPKey] = ()) -> None:
        private = key.private_key
        if not isinstance(private, Ed25519PrivateKey):
            raise SigningKeyError
        self._key = key
        self._private = private
        self._issuer = issuer
        self._kid = key.thumbprint()
        self._former = tuple(former)
        self._checkpoints: dict[str, str] = {}
        self._unrecognised: set[UUID] = set()

    @property
    def issuer(self) -> str:
        """Return the console's public address."""
        return self._issuer

    @property
    def verifying_key(self) -> Ed25519PublicKey:
        """Return the public key of receipts and notes."""
        return self._private.public_key()

    def sign_note(self, text: str, name: str) -> str:
        """Return the text as a signed note, under the name of a log. Raises NoteError."""
        return signed(text, name, self._private)

    def carry(self, workspace: str, checkpoint: str) -> None:
        """Put the latest checkpoint of the workspace's log into its receipts from now on, unless it is too long."""
        if len(checkpoint) <= MAX_CARRIED:
            self._checkpoints[workspace] = checkpoint

    def carried(self, workspace: str) -> str | None:
        """Return the checkpoint that receipts of the workspace carry."""
        return self._checkpoints.get(workspace)

    def jwks(self) -> dict[str, Any]:
        """Return the public keys that receipts verify with, as a JWK set (RFC 7517); the one in force comes first."""
        return {
            "keys": [
                {**key.as_dict(private=False), "kid": key.thumbprint(), "use": "sig", "alg": RECEIPT_ALGORITHM}
                for key in (self._key, *self._former)
            ]
        }

    def public_pem(self) -> bytes:
        """Return the public key as PEM, for `key public` and the verifier."""
        return self._key.as_pem(private=False)

    def issue(self, item: ReviewItem, *, reviewers: tuple[str, ...], now: datetime) -> str:
        """Sign the permission that a settled gate item carries; ``reviewers`` are ``iss#sub``, empty for the policy.

        Raises NotPermittedError where the item permits nothing.
        """
        if item.purpose is not Purpose.GATE or item.status is not Status.SETTLED:
            raise NotPermittedError(item.id)
        if item.jti is None or item.decision is None or item.permitted_digest is None:
            raise NotPermittedError(item.id)
        claims = ReceiptClaims(
            iss=self._issuer,
            aud=item.agent,
            sub=item.id,
            jti=item.jti,
            iat=int(now.timestamp()),
            exp=_expiry(item, now),
            workspace=item.workspace,
            tool=item.request.action.name,
            args_digest=item.permitted_digest,
            original_digest=item.digest,
            decision=DecisionType(item.decision.type),
            reviewers=reviewers,
            quorum=item.quorum if reviewers else 0,
            policy_version=item.policy_version,
            epoch=item.epoch,
            checkpoint=self.carried(item.workspace),
        )
        return self.sign(claims.model_dump_json(), RECEIPT_TYPE)

    def renewed(self, item: ReviewItem, now: datetime) -> str | None:
        """Return the item's receipt with a fresh expiry, or as it is while it still has half its life to go.

        None where nothing is permitted any more. One that is not ours, as after the key was replaced without a
        rotation, permits nothing either; the log says so once of each item.
        """
        if item.receipt is None or item.permitted_until is None or now >= item.permitted_until:
            return None
        try:
            claims = self._claims(item.receipt)
        except ReceiptRefusedError as error:
            self._tell_unrecognised(item, error)
            return None
        if claims.exp - now.timestamp() > RECEIPT_LIFE.total_seconds() / 2:
            return item.receipt
        fresh: dict[str, Any] = {"iat": int(now.timestamp()), "exp": _expiry(item, now)}
        fresh["checkpoint"] = self.carried(item.workspace) or claims.checkpoint
        return self.sign(claims.model_copy(update=fresh).model_dump_json(), RECEIPT_TYPE)

    def recognise(self, token: str, *, workspace: str, agent: str, item_id: UUID, now: datetime) -> ReceiptClaims:
        """Return the claims of a receipt that is ours, for this agent and item. Raises ReceiptRefusedError."""
        claims = self._claims(token)
        if (claims.iss, claims.workspace, claims.aud) != (self._issuer, workspace, agent):
            raise ReceiptRefusedError(ReceiptFault.OTHER_HOLDER)
        if claims.sub != item_id:
            raise ReceiptRefusedError(ReceiptFault.OTHER_ITEM)
        if now.timestamp() >= claims.exp:
            raise ReceiptRefusedError(ReceiptFault.EXPIRED)
        return claims

    def sign(self, payload: str, typ: str) -> str:
        """Return the payload signed as a document of this type (JWS)."""
        header = {"alg": RECEIPT_ALGORITHM, "typ": typ, "kid": self._kid}
        return jws.serialize_compact(header, payload, self._key, algorithms=[RECEIPT_ALGORITHM])

    def opened(self, token: str, typ: str) -> bytes:
        """Return what was signed here as a document of this type. Raises JoseError, ValueError."""
        found, key = self._opened(token)
        header = found.headers()
        if (header.get("typ"), header.get("kid")) != (typ, key.thumbprint()):
            raise ForeignDocumentError
        return found.payload or b""

    def _tell_unrecognised(self, item: ReviewItem, error: ReceiptRefusedError) -> None:
        if item.id in self._unrecognised:
            return
        if len(self._unrecognised) >= _ITEMS_TOLD:
            self._unrecognised.clear()
        self._unrecognised.add(item.id)
        _log.warning("item %s is permitted by a receipt that permits nothing: %s", item.id, error)

    def _claims(self, token: str) -> ReceiptClaims:
        try:
            return ReceiptClaims.model_validate_json(self.opened(token, RECEIPT_TYPE))
        except ForeignDocumentError as error:
            raise ReceiptRefusedError(ReceiptFault.FOREIGN) from error
        except (JoseError, ValidationError, ValueError) as error:
            raise ReceiptRefusedError(ReceiptFault.FORGED) from error

    def _opened(self, token: str) -> tuple[jws.CompactSignature, OKPKey]:
        for key in self._former:
            with suppress(BadSignatureError):
                return jws.deserialize_compact(token, key, algorithms=[RECEIPT_ALGORITHM]), key
        return jws.deserialize_compact(token, self._key, algorithms=[RECEIPT_ALGORITHM]), self._key


def _expiry(item: ReviewItem, now: datetime) -> int:
    until = now + RECEIPT_LIFE
    return int(min(until, item.permitted_until or until).timestamp())


def new_permission_id() -> UUID:
    """Return the id under which one execution is permitted, once."""
    return uuid7()
