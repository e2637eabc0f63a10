"""Assertions: how an agent with a key pair of its own proves who it is (RFC 7523), and the public keys that this needs.

An assertion is a JWT that the agent signs and the house verifies with a public key that an admin registered. Only
signatures count that a public key can verify: never ``none``, never a shared secret. A header says the algorithm, the
type and the key, and nothing that would bring a key along.
"""

from base64 import urlsafe_b64decode
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey, RSAKey

from agents.canonical import NotCanonicalError, parse
from review.errors import PublicKeyRefusedError, TokenFault, TokenRefusedError

ALGORITHMS = (
    *("Ed25519", "EdDSA", "ES256", "ES384", "ES512"),
    *("PS256", "PS384", "PS512", "RS256", "RS384", "RS512"),
)
MAX_ASSERTION_CHARACTERS = 8_192
LONGEST_LIFE = timedelta(minutes=5)
CLOCK_SKEW = timedelta(seconds=30)
MOST_PUBLIC_KEYS = 5

_KINDS: dict[str, type[OKPKey | ECKey | RSAKey]] = {"OKP": OKPKey, "EC": ECKey, "RSA": RSAKey}
# Tuples, because what is looked for in them may be of any kind, lists and objects too.
_CURVES = ("Ed25519", "P-256", "P-384", "P-521")
# Fewer bits than 3,072 are not as strong as the other kinds are.
_RSA_BITS = range(3072, 8193)
_TYPES = (None, "JWT", "client-authentication+jwt")
_PRIVATE_MEMBERS = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})

PublicKey = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Assertion:
    """What an assertion said that was found to be the client's own: its id, its key's, and when it ends for good."""

    id: str
    kid: str
    ends_at: datetime


def public_keys(text: str) -> tuple[PublicKey, ...]:
    """Return the public keys in a PEM, a JWK or a JWK set, each with a ``kid``. Raises PublicKeyRefusedError."""
    if "-----BEGIN" in text:
        return (_from_jwk(_pem_as_jwk(text)),)
    try:
        value = parse(text.encode())
    except NotCanonicalError as error:
        raise PublicKeyRefusedError(why="it is no PEM, and no JSON either") from error
    members = value.get("keys", [value]) if isinstance(value, dict) else None
    if not isinstance(members, list) or not 1 <= len(members) <= MOST_PUBLIC_KEYS:
        raise PublicKeyRefusedError(why=f"a set holds 1 to {MOST_PUBLIC_KEYS} keys")
    found = tuple(_from_jwk(member) for member in members)
    if len({key["kid"] for key in found}) < len(found):
        raise PublicKeyRefusedError(why="two of its keys have the same kid")
    return found


def thumbprint(key: PublicKey) -> str:
    """Return the key's thumbprint (RFC 7638), by which anybody can tell it again."""
    return _imported(key).thumbprint()


def client_of(assertion: str) -> str:
    """Return whose assertion it says it is: whose keys it is to be verified with. Raises TokenRefusedError."""
    issuer = _unverified(assertion, 1).get("iss")
    if not isinstance(issuer, str):
        raise TokenRefusedError(TokenFault.MALFORMED)
    return issuer


def proven(
    assertion: str, keys: Sequence[PublicKey], *, client: str, audiences: Collection[str], now: datetime
) -> Assertion:
    """Return what the client's assertion says, once everything about it is found right. Raises TokenRefusedError.

    That it was not used before is not known here.
    """
    key = _key_for(_header(assertion), keys)
    try:
        signed = jws.deserialize_compact(assertion, _imported(key), algorithms=list(ALGORITHMS))
        claims = parse(signed.payload or b"")
    except (JoseError, ValueError, TypeError) as error:
        raise TokenRefusedError(TokenFault.UNVERIFIED) from error
    if not isinstance(claims, dict) or (claims.get("iss"), claims.get("sub")) != (client, client):
        raise TokenRefusedError(TokenFault.UNVERIFIED)
    if not _is_meant_for(claims.get("aud"), audiences):
        raise TokenRefusedError(TokenFault.AUDIENCE)
    jti = claims.get("jti")
    if not isinstance(jti, str) or not 1 <= len(jti) <= 255:
        raise TokenRefusedError(TokenFault.MALFORMED)
    return Assertion(jti, key["kid"], _end(claims, now))


def _header(assertion: str) -> Mapping[str, Any]:
    header = _unverified(assertion, 0)
    if not set(header) <= {"alg", "typ", "kid"} or header.get("typ") not in _TYPES:
        raise TokenRefusedError(TokenFault.MALFORMED)
    if header.get("alg") not in ALGORITHMS:
        raise TokenRefusedError(TokenFault.ALGORITHM)
    return header


