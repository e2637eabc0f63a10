"""Signoff's hook: what an agent installs so that its doubtful actions wait for a person."""

from typing import TYPE_CHECKING

from .cards import Card, CardField, Format
from .credentials import PrivateKeyJwt
from .errors import (
    AlreadyConsumedError,
    AnswerUnreadableError,
    EditRefusedError,
    GateError,
    KeySetError,
    NotPermittedError,
    PermissionOverError,
    ReceiptClaimError,
    ReceiptDigestError,
    ReceiptError,
    ReceiptKeyError,
    ReceiptMalformedError,
    ReceiptSignatureError,
    ReceiptTimeError,
    RequestInvalidError,
    ServerAwayError,
    ServerRefusedError,
    StoppedInsideError,
    UndecidedError,
)
from .execution import Breaker, Rate, RunPlan, idempotency_key
from .gate import EDIT_NOTICE, About, Gate

if TYPE_CHECKING:
    from .langchain import IdempotencyKey

__all__ = [
    "EDIT_NOTICE",
    "About",
    "AlreadyConsumedError",
    "AnswerUnreadableError",
    "Breaker",
    "Card",
    "CardField",
    "EditRefusedError",
    "Format",
    "Gate",
    "GateError",
    "IdempotencyKey",
    "KeySetError",
    "NotPermittedError",
    "PermissionOverError",
    "PrivateKeyJwt",
    "Rate",
    "ReceiptClaimError",
    "ReceiptDigestError",
    "ReceiptError",
    "ReceiptKeyError",
    "ReceiptMalformedError",
    "ReceiptSignatureError",
    "ReceiptTimeError",
    "RequestInvalidError",
    "RunPlan",
    "ServerAwayError",
    "ServerRefusedError",
    "StoppedInsideError",
    "UndecidedError",
    "idempotency_key",
]


def __getattr__(name: str) -> object:
    # It is a class of LangChain's, whose import costs more than all of the rest: only who asks for it pays.
    if name == "IdempotencyKey":
        from .langchain import IdempotencyKey

        return IdempotencyKey
    message = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(message)
