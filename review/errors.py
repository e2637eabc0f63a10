"""Refusals: each rule of the review that can say no has its own error, with a stable code."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID


class ReviewError(Exception):
    """A rule of the review does not allow this; the message is fit for the reader's eyes."""

    code = "review_error"
    status = 409


class NotAllowedError(ReviewError):
    """The person's roles do not include this permission."""

    code = "not_allowed"
    status = 403

    def __init__(self, person: str, permission: str) -> None:
        super().__init__(f"{person} may not {permission}. Ask an admin for the role.")


class ItemNotFoundError(ReviewError):
    """There is no such item in this workspace, or it is another agent's."""

    code = "item_not_found"
    status = 404

    def __init__(self, item_id: UUID) -> None:
        super().__init__(f"There is no item {item_id} here.")
        self.item_id = item_id


class ItemErasedError(ReviewError):
    """The item's content was erased: nothing can be compared with it, permitted by it or run any more."""

    code = "item_erased"
    status = 410

    def __init__(self, item_id: UUID) -> None:
        super().__init__(f"The content of item {item_id} was erased, so it permits nothing any more.")
        self.item_id = item_id


class ClaimLostError(ReviewError):
    """The item is not, or no longer, claimed by this reviewer."""

    code = "claim_lost"

    def __init__(self, item_id: UUID, reviewer: str) -> None:
        super().__init__(f"{reviewer} no longer holds this item. Claim it again to decide it.")
        self.item_id = item_id


class ItemHeldError(ReviewError):
    """Another reviewer holds the item."""

    code = "item_held"

    def __init__(self, item_id: UUID, holder: str) -> None:
        super().__init__(f"{holder} is looking at this item. Take another, or ask them to release it.")
        self.item_id = item_id


class ItemAssignedError(ReviewError):
    """The item waits for somebody else."""

    code = "item_assigned"

    def __init__(self, item_id: UUID, name: str) -> None:
        super().__init__(f"This item waits for {name}. Take another, or ask a lead to take it back.")
        self.item_id = item_id


class NotAsideError(ReviewError):
    """The item is neither assigned nor asleep, so there is nothing to end."""

    code = "not_aside"

    def __init__(self, item_id: UUID) -> None:
        super().__init__("This item is there for everybody already; nothing was changed.")
        self.item_id = item_id


class NotTrainedError(ReviewError):
    """The person lacks a skill that the item's queue asks for."""

    code = "not_trained"
    status = 403

    def __init__(self, person: str, queue: str) -> None:
        super().__init__(f"{person} may not work in the queue {queue}: it asks for people trained for it.")


class NobodyThereError(ReviewError):
    """Nobody of this identity can be given items here."""

    code = "nobody_there"
    status = 404

    def __init__(self) -> None:
        super().__init__("Nobody here by that name can be given items. Choose somebody who has signed in lately.")


class UnfitTimeError(ReviewError):
    """An item can sleep until a moment that is to come within two weeks, and that comes before it expires."""

    code = "unfit_time"
    status = 422

    def __init__(self, expires_at: datetime) -> None:
        super().__init__(
            "Choose a time within the next two weeks that lies before the item expires, at "
            f"{expires_at:%Y-%m-%d %H:%M} UTC."
        )
        self.expires_at = expires_at


class AlreadySettledError(ReviewError):
    """The item is settled, expired or cancelled; its decision stands."""

    code = "already_settled"

    def __init__(self, item_id: UUID, status: str) -> None:
        super().__init__(f"This item is already {status}; nothing was changed.")
        self.item_id = item_id


class AlreadyDecidedError(ReviewError):
    """The person has decided the item, and their decision will count unless they take it back."""

    code = "already_decided"

    def __init__(self, item_id: UUID) -> None:
        super().__init__("You have decided this item. Undo your decision first, as long as it can be undone.")
        self.item_id = item_id


class DraftTooLargeError(ReviewError):
    """What was typed is more than is kept before it is sent."""

    code = "draft_too_large"
    status = 413

    def __init__(self, size: int, limit: int) -> None:
        super().__init__(
            f"What you typed ({size:,} bytes) is more than is kept for you ({limit:,}); send it as it stands."
        )


