"""Verification in the house: the whole log exported and put before the verifier, as an outsider would do it.

It convinces nobody who distrusts this server: it is for those who run it, who would know first.
"""

import csv
import io
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, BinaryIO

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from review.exports import audit_csv
from review.sealer import AuditExport
from review.verify import PublicKey, Verifier, conclude

# A long log takes longer to export, with its proofs, than to verify.
EXPORT_SHARE = 0.7

LARGEST_FIELD = 1 << 30
_BUFFER_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Verification:
    """What the verifier said of the log, in its own words, and how many events it has proven."""

    is_right: bool
    events: int
    words: tuple[str, ...]


class _Watched(io.RawIOBase):
    """Reads a file and tells after every buffer how much of it has been read from its beginning, 0…1."""

    def __init__(self, file: BinaryIO, told: Callable[[float], None]) -> None:
        self._file = file
        self._size = max(file.seek(0, io.SEEK_END), 1)
        self._reached = 0
        self._told = told

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401 -- a buffer has no type before Python 3.12
        begin = self._file.tell()
        chunk = self._file.read(len(buffer))
        buffer[: len(chunk)] = chunk
        # The verifier looks at the end first, which is no progress.
        if begin <= self._reached:
            self._reached = max(self._reached, begin + len(chunk))
            self._told(self._reached / self._size)
        return len(chunk)


def verified(export: AuditExport, key: Ed25519PublicKey, *, told: Callable[[float], None]) -> Verification:
    """Write the export to a temporary file and verify it with the key, in constant memory.

    ``told`` is given how much is done, 0…1, every 64 KiB and more; what it raises ends the verification, and leaves
    nothing behind.
    """
    said: list[str] = []
    verifier = Verifier(PublicKey(key.public_bytes_raw()))
    csv.field_size_limit(LARGEST_FIELD)
    with tempfile.TemporaryFile() as file:
        for chunk in audit_csv(export):
            file.write(chunk)
            told(EXPORT_SHARE * export.passed / max(export.size, 1))
        watched = _Watched(file, lambda share: told(EXPORT_SHARE + (1 - EXPORT_SHARE) * share))
        verifier.verify(io.BufferedReader(watched, _BUFFER_BYTES))
    status = conclude(verifier, said.append)
    return Verification(is_right=status == 0, events=verifier.rows, words=tuple(said))
