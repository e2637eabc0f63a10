"""Verify an audit log that Signoff exported: ``python verify.py audit.csv --key signoff.pub [--checkpoint FILE]…``.

One file, for whoever trusts neither the house that exported nor its database: it needs Python 3.11 and the package
``cryptography``, reads only the files it is given, and opens no connection.

Each row of the export holds an event's exact bytes (``leaf``), its place in the log (``index``) and the path from
there to the root of the log's Merkle tree (``proof``; RFC 6962). What is personal, or computed from arguments, is only
committed to in a leaf; ``openings`` holds the salts and values as long as they are not erased, and each must hash to
its commitment. The last row, the manifest, holds the signed head of the tree (a checkpoint) and, signed as well, what
was exported: filter, range and counts. All other columns are for the reader's eyes, and are computed here again. Exit
status:

    0  every row is as it was sealed, and none is missing that should be there
    1  something is wrong; each wrong row is named
    2  a file cannot be read, or is no export, or the key is none
    3  what is there is right, but one of the checkpoints could not be compared with this export
"""

import argparse
import base64
import binascii
import csv
import hashlib
import io
import itertools
import json
import multiprocessing
import re
import sys
import unicodedata
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import BrokenExecutor, Future, ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

COLUMNS = (
    *("index", "id", "at", "workspace", "kind", "actor_kind", "actor_id", "actor_name", "item", "data"),
    *("openings", "left_out", "leaf", "proof"),
)
# What the columns show of a value whose opening is gone.
ERASED = "[erased]"
SALT_BYTES = 16
MANIFEST = "manifest"
PROOF_PREFIX = "sha256:"  # No spreadsheet takes a cell that begins so for a number or a formula.
MAX_CELL = 32_000

_PROOF = PROOF_PREFIX.encode()
_COMMITMENT = b"signoff.commitment.v1\0"
# The columns that show committed values.
_OPENED_COLUMNS = frozenset({"actor_id", "actor_name", "data"})
_HASH = 32
_TAIL_BYTES = 1 << 20
_MOST_TOLD = 1_000
MOST_TRACED = 10_000
_AT_ONCE = 20  # So many rows are looked at together.
_AT_ONCE_SHARED = 1_000  # So many go to another process together.
_MOST_PROCESSES = 61  # More than that Windows does not wait for.
_WORTH_SHARING = 32 << 20  # Bytes of an export below which other processes take longer to start than they save.
_SHAPE = "the file's form was changed, as a spreadsheet does when it saves: export again, and do not save it from there"