class ViewNotFoundError(ReviewError):
    """There is no such view, or it is another's."""

    code = "view_not_found"
    status = 404

    def __init__(self) -> None:
        super().__init__("There is no such view any more; whoever kept it may have removed it.")


class ViewFault(StrEnum):
    """Why a view cannot be kept, in the words of whoever tried."""

    NAMELESS = "A view needs a name, of up to 80 characters."
    TAKEN = "You have another view of that name."
    LARGE = "What is chosen is too much to keep; search for fewer words."
    MANY = "You have a hundred views of this screen; remove one first."


class ViewRefusedError(ReviewError):
    """A view cannot be kept so."""

    code = "view_refused"
    status = 422

    def __init__(self, fault: ViewFault) -> None:
        super().__init__(fault.value)
        self.fault = fault


class UndoTooLateError(ReviewError):
    """The decision counts by now, so that it cannot be taken back any more."""

    code = "undo_too_late"

    def __init__(self, item_id: UUID) -> None:
        super().__init__("It is too late to undo this decision; it stands.")
        self.item_id = item_id


class ThreadFullError(ReviewError):
    """The item's thread takes no more notes."""

    code = "thread_full"

    def __init__(self, item_id: UUID, notes: int) -> None:
        super().__init__(f"This item has {notes} notes, and takes no more. It can still be decided or withdrawn.")
        self.item_id = item_id


class ItemChangedError(ReviewError):
    """The digest that was shown is not the digest of the item as it stands."""

    code = "item_changed"

    def __init__(self, item_id: UUID) -> None:
        super().__init__("This item changed after it was shown. Look at it again, then decide.")
        self.item_id = item_id


class NothingAlikeError(ReviewError):
    """No two items of this kind wait that may be decided together."""

    code = "nothing_alike"

    def __init__(self, tool: str, agent: str) -> None:
        super().__init__(f"No two calls of {tool} by {agent} can be decided together now; take them one by one.")


class TooManyTogetherError(ReviewError):
    """Nobody looks at more items at once than this."""

    code = "too_many_together"
    status = 422

    def __init__(self, limit: int) -> None:
        super().__init__(f"No more than {limit} items can be decided together.")


class WantsItsOwnLookError(ReviewError):
    """The item may not be decided together with others."""

    code = "wants_its_own_look"

    def __init__(self, item_id: UUID, why: str) -> None:
        super().__init__(f"This item is decided by itself: {why}.")
        self.item_id = item_id


class DecisionNotAllowedError(ReviewError):
    """The agent or the item does not take this kind of decision."""

    code = "decision_not_allowed"
    status = 422

    def __init__(self, decision: str, allowed: tuple[str, ...]) -> None:
        super().__init__(f"This item cannot be answered with {decision}; it takes {', '.join(allowed)}.")


class InvalidArgsError(ReviewError):
    """Arguments do not fit the tool's schema; ``errors`` holds ``(path, message)`` pairs."""

    code = "invalid_args"
    status = 422

    def __init__(self, errors: list[tuple[str, str]]) -> None:
        listed = "; ".join(f"{path or 'the arguments'}: {message}" for path, message in errors[:5])
        super().__init__(f"The arguments do not fit the tool's schema. {listed}")
        self.errors = errors


class InvalidSchemaError(ReviewError):
    """The args_schema is no JSON Schema that we can validate with."""

    code = "invalid_schema"
    status = 422

    def __init__(self, message: str) -> None:
        super().__init__(f"args_schema is not a usable JSON Schema 2020-12: {message}")


class ReasonRequiredError(ReviewError):
    """A rejection needs at least one reason code or a message."""

    code = "reason_required"
    status = 422

    def __init__(self) -> None:
        super().__init__("Say why you reject it: choose a reason or write a message.")


