"""Access tokens: what an agent that proved itself by an assertion is let in by, for some minutes (RFC 9068)."""

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Literal
from uuid import UUID

from joserfc.errors import JoseError
from pydantic import BaseModel, ConfigDict, ValidationError
from uuid_utils.compat import uuid7

from agents.credentials import TOKEN_PATH
from review.errors import KeyFault, KeyRefusedError
from review.people import AgentKey
from review.signing import Receipts

TOKEN_LIFE = timedelta(minutes=10)
TOKEN_TYPE = "at+jwt"  # noqa: S105 -- a word, and no secret
SCOPE: Literal["actions"] = "actions"

_MOST_READ = 1_000


class TokenClaims(BaseModel):
    """What an access token says: whose it is, for whom, by which of the agent's keys, and until when."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    iss: str
    aud: str
    sub: str
    client_id: str
    workspace: str
    scope: Literal["actions"]
    jti: UUID
    iat: int
    exp: int


class AccessToken(BaseModel):
    """The answer to an assertion (RFC 6749, section 5.1)."""

    access_token: str
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105 -- a word, and no secret
    expires_in: int
    scope: Literal["actions"] = SCOPE


class Tokens:
    """Issues access tokens, and recognises its own; ``names`` are the addresses that the console goes by."""

    def __init__(self, receipts: Receipts, names: Collection[str] = ()) -> None:
        self._receipts = receipts
        self._read: dict[str, TokenClaims] = {}
        named = {receipts.issuer, *names}
        self.audiences = frozenset({*named, *(f"{name}{TOKEN_PATH}" for name in named)})

    @property
    def _audience(self) -> str:
        return f"{self._receipts.issuer}/api/v1"

    def issue(self, key: AgentKey, now: datetime) -> tuple[AccessToken, TokenClaims]:
        """Return a token of the key's agent, which lasts no longer than the key, and what it says."""
        until = min(now + TOKEN_LIFE, key.expires_at)
        claims = TokenClaims(
            iss=self._receipts.issuer,
            aud=self._audience,
            sub=key.agent,
            client_id=key.prefix,
            workspace=key.workspace,
            scope=SCOPE,
            jti=uuid7(),
            iat=int(now.timestamp()),
            exp=int(until.timestamp()),
        )
        token = self._receipts.sign(claims.model_dump_json(), TOKEN_TYPE)
        return AccessToken(access_token=token, expires_in=claims.exp - claims.iat), claims

    def read(self, token: str) -> TokenClaims:
        """Return what a token that was issued here says. Raises KeyRefusedError.

        Whether its time is over, and whether its key still lets its agent in, is not known here.
        """
        known = self._read.get(token)
        if known is not None:
            return known
        claims = self._claims(token)
        # A signature takes half a millisecond to verify, and the same token comes with every call.
        if len(self._read) >= _MOST_READ:
            self._read.clear()
        self._read[token] = claims
        return claims

    def _claims(self, token: str) -> TokenClaims:
        try:
            claims = TokenClaims.model_validate_json(self._receipts.opened(token, TOKEN_TYPE))
        except (JoseError, ValidationError, ValueError) as error:
            raise KeyRefusedError(KeyFault.MALFORMED) from error
        if (claims.iss, claims.aud) != (self._receipts.issuer, self._audience):
            raise KeyRefusedError(KeyFault.UNKNOWN)
        return claims