def _unverified(assertion: str, part: int) -> Mapping[str, Any]:
    parts = assertion.split(".")
    if len(assertion) > MAX_ASSERTION_CHARACTERS or len(parts) != 3:
        raise TokenRefusedError(TokenFault.MALFORMED)
    try:
        value = parse(urlsafe_b64decode(parts[part].encode("ascii") + b"=="))
    except ValueError as error:
        raise TokenRefusedError(TokenFault.MALFORMED) from error
    if not isinstance(value, dict):
        raise TokenRefusedError(TokenFault.MALFORMED)
    return value


def _key_for(header: Mapping[str, Any], keys: Sequence[PublicKey]) -> PublicKey:
    fitting = [key for key in keys if header.get("kid", key["kid"]) == key["kid"]]
    if len(fitting) != 1:
        raise TokenRefusedError(TokenFault.UNVERIFIED)
    if fitting[0].get("alg", header["alg"]) != header["alg"]:
        raise TokenRefusedError(TokenFault.ALGORITHM)
    return fitting[0]


def _is_meant_for(audience: object, audiences: Collection[str]) -> bool:
    said = audience if isinstance(audience, list) else [audience]
    return len(said) == 1 and isinstance(said[0], str) and said[0] in audiences


def _end(claims: Mapping[str, Any], now: datetime) -> datetime:
    issued, expires, valid_from = (_moment(claims.get(name)) for name in ("iat", "exp", "nbf"))
    if issued is None or expires is None or ("nbf" in claims and valid_from is None):
        raise TokenRefusedError(TokenFault.MALFORMED)
    if expires - issued > LONGEST_LIFE:
        raise TokenRefusedError(TokenFault.LONG)
    if max(issued, valid_from or issued) > now + CLOCK_SKEW:
        raise TokenRefusedError(TokenFault.EARLY)
    if now >= expires + CLOCK_SKEW:
        raise TokenRefusedError(TokenFault.EXPIRED)
    return expires + CLOCK_SKEW


def _moment(claim: object) -> datetime | None:
    if isinstance(claim, bool) or not isinstance(claim, int | float):
        return None
    try:
        return datetime.fromtimestamp(claim, UTC)
    except (OverflowError, OSError, ValueError):
        return None


def _pem_as_jwk(text: str) -> object:
    if "PRIVATE KEY" in text:
        raise PublicKeyRefusedError(why="it is a private key, which stays with its agent")
    try:
        pem = load_pem_public_key(text.encode()).public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise PublicKeyRefusedError(why="its PEM cannot be read") from error
    for kind in _KINDS.values():
        try:
            return kind.import_key(pem).as_dict(private=False)
        except (JoseError, ValueError, TypeError):
            continue
    raise PublicKeyRefusedError(why=_WRONG_KIND)


_WRONG_KIND = "it is none of Ed25519, P-256, P-384, P-521 and RSA of 3,072 to 8,192 bits"


def _from_jwk(member: object) -> PublicKey:
    if not isinstance(member, dict):
        raise PublicKeyRefusedError(why="a key of it is no JSON object")
    if _PRIVATE_MEMBERS & set(member):
        raise PublicKeyRefusedError(why="it holds a private or a shared key, which stays with its agent")
    kid, use, algorithm = (member.get(name) for name in ("kid", "use", "alg"))
    if use not in (None, "sig") or algorithm not in (None, *ALGORITHMS):
        raise PublicKeyRefusedError(why="it is not for signatures that are accepted here")
    key = _imported(member)
    if kid is not None and not (isinstance(kid, str) and 1 <= len(kid) <= 255):
        raise PublicKeyRefusedError(why="a kid is a text of at most 255 characters")
    public = {name: value for name, value in key.as_dict(private=False).items() if isinstance(value, str)}
    told = {"kid": kid or key.thumbprint(), **({"alg": algorithm} if algorithm else {})}
    return {**public, **told}


def _imported(member: Mapping[str, Any]) -> OKPKey | ECKey | RSAKey:
    kind = _KINDS.get(str(member.get("kty")))
    if kind is None or not _is_strong(member):
        raise PublicKeyRefusedError(why=_WRONG_KIND)
    try:
        key = kind.import_key(
            {name: value for name, value in member.items() if name in {"kty", "crv", "x", "y", "n", "e"}}
        )
        key.raw_value  # noqa: B018 -- joserfc reads the numbers only when they are asked for
    except (JoseError, ValueError, TypeError) as error:
        raise PublicKeyRefusedError(why="its numbers are no key") from error
    return key


def _is_strong(member: Mapping[str, Any]) -> bool:
    if member["kty"] != "RSA":
        return member.get("crv") in _CURVES
    modulus = member.get("n")
    if not isinstance(modulus, str) or len(modulus) > 2_000:
        return False
    try:
        bits = int.from_bytes(urlsafe_b64decode(modulus.encode("ascii") + b"=="), "big").bit_length()
    except ValueError:
        return False
    return bits in _RSA_BITS
