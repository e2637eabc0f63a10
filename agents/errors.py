"""The doubts on which the gate stays shut; every one of them has its own error with a stable code."""

from uuid import UUID

from .protocol import Execution


class GateError(Exception):
    """The gate could not be sure that this action is permitted, so it was not run."""

    code = "gate_error"


class ServerAwayError(GateError):
    """The console could not be reached, or only answered that it is out of order."""

    code = "server_away"

    def __init__(self, *, why: str) -> None:
        super().__init__(f"Signoff is away: {why}.")


class ServerRefusedError(GateError):
    """The console refused; ``code`` and ``detail`` are those of its problem document (RFC 9457)."""

    def __init__(self, code: str, detail: str, status: int) -> None:
        super().__init__(f"Signoff refused: {detail} ({code}, {status})")
        self.code = code
        self.detail = detail
        self.status = status


class AnswerUnreadableError(GateError):
    """The console's answer does not follow the protocol."""

    code = "answer_unreadable"

    def __init__(self, *, why: str) -> None:
        super().__init__(f"The answer of the console cannot be read: {why}")


class RequestInvalidError(GateError):
    """The action cannot be sent: it breaks a limit of the protocol."""

    code = "request_invalid"

    def __init__(self, *, why: str) -> None:
        super().__init__(f"This action cannot be put before a reviewer: {why}")


class UndecidedError(GateError):
    """The item's time is over, and the console neither settled nor expired it."""

    code = "undecided"

    def __init__(self, item_id: UUID) -> None:
        super().__init__(f"Item {item_id} is past its time, but the console has not closed it.")
        self.item_id = item_id


class AlreadyConsumedError(GateError):
    """The permission was used by an earlier run of the same call; ``execution`` is how far that had come."""

    code = "already_consumed"

    def __init__(self, item_id: UUID, execution: Execution = Execution.STARTED) -> None:
        super().__init__(
            f"The permission of item {item_id} was used before, so it was not run again. "
            "Look at the item for its outcome."
        )
        self.item_id = item_id
        self.execution = execution


class NotPermittedError(GateError):
    """The item is settled in a way that permits nothing that this gate can run."""

    code = "not_permitted"

    def __init__(self, item_id: UUID, *, why: str) -> None:
        super().__init__(f"Item {item_id} permits nothing here: {why}.")
        self.item_id = item_id


class PermissionOverError(NotPermittedError):
    """The action was permitted, but the permission was not used in its time."""

    code = "permission_over"

    def __init__(self, item_id: UUID) -> None:
        super().__init__(item_id, why="its permission is over, or it carries no receipt")


class StoppedInsideError(GateError):
    """The tool called LangGraph's ``interrupt`` in the middle of its one permitted run, which cannot be begun again."""

    code = "stopped_inside"

    def __init__(self, tool: str) -> None:
        super().__init__(
            f"{tool} stopped for an interrupt, and to go on it would be run again, which its permission does not "
            "allow. Ask before the tool is called, or guard the tools inside it instead."
        )
        self.tool = tool


class EditRefusedError(GateError):
    """The reviewer's edit is not something that this tool can run."""

    code = "edit_refused"

    def __init__(self, tool: str, *, why: str) -> None:
        super().__init__(f"The reviewer's edit cannot be run by {tool}: {why}")
        self.tool = tool


class KeySetError(GateError):
    """The console's key set cannot be trusted."""

    code = "key_set"

    def __init__(self, *, why: str) -> None:
        super().__init__(f"The console's key set cannot be trusted: {why}.")


class ReceiptError(GateError):
    """The receipt does not permit exactly what is about to run."""

    code = "receipt_refused"


class ReceiptMalformedError(ReceiptError):
    """The receipt is no signed document of the agreed form."""

    code = "receipt_malformed"

    def __init__(self, *, why: str) -> None:
        super().__init__(f"This is no receipt: {why}.")


class ReceiptKeyError(ReceiptError):
    """The receipt is signed with a key that is not pinned here."""

    code = "receipt_key"

    def __init__(self, kid: str) -> None:
        super().__init__(f"The receipt is signed with the key {kid[:80]!r}, which is not trusted here.")


class ReceiptSignatureError(ReceiptError):
    """The signature does not verify."""

    code = "receipt_signature"

    def __init__(self) -> None:
        super().__init__("The receipt's signature does not verify.")


class ReceiptTimeError(ReceiptError):
    """The receipt has expired, or is dated in the future."""

    code = "receipt_time"

    def __init__(self, *, why: str) -> None:
        super().__init__(f"The receipt is out of its time: it {why}. If this is wrong, look at this machine's clock.")


class ReceiptClaimError(ReceiptError):
    """The receipt is genuine, but for somebody or something else."""

    code = "receipt_claim"

    def __init__(self, *, claim: str, said: str, wanted: str) -> None:
        super().__init__(f"The receipt's {claim} is {said[:200]!r}, not {wanted[:200]!r}.")
        self.claim = claim


class ReceiptDigestError(ReceiptError):
    """The arguments about to run are not the arguments that were approved."""

    code = "receipt_digest"

    def __init__(self) -> None:
        super().__init__("The arguments about to run are not the ones that the receipt permits.")