class ReasonNeededError(ReviewError):
    """The item's queue asks for one of certain reason codes with this kind of decision."""

    code = "reason_needed"
    status = 422

    def __init__(self, decision: str, queue: str, codes: tuple[str, ...]) -> None:
        listed = ", ".join(code.replace("_", " ") for code in codes)
        super().__init__(f"In the queue {queue} a decision to {decision} needs a reason: {listed}.")
        self.codes = codes


class KeyFault(StrEnum):
    """Why a key is refused."""

    MISSING = "send it as Authorization: Bearer sgn_…"
    MALFORMED = "it is neither sgn_<prefix>_<secret> nor an access token from here"
    UNKNOWN = "it is unknown"
    EXPIRED = "it has expired"
    REVOKED = "it was revoked"


class KeyRefusedError(ReviewError):
    """The bearer key is missing, malformed, unknown, expired or revoked."""

    code = "key_refused"
    status = 401

    def __init__(self, why: KeyFault) -> None:
        super().__init__(f"The agent key was refused: {why}.")


class KeyNotFoundError(ReviewError):
    """No key with this prefix exists in the workspace."""

    code = "key_not_found"
    status = 404

    def __init__(self, prefix: str) -> None:
        super().__init__(f"There is no key with the prefix {prefix}.")


class KeyOverError(ReviewError):
    """The key lets nobody in any more, so there is nothing to renew."""

    code = "key_over"

    def __init__(self, prefix: str) -> None:
        super().__init__(f"The key {prefix} is revoked or has expired. Make a new one.")


class KeyNotRenewableError(ReviewError):
    """The key is a public one: its agent has the private half, and only a new pair is a successor."""

    code = "key_not_renewable"

    def __init__(self, prefix: str) -> None:
        super().__init__(
            f"The key {prefix} is a public one. Register the agent's next public key, then revoke this one."
        )


class PublicKeyRefusedError(ReviewError):
    """What was to be registered is no public key that an agent can prove itself by."""

    code = "public_key_refused"
    status = 422

    def __init__(self, *, why: str) -> None:
        super().__init__(f"The public key was refused: {why}.")


class TokenFault(StrEnum):
    """Why no access token is given: a stable code."""

    REQUEST = "token_request_malformed"
    GRANT = "grant_unsupported"
    SCOPE = "scope_unknown"
    MALFORMED = "assertion_malformed"
    ALGORITHM = "assertion_algorithm"
    UNVERIFIED = "assertion_unverified"
    AUDIENCE = "assertion_audience"
    LONG = "assertion_too_long"
    EARLY = "assertion_early"
    EXPIRED = "assertion_expired"
    USED = "assertion_used"
    CLIENT_REVOKED = "client_revoked"
    CLIENT_EXPIRED = "client_expired"


_TOKEN_FAULTS = {
    TokenFault.REQUEST: "Send a form with grant_type, client_assertion_type and client_assertion, each once.",
    TokenFault.GRANT: "Only client_credentials with a jwt-bearer assertion is offered.",
    TokenFault.SCOPE: "The only scope is actions.",
    TokenFault.MALFORMED: "The assertion is no JWT with iss, sub, aud, iat, exp and jti.",
    TokenFault.ALGORITHM: "The assertion's algorithm is not accepted for this key.",
    TokenFault.UNVERIFIED: "No key that is registered for this client verifies the assertion.",
    TokenFault.AUDIENCE: "The assertion is not for here: aud is the console's address, or its token endpoint.",
    TokenFault.LONG: "The assertion lasts longer than 5 minutes.",
    TokenFault.EARLY: "The assertion is dated in the future.",
    TokenFault.EXPIRED: "The assertion has expired.",
    TokenFault.USED: "The assertion was used before: each needs a jti of its own.",
    TokenFault.CLIENT_REVOKED: "The client's key was revoked.",
    TokenFault.CLIENT_EXPIRED: "The client's key has expired.",
}
_OAUTH_ERRORS = {
    TokenFault.REQUEST: "invalid_request",
    TokenFault.GRANT: "unsupported_grant_type",
    TokenFault.SCOPE: "invalid_scope",
}