# Where a spreadsheet would begin a formula: at the start of the cell, and behind a `;`. A program set to a
# locale that separates by semicolons reads `"x","a;=1"` as two cells, the second beginning with =. Spaces and
# quotes in front do not stop it. The signs are = + - @, their full-width and small forms, and the minus sign.
_FORMULA = re.compile(r"(^|;)(?=[\s\"]*[=+\-@\uff1d\uff0b\uff0d\uff20\ufe62\ufe63\ufe66\ufe6b\u2212])")
# An opening as it is written where nothing in the value has to be escaped.
_PLAIN_OPENING = re.compile(r'"([a-z_]+)":\["([\w-]{22})","([ !#-\[\]-~]*)"\]', re.ASCII)
_BLANKS = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")
_HIDDEN_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_MAY_HIDE = re.compile(r"[^ -~]")
_NAMED = {"\t": r"\t", "\n": r"\n", "\r": r"\r"}
# What nothing can be said against, told from the rest at once: signs that hide nothing and begin no second cell, and
# those that begin no formula.
_HARMLESS = re.compile(r"[ -:<-\[\]-~]*")
_BEGINNINGS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789{[") | {""}


def _is_hidden(sign: str) -> bool:
    point = ord(sign)
    is_selector = 0xFE00 <= point <= 0xFE0F or 0xE0100 <= point <= 0xE01EF
    return is_selector or sign in _BLANKS or unicodedata.category(sign) in _HIDDEN_CATEGORIES


def _visible(found: re.Match[str]) -> str:
    sign = found.group()
    if not _is_hidden(sign):
        return sign
    point = ord(sign)
    return _NAMED.get(sign) or (f"\\u{point:04x}" if point <= 0xFFFF else f"\\U{point:08x}")


def cell(text: str) -> str:
    r"""Return the text as it may stand in a cell: nothing hidden, nothing that runs, 32,000 characters.

    Control, invisible and bidirectional signs become escapes such as ``\u202e``. A ``'`` stands before = + -
    @ and their full-width forms where a formula could begin: at the start, and behind each ``;``.
    What is longer is cut and says how long it was.
    """
    if text[:1] in _BEGINNINGS and len(text) <= MAX_CELL and _HARMLESS.fullmatch(text):
        return text
    shown = _MAY_HIDE.sub(_visible, text[: MAX_CELL + 1])
    shown = _FORMULA.sub(r"\1'", shown)
    if len(shown) <= MAX_CELL and len(text) <= MAX_CELL:
        return shown
    return f"{shown[:MAX_CELL]}… [cut: {len(text)} characters in all]"


def line(cells: Iterable[str]) -> bytes:
    """Return the cells as a line of RFC 4180: every field quoted, CRLF, UTF-8."""
    return ('"' + '","'.join([each.replace('"', '""') for each in cells]) + '"\r\n').encode()


def commitment(salt: bytes, value: str) -> str:
    """Return what stands in a leaf for the value: base64url of SHA-256 over a tag, the salt and its RFC 8785 bytes."""
    return url64(hashlib.sha256(_COMMITMENT + salt + _quoted(value).encode()).digest())


def openings_text(openings: Mapping[str, tuple[bytes, str]]) -> str:
    """Return the salts and values by which the named commitments are opened, as RFC 8785 JSON; nothing for none."""
    if not openings:
        return ""
    opened = (f'{_quoted(name)}:["{url64(salt)}",{_quoted(value)}]' for name, (salt, value) in sorted(openings.items()))
    return "{" + ",".join(opened) + "}"


def opened_values(committed: Mapping[str, str], text: str) -> dict[str, str]:
    """Return the committed values by name, ``[erased]`` where the opening is gone.

    Raises ValueError for openings that do not hash to what was committed, or are written in another form.
    """
    values = dict.fromkeys(committed, ERASED)
    if not text:
        return values
    plain = _PLAIN_OPENING.findall(text)
    names = [name for name, _, _ in plain]
    is_plain = text == "{" + ",".join([f'"{name}":["{salt}","{value}"]' for name, salt, value in plain]) + "}"
    if not (is_plain and names == sorted(set(names))):
        plain = [(name, salt, value) for name, (salt, value) in json.loads(text).items()]
        _require_canonical(plain, text)
    for name, encoded, value in plain:
        salt = _unurl64(encoded.encode()) or b""
        if len(salt) != SALT_BYTES or commitment(salt, value) != committed.get(name):
            msg = f"The opening of {name} does not hash to what was committed."
            raise ValueError(msg)
        values[name] = value
    return values


def _require_canonical(opened: Iterable[tuple[str, str, str]], text: str) -> None:
    found = {name: (_unurl64(salt.encode()) or b"", value) for name, salt, value in opened}
    if openings_text(found) != text:
        msg = "The openings are written in another form."
        raise ValueError(msg)


def erased_values(leaf: bytes, openings: str) -> int:
    """Return how many of the leaf's committed values have no opening any more."""
    return len(json.loads(leaf).get("committed", ())) - len(json.loads(openings or "{}"))


def event_line(index: int, left_out: int, leaf: bytes, *, proof: bytes, openings: str = "") -> bytes:
    """Return the line of an event: its place, what its leaf says, and the evidence.

    ``left_out`` counts the leaves between the row before and this one that the export leaves out; ``proof`` is the
    audit path, 32 bytes a hash; ``openings`` is as ``openings_text`` writes it, and shows nothing where it is not the
    leaf's own. Raises ValueError for a leaf that is no event.
    """
    opened = url64(openings.encode())
    shown, _ = _shown_as_far(leaf, opened)
    return f'"{index}",{shown.columns},"{opened}","{left_out}","{url64(leaf)}","{proof_cell(proof)}"\r\n'.encode()


def manifest_line(note: str) -> bytes:
    """Return the line of the manifest, made from its signed note."""
    told = note.split("\n", 2)[1]
    manifest = json.loads(told)
    eyes = ("", manifest["made_at"], manifest["workspace"], "export_manifest", "", "", "", "", told)
    return line([MANIFEST, *(cell(each) for each in eyes), "", "", url64(note.encode()), ""])


def proof_cell(proof: bytes) -> str:
    """Return the audit path as it stands in a cell."""
    return PROOF_PREFIX + url64(proof)


class _Shown(NamedTuple):
    columns: str  # For the reader's eyes, quoted and separated.
    erased: int


def _shown(leaf: bytes, openings: str) -> _Shown:
    """Return the columns from ``id`` to ``data``. Raises ValueError for a leaf that is no event or not so opened."""
    try:
        text = leaf.decode()
        # The keys are in order, and the id follows the data: its own text is shown, not another way to write it.
        told, data = json.loads(text), text[text.index('"data":') + 7 : text.rindex(',"id":')]
        committed = told.get("committed", {})  # Leaves of version 1 have none.
        values = opened_values(committed, openings)
        erased = len(committed) - openings.count('":["')
        actor = {"id": values.pop("actor_id", None), "name": values.pop("actor_name", None)} | told["actor"]
        data = _completed(data, values)
        eyes = (
            *(told["id"], told["at"], told["workspace"], told["kind"], actor["kind"], actor["id"], actor["name"]),
            *(told["item"] or "", data),
        )
        # Without a backslash nothing in the leaf can turn out to be a sign that has to be looked at.
        every = text + openings
        if (
            len(every) <= MAX_CELL
            and _HARMLESS.fullmatch(every)
            and _BEGINNINGS.issuperset([each[:1] for each in eyes])
        ):
            return _Shown('"' + '","'.join([*eyes[:-1], data.replace('"', '""')]) + '"', erased)
        return _Shown('"' + '","'.join([cell(each).replace('"', '""') for each in eyes]) + '"', erased)
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        msg = "The leaf is no event."
        raise ValueError(msg) from error


def _completed(data: str, values: Mapping[str, str]) -> str:
    """Return the data with the values before what the leaf itself holds of it."""
    if not values:
        return data
    opened = ",".join(f"{_quoted(name)}:{_quoted(values[name])}" for name in sorted(values))
    return f"{{{opened}{',' if len(data) > 2 else ''}{data[1:]}"


def _quoted(text: str) -> str:
    # Of strings, the standard library writes what RFC 8785 asks for.
    return _ENCODER.encode(text)


_ENCODER = json.JSONEncoder(ensure_ascii=False)


def url64(raw: bytes) -> str:
    """Return base64url without padding."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


# The signs that end a text whose last group is of two or three, so that no bit is left over.
_ENDINGS = {0: None, 2: frozenset(b"AQgw"), 3: frozenset(b"AEIMQUYcgkosw048")}
_TO_STANDARD = bytes.maketrans(b"-_+/=", b"+/!!!")


def _unurl64(text: bytes) -> bytes | None:
    """Return what base64url without padding says; None for what is not the one way to say it."""
    over = len(text) % 4
    endings = _ENDINGS.get(over, frozenset())
    if endings is not None and text[-1] not in endings:
        return None
    try:
        return binascii.a2b_base64(text.translate(_TO_STANDARD) + b"=" * (over and 4 - over), strict_mode=True)
    except binascii.Error:
        return None


def _whole_number(text: bytes | str) -> int | None:
    """Return the number that the digits say; None for anything else, and for a number with a zero before it."""
    if not text.isdigit() or not text.isascii() or len(text) > 18 or (len(text) > 1 and text[:1] in {"0", b"0"}):
        return None
    return int(text)


class UnusableError(Exception):
    """A file cannot be read as what it should be: exit status 2."""


@dataclass(frozen=True, slots=True)
class PublicKey:
    """An Ed25519 key that is trusted; ``name`` is the log that it signs, where the key's file says so."""

    raw: bytes
    name: str | None = None

    @classmethod
    def read(cls, path: Path) -> "PublicKey":
        """Read a PEM file, or a key in the form of signed notes: ``name+id+key``."""
        content = path.read_bytes()
        if b"-----BEGIN" in content:
            try:
                key = load_pem_public_key(content)
            except ValueError as error:
                msg = f"{path} holds no public key."
                raise UnusableError(msg) from error
            if not isinstance(key, Ed25519PublicKey):
                msg = f"{path} holds a key that is not Ed25519."
                raise UnusableError(msg)
            return cls(key.public_bytes_raw())
        name, _, rest = content.decode("utf-8", "replace").strip().partition("+")
        raw = _unbase64(rest.partition("+")[2])
        if raw is None or len(raw) != 33 or raw[:1] != b"\x01":
            msg = f"{path} holds no public key."
            raise UnusableError(msg)
        return cls(raw[1:], name)

    def id_under(self, name: str) -> bytes:
        """Return the four bytes by which a note names this key."""
        return hashlib.sha256(name.encode() + b"\n\x01" + self.raw).digest()[:4]

    def has_signed(self, text: str, name: str, signatures: Sequence[tuple[str, bytes]]) -> bool:
        """Tell whether one of the signatures under the name is this key's over the text."""
        if self.name is not None and self.name != name:
            return False
        mine = [raw[4:] for signer, raw in signatures if signer == name and raw[:4] == self.id_under(name)]
        return any(self._verifies(signature, text) for signature in mine)

    def _verifies(self, signature: bytes, text: str) -> bool:
        try:
            Ed25519PublicKey.from_public_bytes(self.raw).verify(signature, text.encode())
        except InvalidSignature:
            return False
        return True


def _unbase64(text: str) -> bytes | None:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None


def _note(note: str) -> tuple[str, list[tuple[str, bytes]]]:
    """Take a signed note apart (c2sp.org/signed-note): its text, and (key name, key id and signature) of each line."""
    text, _, tail = note.rpartition("\n\n")
    signatures = []
    for signature in tail.splitlines():
        dash, _, rest = signature.partition(" ")
        name, _, encoded = rest.partition(" ")
        raw = _unbase64(encoded)
        if dash == "—" and raw is not None:
            signatures.append((name, raw))
    return text + "\n", signatures


@dataclass(frozen=True, slots=True)
class Head:
    """A checkpoint that a trusted key has signed."""

    origin: str
    size: int
    root: bytes

    @classmethod
    def opened(cls, note: str, keys: "Keys") -> "Head | None":
        """Return the checkpoint of a note (c2sp.org/tlog-checkpoint); None where it is none, or nobody's."""
        text, signatures = _note(note)
        lines = text.split("\n")
        if len(lines) < 4:
            return None
        size, root = _whole_number(lines[1]), _unbase64(lines[2])
        if size is None or root is None or len(root) != _HASH or not keys.have_signed(text, lines[0], signatures):
            return None
        return cls(lines[0], size, root)


class Keys:
    """The key that is pinned, and those that it or its heirs have named as their successors."""

    def __init__(self, pinned: PublicKey) -> None:
        self._trusted = [pinned]

    def have_signed(self, text: str, name: str, signatures: Sequence[tuple[str, bytes]]) -> bool:
        """Tell whether one of them has signed the text under the name."""
        return any(key.has_signed(text, name, signatures) for key in self._trusted)

    def follow(self, successors: Sequence[str], origin: str) -> None:
        """Trust the keys that the notes name, each signed by one that is trusted already, in their order."""
        for note in successors:
            text, signatures = _note(note)
            lines = text.split("\n")
            raw = _unbase64(lines[1]) if len(lines) == 3 and lines[0] == f"{origin}/next-key" else None
            if raw is not None and len(raw) == _HASH and self.have_signed(text, origin, signatures):
                self._trusted.append(PublicKey(raw, origin))


@dataclass(frozen=True, slots=True)
class Manifest:
    """What an export says of itself, signed."""

    head: Head
    told: dict[str, Any]

    @property
    def is_whole(self) -> bool:
        """Tell whether nothing was filtered out."""
        return not any(self.told["filter"].values())

    @property
    def end(self) -> int:
        """Return the index behind the last row."""
        last = self.told["last"]
        return 0 if last is None else int(last) + 1


class Tree:
    """Proves rows under one root, in about one hash a row: what the row before has proven is not proven again."""

    def __init__(self, size: int, root: bytes) -> None:
        self._size = size
        self._root = root
        self._index = -1
        self._path = b""
        self._chain: list[bytes] = []

    def proves(self, index: int, leaf: bytes, path: bytes) -> bool:
        """Tell whether the path leads from the leaf's hash to the root."""
        if index >= self._size or len(path) % _HASH:
            return False
        chain = self._beside(index, leaf, path) or self._climbed(index, leaf, path)
        if chain is None:
            return False
        self._index, self._path, self._chain = index, path, chain
        return True

    def _beside(self, index: int, leaf: bytes, path: bytes) -> list[bytes] | None:
        """Climb only to the subtree that the row before has on its path; None where that does not settle it."""
        meet = (index ^ self._index).bit_length()
        if self._index < 0 or not meet or ((index >> meet) + 1) << meet > self._size:
            return None
        under, at = (meet - 1) * _HASH, meet * _HASH
        if path[at:] != self._path[at:] or path[under:at] != self._chain[meet - 1]:
            return None
        chain = [leaf]
        for level in range(meet - 1):
            sibling = path[level * _HASH : level * _HASH + _HASH]
            both = sibling + chain[-1] if index >> level & 1 else chain[-1] + sibling
            chain.append(hashlib.sha256(b"\x01" + both).digest())
        return chain + self._chain[meet:] if chain[-1] == self._path[under:at] else None

    def _climbed(self, index: int, leaf: bytes, path: bytes) -> list[bytes] | None:
        chain, at, here, last = [leaf], 0, index, self._size - 1
        while last:
            if here & 1 or here < last:
                sibling = path[at : at + _HASH]
                both = sibling + chain[-1] if here & 1 else chain[-1] + sibling
                chain.append(hashlib.sha256(b"\x01" + both).digest())
                at += _HASH
            else:
                chain.append(chain[-1])
            here, last = here >> 1, last >> 1
        return chain if at == len(path) and chain[-1] == self._root else None


@dataclass(slots=True)
class Growth:
    """Grows a tree from the hashes of all leaves, and takes its root where an outside checkpoint was signed."""

    wanted: frozenset[int]
    size: int = 0
    roots: dict[int, bytes] = field(default_factory=dict)
    _edge: list[bytes] = field(default_factory=list)

    def add(self, leaf: bytes) -> None:
        """Append a leaf's hash."""
        whole, number = leaf, self.size
        while number & 1:
            whole, number = hashlib.sha256(b"\x01" + self._edge.pop() + whole).digest(), number >> 1
        self._edge.append(whole)
        self.size += 1
        if self.size in self.wanted:
            root = self._edge[-1]
            for left in reversed(self._edge[:-1]):
                root = hashlib.sha256(b"\x01" + left + root).digest()
            self.roots[self.size] = root


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: the line in the file, the index in the log, what kind of thing, and how it is said."""

    line: int | None
    index: int | None
    kind: str
    told: str

    def __str__(self) -> str:
        """Say it in one line."""
        place = [f"line {self.line}"] if self.line is not None else []
        place += [f"index {self.index}"] if self.index is not None else []
        return f"{', '.join(place) or 'the file'}: {self.kind}: {self.told}"


class Report:
    """Collects what is wrong, and tells no more than a thousand of it."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.count = 0

    def add(self, kind: str, told: str, *, line: int | None = None, index: int | None = None) -> None:
        """Note a problem."""
        self.count += 1
        if len(self.problems) < _MOST_TOLD:
            self.problems.append(Problem(line, index, kind, told))


class _Place(NamedTuple):
    line: int
    leaf: int
    begin: int  # The first leaf that the row speaks for: itself, or the first that is left out before it.


class Order:
    """Follows the indexes of proven rows, and finds what was deleted, moved, duplicated or inserted.

    A row that does not continue the one before is out of place if the next one does, and stands behind a gap otherwise.
    In the end what is out of place fills gaps, or is there twice.
    """

    def __init__(self, report: Report, *, is_whole: bool) -> None:
        self._report = report
        self._is_whole = is_whole
        self._expected = 0
        self._passed = 0  # Rows out of place since the last one in place.
        self._pending: _Place | None = None
        self._gaps: list[tuple[int, int, int]] = []  # From index, to index, and the line behind.
        self._strays: list[_Place] = []
        self._unproven: dict[int, int | None] = {}
        self._untraced = 0

    def add(self, line: int, index: int, left_out: int) -> None:
        """Take the next row that is proven."""
        place = _Place(line, index, index if self._is_whole else max(0, index - left_out))
        if self._pending is not None:
            self._settle(self._pending, place.begin)
        self._pending = place

    def doubt(self, line: int, index: int | None) -> None:
        """Take a row that is not proven, and the index that it claims."""
        if self._is_traceable():
            self._unproven[line] = index

    def finish(self, end: int, last_line: int) -> None:
        """Judge, now that all rows are there, of which the last should be the one before ``end``."""
        if self._pending is not None:
            self._settle(self._pending, None)
        cut = (self._expected, end - 1, last_line + 1) if self._expected < end else None
        if cut:
            self._gaps.append(cut)
        for line, index in self._unproven.items():
            self._judge(line, index)
        for stray in self._strays:
            if self._fill(stray.leaf):
                told = "swapped or moved: the row is genuine, and stands in another's place"
                self._report.add("out of order", told, line=stray.line, index=stray.leaf)
            else:
                self._report.add("duplicated", "the row stands twice", line=stray.line, index=stray.leaf)
        for begin, stop, line in self._gaps:
            self._tell_gap(begin, stop, line, is_cut=cut is not None and line == cut[2])
        if self._untraced:
            told = f"{self._untraced} more rows are out of place or not genuine than are named here"
            self._report.add("too many", told)

    def _is_traceable(self) -> bool:
        if len(self._gaps) + len(self._strays) + len(self._unproven) < MOST_TRACED:
            return True
        self._untraced += 1
        return False

    def _settle(self, row: _Place, following: int | None) -> None:
        # Behind rows that are out of place a row may stand where it stood before they took the others' places.
        is_at_its_place = self._is_whole and row.begin == self._expected + self._passed
        is_followed_back = following is not None and self._expected <= following < row.begin
        if row.begin > self._expected and (is_at_its_place or not is_followed_back):
            if self._is_traceable():
                self._gaps.append((self._expected, row.begin - 1, row.line))
        elif row.begin < self._expected <= row.leaf and not self._is_whole:
            told = "the number of leaves that are left out before it does not fit the row before"
            self._report.add("column altered", told, line=row.line, index=row.leaf)
        elif row.begin != self._expected:
            if self._is_traceable():
                self._strays.append(row)
            self._passed += 1
            return
        self._expected = row.leaf + 1
        self._passed = 0

    def _judge(self, line: int, index: int | None) -> None:
        if index is not None and self._fill(index):
            told = "the leaf or its proof is not what was sealed at this index"
            self._report.add("edited", told, line=line, index=index)
        elif (beside := self._gap_beside(line)) is not None and self._fill(beside):
            told = f"the row is not what was sealed; by its place it was index {beside}"
            self._report.add("edited", told, line=line, index=beside)
        else:
            self._report.add("inserted", "no such leaf was sealed; the row does not belong to the log", line=line)

    def _gap_beside(self, line: int) -> int | None:
        behind = line + 1
        while behind in self._unproven:
            behind += 1
        return next((gap[0] for gap in self._gaps if gap[2] == behind), None)

    def _fill(self, index: int) -> bool:
        for at, (begin, stop, line) in enumerate(self._gaps):
            if begin <= index <= stop:
                below = [(begin, index - 1, line)] if self._is_whole and begin < index else []
                above = [(index + 1, stop, line)] if index < stop else []
                self._gaps[at : at + 1] = below + above
                return True
        return False

    def _tell_gap(self, begin: int, stop: int, line: int, *, is_cut: bool) -> None:
        where = "at the end of the file" if is_cut else f"before line {line}"
        kind = "truncated" if is_cut else "deleted"
        if self._is_whole:
            which = f"index {begin}" if begin == stop else f"indexes {begin} to {stop}"
            told = f"{which} {'is' if begin == stop else 'are'} missing {where}"
        else:
            told = f"index {stop}, which the filter kept, is missing {where}, and perhaps others from {begin} on"
        self._report.add(kind, told, line=None if is_cut else line, index=begin if self._is_whole else stop)


class _Genuine(NamedTuple):
    """What a row says that is to the letter the one that its evidence makes."""

    leaf: int  # Its index.
    left_out: int
    hashed: bytes
    erased: int


class Verifier:
    """Verifies one export; a large one with so many ``processes`` beside this one that look at its rows."""

    def __init__(self, key: PublicKey, *, processes: int = 0) -> None:
        self.keys = Keys(key)
        self.report = Report()
        self.manifest: Manifest | None = None
        self.rows = 0
        self.erased = 0
        self.is_compared = True
        self._digest = hashlib.sha256()
        self._processes = processes

    def verify(self, file: BinaryIO, outside: Sequence[tuple[str, str]] = ()) -> None:
        """Read the export from its beginning; ``outside`` are (name, note) of checkpoints that were kept elsewhere."""
        self.manifest = self._read_manifest(_last_line(file))
        heads = [(name, Head.opened(note, self.keys)) for name, note in outside]
        for name, head in heads:
            if head is None:
                self.report.add("checkpoint", f"{name} is no checkpoint that the key has signed")
        known = [(name, head) for name, head in heads if head is not None]
        growth = Growth(frozenset(head.size for _, head in known))
        self._read_rows(file, growth)
        self._compare(known, growth)

    def _read_manifest(self, cells: Sequence[str]) -> Manifest | None:
        if not cells or cells[0] != MANIFEST or len(cells) != len(COLUMNS):
            told = "the manifest, the last row, is missing: the end was cut off, and without it no row can be proven"
            self.report.add("truncated", told)
            return None
        note = (_unurl64(cells[-2].encode()) or b"").decode("utf-8", "replace")
        try:
            text, signatures = _note(note)
            told = json.loads(text.split("\n")[1])
            origin = told["origin"]
            self.keys.follow(told["successors"], origin)
            head = Head.opened(told["checkpoint"], self.keys)
        except (ValueError, KeyError, IndexError, TypeError, AttributeError):
            self.report.add("manifest", "the manifest cannot be read")
            return None
        is_signed = text.startswith(f"{origin}/export\n") and self.keys.have_signed(text, origin, signatures)
        if not is_signed or head is None or head.origin != origin:
            self.report.add("manifest", "the manifest or its checkpoint was not signed by the key")
            return None
        return Manifest(head, told)

    def _read_rows(self, file: BinaryIO, growth: Growth) -> None:
        manifest = self.manifest
        tree = Tree(manifest.head.size, manifest.head.root) if manifest else None
        order = Order(self.report, is_whole=manifest.is_whole if manifest else True)
        number = 1
        for number, raw, cells, genuine in self._looked_at(file):
            if number == 1:
                continue
            if genuine is not None:
                self.erased += genuine.erased
                self._count(number, genuine.leaf, genuine.left_out, genuine.hashed, order=order, growth=growth)
                continue
            found = cells if cells is not None else next(csv.reader([raw.decode("utf-8", "replace")]), [])
            if found and found[0] == MANIFEST:
                self._check_manifest_row(number, raw, found)
                break
            self._diagnose(number, found, tree=tree, order=order, growth=growth)
        order.finish(manifest.end if manifest else 0, number - 1)
        if manifest is not None:
            self._check_totals(manifest)

    def _looked_at(self, file: BinaryIO) -> Iterator[tuple[int, bytes, list[str] | None, _Genuine | None]]:
        """Yield each row as ``_records`` does, and what it says where it is genuine."""
        is_shared = self._processes > 1 and file.seek(0, io.SEEK_END) >= _WORTH_SHARING
        file.seek(0)
        batches = _batches(_records(file, self.report), _AT_ONCE_SHARED if is_shared else _AT_ONCE)
        manifest = self.manifest
        if manifest is None:
            yield from ((*record, None) for record in itertools.chain.from_iterable(batches))
            return
        look = partial(_genuine_rows, manifest.head.size, manifest.head.root, is_whole=manifest.is_whole)
        for batch, found in _shared(look, batches, self._processes) if is_shared else _alone(look, batches):
            for record, genuine in zip(batch, found, strict=True):
                yield (*record, genuine)

    def _count(self, number: int, index: int, left_out: int, hashed: bytes, *, order: Order, growth: Growth) -> None:
        self.rows += 1
        self._digest.update(hashed)
        order.add(number, index, left_out)
        if growth.wanted and index == growth.size:
            growth.add(hashed)

    def _diagnose(self, number: int, cells: Sequence[str], *, tree: Tree | None, order: Order, growth: Growth) -> None:
        """Say what is wrong with a row that is not as it was written."""
        index = _whole_number(cells[0]) if cells else None
        if len(cells) != len(COLUMNS):
            self.report.add("truncated", "the row is cut off or has other columns", line=number, index=index)
            order.doubt(number, index)
            return
        leaf = _unurl64(cells[-2].encode())
        proof = _unurl64(cells[-1].removeprefix(PROOF_PREFIX).encode())
        if tree is None:
            return
        hashed = hashlib.sha256(b"\x00" + (leaf or b"")).digest()
        if leaf is None or proof is None or index is None or not tree.proves(index, hashed, proof):
            order.doubt(number, index)
            return
        left_out = _whole_number(cells[-3])
        self._count(number, index, left_out or 0, hashed, order=order, growth=growth)
        left = "0" if self.manifest is None or self.manifest.is_whole else str(left_out)
        try:
            shown, is_opened = _shown_as_far(leaf, cells[-4])
        except ValueError:
            self.report.add("unknown form", "the leaf is genuine, and no event", line=number, index=index)
            return
        self.erased += shown.erased
        eyes = next(csv.reader([shown.columns]))
        expected = [str(index), *eyes, cells[-4], left, url64(leaf), proof_cell(proof)]
        wrong = [name for name, is_, should in zip(COLUMNS, cells, expected, strict=True) if is_ != should]
        if not is_opened:  # What the columns should show of the committed values cannot be known then.
            wrong = ["openings", *(name for name in wrong if name not in _OPENED_COLUMNS)]
        for name in wrong:
            told = f"{name} does not say what the leaf says; the leaf itself is genuine"
            self.report.add("column altered", told, line=number, index=index)
        if not wrong and not self.is_resaved:
            self.report.add("resaved", "the row is written in another form", line=number, index=index)

    @property
    def is_resaved(self) -> bool:
        """Tell whether the whole file has another form than an export's."""
        return any(problem.kind == "resaved" and problem.line is None for problem in self.report.problems)

    def _check_manifest_row(self, number: int, raw: bytes, cells: Sequence[str]) -> None:
        if self.manifest is None:
            return
        note = (_unurl64(cells[-2].encode()) or b"").decode("utf-8", "replace")
        if raw != manifest_line(note) and not self.is_resaved:
            told = "the manifest's columns do not say what was signed"
            self.report.add("column altered", told, line=number)

    def _check_totals(self, manifest: Manifest) -> None:
        told, head = manifest.told, manifest.head
        if (told["tree_size"], _unbase64(told["root"])) != (head.size, head.root):
            self.report.add("manifest", "the manifest and its checkpoint name different trees")
        if self.report.count:
            return
        if self.rows != told["count"] or self._digest.hexdigest() != told["rows_sha256"]:
            missing = f"the manifest says {told['count']} rows with another digest; the file has {self.rows}"
            self.report.add("filtered out", f"rows were taken out or changed for others: {missing}")
        elif self.erased != told["erased"]:
            missing = f"the manifest says {told['erased']} values were erased; the file lacks {self.erased}"
            self.report.add("filtered out", f"openings were taken out: {missing}")
        if manifest.is_whole and self.rows != head.size:
            self.report.add(
                "filtered out", f"the log has {head.size} events, the file {self.rows}, with no filter named"
            )

    def _compare(self, outside: Sequence[tuple[str, Head]], growth: Growth) -> None:
        if self.manifest is None:
            return
        head = self.manifest.head
        for name, kept in outside:
            if kept.origin != head.origin:
                self.report.add("checkpoint", f"{name} is of another log, {kept.origin}")
            elif kept.size > head.size:
                told = f"rolled back: {name} was signed over {kept.size} events, and the log has {head.size} now"
                self.report.add("checkpoint", told)
            elif kept.size == head.size:
                self._match(name, kept, head.root)
            elif kept.size and kept.size not in growth.roots:
                self.is_compared = False
            elif kept.size:
                self._match(name, kept, growth.roots[kept.size])

    def _match(self, name: str, kept: Head, root: bytes) -> None:
        if kept.root != root:
            told = f"rewritten: the first {kept.size} events are not those over which {name} was signed"
            self.report.add("checkpoint", told)


def _delimiter(header: str) -> str:
    return max(",;\t", key=header.count)


def _last_line(file: BinaryIO) -> list[str]:
    file.seek(0)
    delimiter = _delimiter(file.readline(_TAIL_BYTES).decode("utf-8", "replace"))
    file.seek(max(0, file.seek(0, io.SEEK_END) - _TAIL_BYTES))
    last = file.read().rstrip(b"\r\n").rpartition(b"\n")[2].decode("utf-8", "replace")
    return next(csv.reader([last], delimiter=delimiter), [])


def _records(file: BinaryIO, report: Report) -> Iterator[tuple[int, bytes, list[str] | None]]:
    """Yield each row: its number, its bytes, and its cells where the file does not have the form of an export."""
    header = file.readline(_TAIL_BYTES)
    if header == line(COLUMNS):
        yield 1, header, None
        for number, raw in enumerate(file, 2):
            yield number, raw, None
        return
    text = header.decode("utf-8-sig", "replace")
    delimiter = _delimiter(text)
    if next(csv.reader([text], delimiter=delimiter), [])[: len(COLUMNS)] != list(COLUMNS):
        msg = "The file is no audit log that Signoff exported: its first row does not name the columns."
        raise UnusableError(msg)
    report.add("resaved", _SHAPE)
    file.seek(0)
    wrapped = io.TextIOWrapper(file, "utf-8-sig", errors="replace", newline="")
    try:
        for number, cells in enumerate(csv.reader(wrapped, delimiter=delimiter), 1):
            yield number, b"", cells
    finally:
        wrapped.detach()


_Record = tuple[int, bytes, list[str] | None]
_Batch = tuple[_Record, ...]
_Look = Callable[[list[bytes]], list[_Genuine | None]]


def _batches(records: Iterator[_Record], size: int) -> Iterator[_Batch]:
    while batch := tuple(itertools.islice(records, size)):
        yield batch


def _raw(batch: _Batch) -> list[bytes]:
    return [raw for _, raw, _ in batch]


def _alone(look: _Look, batches: Iterator[_Batch]) -> Iterator[tuple[_Batch, list[_Genuine | None]]]:
    for batch in batches:
        yield batch, look(_raw(batch))


def _shared(look: _Look, batches: Iterator[_Batch], processes: int) -> Iterator[tuple[_Batch, list[_Genuine | None]]]:
    """Let processes of their own look at the rows; no more than two batches for each are read ahead."""
    begun: deque[tuple[_Batch, Future[list[_Genuine | None]]]] = deque()
    with ProcessPoolExecutor(min(processes, _MOST_PROCESSES), mp_context=multiprocessing.get_context("spawn")) as pool:
        for batch in batches:
            begun.append((batch, pool.submit(look, _raw(batch))))
            if len(begun) > 2 * processes:
                first, looking = begun.popleft()
                yield first, looking.result()
        for batch, looking in begun:
            yield batch, looking.result()


def _genuine_rows(size: int, root: bytes, rows: list[bytes], *, is_whole: bool) -> list[_Genuine | None]:
    """Return for each line what it says if it is genuine, under the tree of this size and root, and None if not."""
    tree = Tree(size, root)
    return [_genuine(raw, tree, is_whole=is_whole) for raw in rows]


def _genuine(raw: bytes, tree: Tree, *, is_whole: bool) -> _Genuine | None:
    """Return what the line says if it is to the letter the one that its evidence makes; most are, and are done with."""
    parts = raw.rsplit(b'","', 4)
    if len(parts) != 5 or not parts[4].startswith(_PROOF) or parts[4][-3:] != b'"\r\n':
        return None
    digits, _, shown = parts[0][1:].partition(b'"')
    index, left_out = _whole_number(digits), _whole_number(parts[2])
    openings, leaf, proof = _unurl64(parts[1]), _unurl64(parts[3]), _unurl64(parts[4][len(_PROOF) : -3])
    if index is None or left_out is None or openings is None or leaf is None or proof is None:
        return None
    hashed = hashlib.sha256(b"\x00" + leaf).digest()
    if (left_out and is_whole) or not tree.proves(index, hashed, proof):
        return None
    erased = _says(leaf, openings, shown)
    return None if erased is None else _Genuine(index, left_out, hashed, erased)


def _says(leaf: bytes, openings: bytes, columns: bytes) -> int | None:
    """Return how many values are erased, where the columns are those that the leaf and the openings make; else None."""
    try:
        shown = _shown(leaf, openings.decode())
    except ValueError:
        return None
    return shown.erased if f",{shown.columns}".encode() == columns + b'"' else None


def _shown_as_far(leaf: bytes, openings: str) -> tuple[_Shown, bool]:
    """Return the columns, and whether the openings in the cell are the leaf's own; without them, if they are not."""
    try:
        opened = _unurl64(openings.encode())
        if opened is not None:
            return _shown(leaf, opened.decode()), True
    except ValueError:
        pass
    return _shown(leaf, ""), False


def _summary(verifier: Verifier) -> str:
    manifest = verifier.manifest
    if manifest is None:
        return ""
    head, told = manifest.head, manifest.told
    kept = {name: value for name, value in told["filter"].items() if value}
    which = "the whole log" if not kept else "filtered by " + ", ".join(f"{name} {kept[name]}" for name in kept)
    erased = f"; {verifier.erased} values erased" if verifier.erased else ""
    return (
        f"OK: {verifier.rows} events of {head.size}, {which}{erased}.\n"
        f"Log {head.origin}, root {base64.b64encode(head.root).decode()}, exported {told['made_at']}."
    )


def _position(problem: Problem) -> int:
    at_the_end = sys.maxsize if problem.kind == "truncated" else 0
    return at_the_end if problem.line is None else problem.line


def _told(problem: Problem) -> str:
    # What a hostile file puts into a message must not reach the terminal as anything but text.
    return "".join(sign if sign.isprintable() else f"\\u{ord(sign):04x}" for sign in str(problem))


def main(arguments: Sequence[str] | None = None, say: Callable[[str], None] = print) -> int:
    """Verify as the command line asks; return the exit status."""
    parser = argparse.ArgumentParser(description="Verify an audit log that Signoff exported.")
    parser.add_argument("export", type=Path, help="the exported audit.csv")
    parser.add_argument("--key", type=Path, required=True, help="the public key, from `app.py key public --out FILE`")
    parser.add_argument(
        "--checkpoint", type=Path, nargs="*", action="extend", default=[], help="checkpoints kept outside"
    )
    parser.add_argument(
        "--processes",
        type=int,
        default=multiprocessing.cpu_count(),
        help="how many look at a large export's rows, at most",
    )
    options = parser.parse_args(arguments)
    csv.field_size_limit(1 << 30)
    try:
        verifier = Verifier(PublicKey.read(options.key), processes=options.processes)
        outside = [(str(path), path.read_text(encoding="utf-8")) for path in options.checkpoint]
        with options.export.open("rb") as file:
            verifier.verify(file, outside)
    except (OSError, UnicodeDecodeError, UnusableError) as error:
        say(f"Cannot verify: {error}")
        return 2
    except BrokenExecutor:
        say("Cannot verify: a process that looked at the rows was ended from outside. Try again with --processes 1.")
        return 2
    return conclude(verifier, say)


def conclude(verifier: Verifier, say: Callable[[str], None]) -> int:
    """Say what the verifier has found; return the exit status."""
    report = verifier.report
    for problem in sorted(report.problems, key=_position):
        say(_told(problem))
    if report.count:
        problems = "1 problem" if report.count == 1 else f"{report.count} problems"
        say(f"NOT OK: {problems}, {verifier.rows} rows genuine.")
        return 1
    say(_summary(verifier))
    if not verifier.is_compared:
        say(
            "A checkpoint that was kept outside is older than this export, which leaves rows out: export the whole log."
        )
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
