"""Signoff's hook: what an agent installs so that its doubtful actions wait for a person."""

from .errors import (
    AlreadyConsumedError,
    AnswerUnreadableError,
    EditRefusedError,
    GateError,
    KeySetError,
    NotPermittedError,
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
    UndecidedError,
)
from .gate import About, Gate

__all__ = [
    "About",
    "AlreadyConsumedError",
    "AnswerUnreadableError",
    "EditRefusedError",
    "Gate",
    "GateError",
    "KeySetError",
    "NotPermittedError",
    "ReceiptClaimError",
    "ReceiptDigestError",
    "ReceiptError",
    "ReceiptKeyError",
    "ReceiptMalformedError",
    "ReceiptSignatureError",
    "ReceiptTimeError",
    "RequestInvalidError",
    "ServerAwayError",
    "ServerRefusedError",
    "UndecidedError",
]