class TokenRefusedError(ReviewError):
    """No access token is given; ``error`` is the word for it in RFC 6749, section 5.2."""

    code = "token_refused"

    def __init__(self, fault: TokenFault) -> None:
        super().__init__(_TOKEN_FAULTS[fault])
        self.code = fault.value
        self.error = _OAUTH_ERRORS.get(fault, "invalid_client")
        self.status = 401 if self.error == "invalid_client" else 400


class InvalidNameError(ReviewError):
    """A name holds characters that a name cannot have."""

    code = "invalid_name"
    status = 422

    def __init__(self, name: str) -> None:
        super().__init__(f"{name[:80]!r} is not a name: use up to 128 letters, digits and _ . : / -.")


class IdempotencyKeyMissingError(ReviewError):
    """A submission came without an Idempotency-Key."""

    code = "idempotency_key_missing"
    status = 400

    def __init__(self) -> None:
        super().__init__("Send an Idempotency-Key header: 1 to 255 visible ASCII characters, one per action.")


class IdempotencyMismatchError(ReviewError):
    """The same Idempotency-Key came with another body."""

    code = "idempotency_mismatch"
    status = 422

    def __init__(self) -> None:
        super().__init__("This Idempotency-Key was used with another body. Use a new key for a new action.")


class InFlightError(ReviewError):
    """A submission with the same Idempotency-Key has not been answered yet."""

    code = "in_flight"

    def __init__(self) -> None:
        super().__init__("A request with this Idempotency-Key is still in flight. Try again in a moment.")


class NotPermittedError(ReviewError):
    """The item does not permit execution."""

    code = "not_permitted"
    status = 403

    def __init__(self, item_id: UUID) -> None:
        super().__init__("This item does not permit execution; nothing may run.")
        self.item_id = item_id


class AlreadyConsumedError(ReviewError):
    """The receipt was consumed before; it is good for one execution, ever."""

    code = "already_consumed"

    def __init__(self, item_id: UUID, at: datetime | None) -> None:
        when = f" at {at.isoformat()}" if at else ""
        super().__init__(f"This receipt was consumed{when}; it permits one execution only.")
        self.item_id = item_id


class ReceiptFault(StrEnum):
    """Why a receipt is refused."""

    FORGED = "its signature does not verify"
    FOREIGN = "it is no receipt of this console"
    OTHER_HOLDER = "it was issued to somebody else"
    OTHER_ITEM = "it is for another item"
    EXPIRED = "it has expired; read the item again for a fresh one"
    OVER = "its permission is over"


class ReceiptRefusedError(ReviewError):
    """The receipt is not ours, not for this item, or past its time."""

    code = "receipt_refused"
    status = 403

    def __init__(self, why: ReceiptFault) -> None:
        super().__init__(f"The receipt was refused: {why}.")


class DigestMismatchError(ReviewError):
    """The arguments about to run are not the arguments that were approved."""

    code = "digest_mismatch"
    status = 403

    def __init__(self, item_id: UUID) -> None:
        super().__init__("These arguments are not the ones that were approved; nothing may run.")
        self.item_id = item_id


class NotStartedError(ReviewError):
    """An outcome was reported for an action that was never started."""

    code = "not_started"

    def __init__(self, item_id: UUID) -> None:
        super().__init__("No execution of this item was started, so it has no outcome to report.")
        self.item_id = item_id


class OutcomeStandsError(ReviewError):
    """Another outcome was reported before, or a person established one."""

    code = "outcome_stands"

    def __init__(self, item_id: UUID, execution: str) -> None:
        super().__init__(f"The outcome of this item is already known as {execution}; it stands.")
        self.item_id = item_id


class OutcomeNotUnknownError(ReviewError):
    """Only an unknown outcome is for a person to establish."""

    code = "outcome_not_unknown"

    def __init__(self, item_id: UUID, execution: str) -> None:
        super().__init__(f"The outcome of this item is not unknown: its execution is {execution}. Nothing was changed.")
        self.item_id = item_id


