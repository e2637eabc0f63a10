"""Checkpoints: the signed head of the audit log at one size, as C2SP signed notes (c2sp.org/signed-note, v1.0.0).

The note of a checkpoint has the form of c2sp.org/tlog-checkpoint: origin, size and root, a line each. More kinds of
notes are signed with the same key, and none can be read as a checkpoint, because their first lines differ from the
origin: a key's word on its successor, and what an export says of itself.
"""

import base64
import binascii
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, urlsplit

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from review.merkle import HASH_BYTES

ED25519: Final = b"\x01"  # The signature type of the signed-note specification.
ID_BYTES = 4
MAX_SIGNATURES = 16
MAX_NOTE_BYTES = 64 * 1024

_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f]")
_NAME = re.compile(r"[^\s+]+")
_SIZE = re.compile(r"0|[1-9][0-9]{0,18}")


class NoteError(ValueError):
    """The text is no signed note, no checkpoint, or not signed by a key that is trusted."""

    def __init__(self, *, why: str) -> None:
        super().__init__(f"The note is refused: {why}.")


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """The public half of a key that signs notes, under its name."""

    name: str
    public: bytes

    @property
    def id(self) -> bytes:
        """Return the four bytes by which signatures name the key."""
        told = self.name.encode() + b"\n" + ED25519 + self.public
        return hashlib.sha256(told).digest()[:ID_BYTES]

    @property
    def text(self) -> str:
        """Return the key as it is handed to verifiers: name, id and key (golang.org/x/mod/sumdb/note)."""
        return f"{self.name}+{self.id.hex()}+{_base64(ED25519 + self.public)}"

    @classmethod
    def parse(cls, text: str) -> "VerifierKey":
        """Read a key from its text. Raises NoteError."""
        name, _, rest = text.strip().partition("+")
        told, _, encoded = rest.partition("+")
        raw = _bytes(encoded)
        if not _NAME.fullmatch(name) or raw is None or len(raw) != 33 or raw[:1] != ED25519:
            raise NoteError(why="its key is not an Ed25519 verifier key")
        key = cls(name, raw[1:])
        if key.id.hex() != told:
            raise NoteError(why="its key has another id than it states")
        return key


@dataclass(frozen=True, slots=True)
class Note:
    """A text, ending in a newline, with its signatures: (key name, key id, signature) each."""

    text: str
    signatures: tuple[tuple[str, bytes, bytes], ...]


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The head of the log with this origin when it had ``size`` leaves; ``root`` is its RFC 6962 root."""

    origin: str
    size: int
    root: bytes

    @property
    def text(self) -> str:
        """Return the three lines that are signed."""
        return f"{self.origin}\n{self.size}\n{_base64(self.root)}\n"

    @classmethod
    def parse(cls, text: str) -> "Checkpoint":
        """Read the text of a note; lines of extensions are passed over. Raises NoteError."""
        lines = text.split("\n")
        if len(lines) < 4 or not all(lines[:-1]) or lines[-1]:
            raise NoteError(why="it has not the three lines of a checkpoint")
        origin, size, root = lines[:3]
        told = _bytes(root)
        if not _SIZE.fullmatch(size) or told is None or len(told) != HASH_BYTES:
            raise NoteError(why="its size or root cannot be read")
        return cls(origin, int(size), told)


def origin_of(address: str, workspace: str) -> str:
    """Return what the log of a workspace is called: the installation's address without its scheme, and the workspace.

    Signs that may not stand in a key's name, spaces and plus, are percent-encoded.
    """
    parts = urlsplit(address)
    place = (parts.netloc + parts.path).strip("/") or "signoff"
    return f"{quote(place, safe='/:[].~')}/{quote(workspace, safe='')}"


def verifier_key(name: str, key: Ed25519PrivateKey | Ed25519PublicKey) -> VerifierKey:
    """Return the key under the name of the log that it signs."""
    public = key.public_key() if isinstance(key, Ed25519PrivateKey) else key
    return VerifierKey(name, public.public_bytes_raw())


def signed(text: str, name: str, key: Ed25519PrivateKey) -> str:
    """Return the text as a note signed by the key under the name. Raises NoteError for a text that cannot be one."""
    if not text.endswith("\n") or _CONTROL.search(text):
        raise NoteError(why="its text does not end in a newline, or has control characters")
    if not _NAME.fullmatch(name):
        raise NoteError(why="the name of its key has spaces or a plus")
    signature = verifier_key(name, key).id + key.sign(text.encode())
    return f"{text}\n— {name} {_base64(signature)}\n"


def parse_note(note: str) -> Note:
    """Take a note apart, unverified. Raises NoteError."""
    if len(note.encode()) > MAX_NOTE_BYTES or _CONTROL.search(note) or not note.endswith("\n"):
        raise NoteError(why="it is too long, has control characters or does not end in a newline")
    text, blank, tail = note.rpartition("\n\n")
    if not blank:
        raise NoteError(why="it has no signatures")
    lines = tail.removesuffix("\n").split("\n")
    if len(lines) > MAX_SIGNATURES:
        raise NoteError(why="it has too many signatures")
    return Note(text + "\n", tuple(_signature(line) for line in lines))


def opened(note: str, keys: Mapping[tuple[str, bytes], VerifierKey]) -> str:
    """Return the text of a note that one of the keys has signed; signatures of keys that are not known do not count.

    ``keys`` are by name and id, as ``trusted`` returns them. Raises NoteError, also where one known key's signature is
    wrong beside another's that is right.
    """
    parsed = parse_note(note)
    known = [(keys[name, id_], signature) for name, id_, signature in parsed.signatures if (name, id_) in keys]
    if not known:
        raise NoteError(why="no key that is trusted has signed it")
    for key, signature in known:
        try:
            Ed25519PublicKey.from_public_bytes(key.public).verify(signature, parsed.text.encode())
        except InvalidSignature as error:
            raise NoteError(why=f"the signature of {key.name} is wrong") from error
    return parsed.text


def trusted(*keys: VerifierKey) -> dict[tuple[str, bytes], VerifierKey]:
    """Return the keys as ``opened`` looks them up."""
    return {(key.name, key.id): key for key in keys}


def successor_text(origin: str, public: bytes) -> str:
    """Return what a key signs to name the Ed25519 key that follows it."""
    return f"{origin}/next-key\n{_base64(public)}\n"


def manifest_text(origin: str, manifest: str) -> str:
    """Return what is signed of an export: one line of canonical JSON under the log's name."""
    return f"{origin}/export\n{manifest}\n"


def rows_text(origin: str, what: str, manifest: str) -> str:
    """Return what is signed of an export of rows that stand in no tree, such as decisions: one line of canonical JSON.

    Its first line tells it from the manifest of a log.
    """
    return f"{origin}/export/{what}\n{manifest}\n"


def _signature(line: str) -> tuple[str, bytes, bytes]:
    dash, _, rest = line.partition(" ")
    name, _, encoded = rest.partition(" ")
    raw = _bytes(encoded)
    if dash != "—" or not _NAME.fullmatch(name) or raw is None or len(raw) <= ID_BYTES:
        raise NoteError(why="one of its signature lines cannot be read")
    return name, raw[:ID_BYTES], raw[ID_BYTES:]


def _base64(raw: bytes) -> str:
    return base64.b64encode(raw).decode("ascii")


def _bytes(encoded: str) -> bytes | None:
    try:
        raw = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        return None
    # One text for one value: what b64decode forgives would let two notes say the same.
    return raw if _base64(raw) == encoded else None