class NoteRequiredError(ReviewError):
    """A person who establishes an outcome must say how they know."""

    code = "note_required"
    status = 422

    def __init__(self) -> None:
        super().__init__("Say how you know: write a note first.")


class NoteTooLongError(ReviewError):
    """What one reviewer leaves for another has its limit."""

    code = "note_too_long"
    status = 422

    def __init__(self, limit: int) -> None:
        super().__init__(f"The note is too long; {limit:,} characters are the most.")


class UnfitOutcomeError(ReviewError):
    """A person can establish that the action succeeded or failed, and nothing else."""

    code = "unfit_outcome"
    status = 422

    def __init__(self) -> None:
        super().__init__("An unknown outcome is reconciled as succeeded or failed; it was unknown before.")


class InvalidPolicyError(ReviewError):
    """The policy cannot be used; ``problems`` names every rule that is wrong."""

    code = "invalid_policy"
    status = 422

    def __init__(self, problems: list[str]) -> None:
        super().__init__("The policy was not saved. " + " ".join(problems))
        self.problems = problems


class PolicyChangedError(ReviewError):
    """Somebody saved another version of the policy in the meantime."""

    code = "policy_changed"

    def __init__(self, current: int) -> None:
        super().__init__(f"The policy is at version {current} by now. Look at the change, then save yours again.")
        self.current = current


class InvalidCursorError(ReviewError):
    """A page cursor was not made by this server."""

    code = "invalid_cursor"
    status = 422

    def __init__(self) -> None:
        super().__init__("The cursor is not one that this server gave. Start again without it.")


class LinkRefusedError(ReviewError):
    """A sign-in link was used before, is too old, or never existed."""

    code = "link_refused"
    status = 403

    def __init__(self) -> None:
        super().__init__("This sign-in link was used already or has expired. Ask for a fresh one: python app.py link")


class SignInAgainError(ReviewError):
    """The decision weighs so much that whoever makes it must have signed in just before."""

    code = "sign_in_again"
    status = 403

    def __init__(self, item_id: UUID) -> None:
        super().__init__(
            "Several people must approve this, so each must have signed in within the last 15 minutes. "
            "Sign in again, then decide; the item stays yours meanwhile."
        )
        self.item_id = item_id


class MemberNotFoundError(ReviewError):
    """Nobody of this issuer and subject has signed in to the workspace."""

    code = "member_not_found"
    status = 404

    def __init__(self, iss: str, sub: str) -> None:
        super().__init__(f"Nobody known as {iss}#{sub} has signed in here.")


class OwnRolesError(ReviewError):
    """Nobody changes their own roles or training."""

    code = "own_roles"
    status = 403

    def __init__(self) -> None:
        super().__init__("Nobody changes their own roles or training. Ask another admin.")


class LastAdminError(ReviewError):
    """Without this person the workspace would have no admin."""

    code = "last_admin"

    def __init__(self, member: str) -> None:
        super().__init__(f"{member} is the last admin. Make somebody else an admin first.")


class PausedError(ReviewError):
    """The agent, the tool, or everything is paused; nothing new is permitted until somebody resumes it."""

    code = "paused"

    def __init__(self, what: str, *, by: str, reason: str) -> None:
        super().__init__(f"{what} is paused by {by}: {reason} Nothing new is permitted until it is resumed.")


class PauseReasonRequiredError(ReviewError):
    """Whoever pauses says why."""

    code = "pause_reason_required"
    status = 422

    def __init__(self) -> None:
        super().__init__("Say why: everybody whose work waits will read it.")


class EmergencyUnfoundedError(ReviewError):
    """Whoever breaks the glass says why, and under which ticket, for an hour at most."""

    code = "emergency_unfounded"
    status = 422

    def __init__(self) -> None:
        super().__init__("Say why, name the ticket, and take between 1 and 60 minutes: another admin will look at it.")


class EmergencySignInError(ReviewError):
    """Whoever breaks the glass must have signed in just before."""

    code = "sign_in_again"
    status = 403

    def __init__(self) -> None:
        super().__init__("Whoever breaks the glass must have signed in within the last 15 minutes. Sign in again.")


class SessionsSignInError(ReviewError):
    """Whoever ends sessions of their own must have signed in just before."""

    code = "sign_in_again"
    status = 403

    def __init__(self) -> None:
        super().__init__("Whoever ends their sessions must have signed in within the last 15 minutes. Sign in again.")


class EmergencyNotFoundError(ReviewError):
    """There is no such emergency in this workspace."""

    code = "emergency_not_found"
    status = 404

    def __init__(self, emergency_id: UUID) -> None:
        super().__init__("There is no such emergency here.")
        self.emergency_id = emergency_id


class EmergencyFault(StrEnum):
    """Why an emergency cannot be looked at, in the words of whoever tried."""

    STANDING = "It is still in force; end it first, or wait until it is over."
    OWN = "Nobody looks at their own emergency. Another admin does."
    DONE = "Somebody has looked at it already."
    WORDLESS = "Say what you found."


class EmergencyNotReviewableError(ReviewError):
    """An emergency is looked at once it is over, once, by somebody else, who says what they found."""

    code = "emergency_not_reviewable"
    status = 409

    def __init__(self, fault: EmergencyFault) -> None:
        super().__init__(fault.value)
        self.fault = fault


class OwnWorkError(ReviewError):
    """The item comes from the person, or they decided or edited it before, so another person must look at it."""

    code = "own_work"
    status = 403

    def __init__(self, item_id: UUID) -> None:
        super().__init__("You proposed, approved or edited this item yourself. It needs another person's eyes.")
        self.item_id = item_id


class ComeBackLaterError(ReviewError):
    """The agent has to wait before it submits more; ``retry_after`` is in seconds."""

    status = 429

    def __init__(self, why: str, retry_after: int) -> None:
        super().__init__(f"{why} Try again in {retry_after} s.")
        self.retry_after = retry_after


class TooManyRequestsError(ComeBackLaterError):
    """The agent submits faster than its key allows."""

    code = "too_many_requests"

    def __init__(self, retry_after: int) -> None:
        super().__init__("This key submits too fast.", retry_after)


class TooManyWaitingError(ComeBackLaterError):
    """As many of the agent's items wait for people as may at once."""

    code = "too_many_waiting"

    def __init__(self, agent: str, *, most: int, retry_after: int) -> None:
        super().__init__(f"{most:,} items of {agent} wait for people already, and no more may.", retry_after)
        self.agent = agent


class RequestRefusedError(ReviewError):
    """The HTTP request is not one that the protocol knows; ``code`` and ``status`` say how."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


class OtherToolError(ReviewError):
    """An edit names another tool than the one that was proposed."""

    code = "other_tool"
    status = 422

    def __init__(self, tool: str) -> None:
        super().__init__(f"An edit cannot switch to another tool; this item is for {tool}.")


class SealingBusyError(ReviewError):
    """The audit log could not be sealed in time, because another process kept sealing it."""

    code = "sealing_busy"
    status = 503

    def __init__(self) -> None:
        super().__init__("The audit log is being sealed or written by another process. Try again in a moment.")


class UnknownReviewerError(ReviewError):
    """Nobody of this name or pseudonym has decided anything here."""

    code = "unknown_reviewer"
    status = 404

    def __init__(self, asked: str) -> None:
        super().__init__(f"Nobody known as {asked} has decided anything here. Exports name reviewers by a pseudonym.")
        self.asked = asked


class StoreBusyError(ReviewError):
    """The database's file could not be written anew in time."""

    code = "store_busy"
    status = 503

    def __init__(self) -> None:
        super().__init__(
            "The content is erased, but the database was too busy to be written anew, so remains of it can still be "
            "found in its file. Run the same command again in a quieter moment."
        )


class NoCheckpointError(ReviewError):
    """The log has no checkpoint yet."""

    code = "no_checkpoint"
    status = 404

    def __init__(self) -> None:
        super().__init__("The audit log has no checkpoint yet. The first is signed soon after the first event.")
