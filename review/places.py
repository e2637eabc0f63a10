"""The kinds of places outside at which checkpoints are kept: a webhook, a folder or object store, a git repository.

A place is named by a URL. What is shown of it holds no credentials: of a webhook only the host, because its path may
be a secret, too.
"""

import asyncio
import base64
import os
import re
import shutil
import subprocess
import tempfile
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit, urlunsplit

from fsspec.core import url_to_fs

from review.checkpoints import MAX_NOTE_BYTES, Checkpoint, NoteError, parse_note
from review.errors import ReviewError
from review.outbound import Outbound

LATEST = "latest"
GIT_BRANCH = "checkpoints"
GIT_TIMEOUT_S = 60

_SCHEME = re.compile(r"([a-z][a-z0-9.-]*(?:\+[a-z]+)?)://")
_GIT_SCHEMES = frozenset({"git+file", "git+https", "git+ssh"})
# What says how to connect; the other variables of git are about a repository that this process has nothing to do with.
_GIT_KEPT = frozenset({"GIT_SSL_CAINFO", "GIT_SSL_CAPATH", "GIT_SSL_CERT", "GIT_SSL_KEY"})
_TOLD = 200
# File systems of fsspec that leave this machine for nowhere.
_HERE = frozenset({"file", "local", "memory"})


class PlaceError(ReviewError):
    """A checkpoint could not be kept at a place, or the place is none."""

    code = "anchor_failed"
    status = 502


class ContradictionError(PlaceError):
    """The place holds a checkpoint of this log with which the log as it is now cannot be reconciled."""

    code = "anchor_contradicts"


class Place(Protocol):
    """Where checkpoints are kept; every call may take long, and raises ReviewError or OSError where it fails."""

    @property
    def name(self) -> str:
        """Return what people see of the place."""

    def kept(self, origin: str) -> str | None:
        """Return the latest note of the log that is kept there; None where there is none, or it cannot be asked."""

    def keep(self, origin: str, size: int, note: str) -> None:
        """Keep the signed checkpoint of the log at this size; said again, it changes nothing."""

    def close(self) -> None:
        """Leave nothing behind on this machine."""


def place_at(url: str, outbound: Outbound) -> Place:
    """Return the place that the URL names; nothing is sent there yet.

    Raises PlaceError and AddressRefusedError, also where a package or program that the kind needs is not installed.
    """
    scheme = _SCHEME.match(url)
    if scheme is None:
        message = "A place for checkpoints is a URL: https://…, file:///…, s3://…, git+https://… or git+file:///…"
        raise PlaceError(message)
    if scheme[1] in ("https", "http"):
        return WebhookPlace(url, outbound)
    if scheme[1].startswith("git+"):
        return GitPlace(url, outbound)
    return FilePlace(url, outbound)


class WebhookPlace:
    """A host that checkpoints are posted to, as ``text/plain``; it cannot be asked what it holds."""

    def __init__(self, url: str, outbound: Outbound) -> None:
        parsed = outbound.checked(url)
        self.name = f"{parsed.scheme}://{parsed.netloc.decode('ascii')}/…"
        self._url = url
        self._outbound = outbound

    def kept(self, origin: str) -> str | None:  # noqa: ARG002 -- a webhook tells nothing of any log
        """Return None."""
        return None

    def keep(self, origin: str, size: int, note: str) -> None:  # noqa: ARG002 -- the note says both
        """Post the note."""
        headers = {"Content-Type": "text/plain; charset=utf-8"}
        asyncio.run(self._outbound.post(self._url, note.encode(), headers=headers))

    def close(self) -> None:
        """Do nothing."""


class FilePlace:
    """A folder that fsspec reaches: one file for each checkpoint, never overwritten, and ``latest``."""

    def __init__(self, url: str, outbound: Outbound) -> None:
        self.name = _shown(url)
        if "::" in url:
            message = f"{self.name} is no place for checkpoints: name one address, not a chain of them."
            raise PlaceError(message)
        try:
            self._files, root = url_to_fs(url)
        except (ImportError, ValueError) as error:
            message = f"{self.name} cannot be reached: {_sentence(error)}"
            raise PlaceError(message) from error
        self._root = str(root).rstrip("/")
        if outbound.is_bounded and not _HERE & set(_protocols(self._files)):
            self._require_listed(outbound)

    def kept(self, origin: str) -> str | None:
        """Return what ``latest`` holds."""
        return self._read(self._path(origin, LATEST))

    def keep(self, origin: str, size: int, note: str) -> None:
        """Write the file of this size unless it is there, then ``latest``. Raises ContradictionError."""
        path = self._path(origin, f"{size:012}")
        there = self._read(path)
        # What a writer that was broken off has begun is finished.
        if there is None or (there != note and note.startswith(there)):
            self._write(path, note)
        elif not _is_same(there, note):
            message = f"This place holds another checkpoint over {size:,} events: the log was rewritten."
            raise ContradictionError(message)
        self._write(self._path(origin, LATEST), note)

    def close(self) -> None:
        """Do nothing."""

    def _require_listed(self, outbound: Outbound) -> None:
        """Hold the store's own client to the list, by the one host that it was given."""
        endpoint = getattr(self._files, "endpoint_url", None)
        host = urlsplit(str(endpoint)).hostname if endpoint else getattr(self._files, "host", None)
        if not host:
            message = (
                f"{self.name} is reached at hosts that its client chooses, which SIGNOFF_OUTBOUND_HOSTS cannot bound. "
                "Give the client an endpoint, such as FSSPEC_S3_ENDPOINT_URL, and list that one's host."
            )
            raise PlaceError(message)
        outbound.require_listed(host)

    def _path(self, origin: str, name: str) -> str:
        return f"{self._root}/{folder_of(origin)}/{name}"

    def _read(self, path: str) -> str | None:
        self._files.invalidate_cache()
        try:
            content: bytes = self._files.cat_file(path, start=0, end=MAX_NOTE_BYTES)
        except FileNotFoundError:
            return None
        return content.decode("utf-8", "replace")

    def _write(self, path: str, note: str) -> None:
        try:
            self._files.pipe_file(path, note.encode())
        except FileNotFoundError:
            # Object stores know no folders, and those that do want them made.
            self._files.makedirs(path.rpartition("/")[0], exist_ok=True)
            self._files.pipe_file(path, note.encode())


class GitPlace:
    """A branch of a git repository: a commit for each checkpoint, never a forced push.

    The URL's fragment names the branch, ``checkpoints`` where there is none. Of the repository only the branch's last
    commit is fetched, into a folder of this process. The host of an https address is resolved and looked at here, and
    git is told to connect to just that address.
    """

    def __init__(self, url: str, outbound: Outbound) -> None:
        parts = urlsplit(url)
        if parts.scheme not in _GIT_SCHEMES:
            message = f"{_shown(url)} is no place for checkpoints: git+https, git+ssh and git+file are."
            raise PlaceError(message)
        if shutil.which("git") is None:
            message = f"{_shown(url)} cannot be reached: the program git is not installed."
            raise PlaceError(message)
        self.name = _shown(url)
        self._branch = f"refs/heads/{unquote(parts.fragment) or GIT_BRANCH}"
        self._outbound = outbound
        self._parts = parts
        # The address becomes a word of a command, which everybody on the machine can read: no password stands in it.
        is_secret = parts.scheme == "git+https"
        place = parts.netloc.rpartition("@")[2] if is_secret else parts.netloc
        self._address = urlunsplit((parts.scheme.removeprefix("git+"), place, parts.path, parts.query, ""))
        self._folder = Path(tempfile.mkdtemp(prefix="signoff-anchor-"))
        self._removed = weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        self._tip: str | None = None

    def kept(self, origin: str) -> str | None:
        """Fetch the branch's last commit and return the note that stands in it."""
        if not (self._folder / "HEAD").exists():
            self._git("init", "--bare", "--quiet", ".")
        told = self._git_outside("ls-remote", self._address, self._branch).split()
        tip = told[0] if told else None
        if tip is not None and tip != self._tip:
            self._git_outside("fetch", "--quiet", "--depth=1", "--no-tags", self._address, self._branch)
        self._tip = tip
        path = f"{folder_of(origin)}/{LATEST}"
        if tip is None or not self._git("ls-tree", "--name-only", tip, path):
            return None
        return self._git("cat-file", "blob", f"{tip}:{path}")

    def keep(self, origin: str, size: int, note: str) -> None:
        """Commit the note on top of what ``kept`` has fetched, and push."""
        blob = self._git("hash-object", "-w", "--stdin", fed=note).strip()
        self._git("read-tree", self._tip or "--empty")
        self._git("update-index", "--add", "--cacheinfo", f"100644,{blob},{folder_of(origin)}/{LATEST}")
        tree = self._git("write-tree").strip()
        parents = ["-p", self._tip] if self._tip else []
        commit = self._git("commit-tree", tree, *parents, "-m", f"Checkpoint of {origin} over {size} events").strip()
        self._git_outside("push", "--quiet", self._address, f"{commit}:{self._branch}")
        self._tip = commit

    def close(self) -> None:
        """Remove the folder of this process."""
        self._removed()

    def _git_outside(self, *words: str) -> str:
        return self._git(*words, settings=self._connection())

    def _git(self, *words: str, fed: str = "", settings: Mapping[str, str] | None = None) -> str:
        try:
            done = subprocess.run(  # noqa: S603 -- git itself, with addresses from the settings
                ["git", *words],  # noqa: S607 -- wherever the machine has it
                cwd=self._folder,
                env=self._environment(settings or {}),
                input=fed,
                capture_output=True,
                encoding="utf-8",
                errors="replace",
                timeout=GIT_TIMEOUT_S,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            message = f"git {words[0]} took longer than {GIT_TIMEOUT_S} seconds."
            raise PlaceError(message) from error
        if done.returncode:
            message = f"git {words[0]} failed: {self._last_words(done.stderr)}"
            raise PlaceError(message)
        return done.stdout

    def _connection(self) -> dict[str, str]:
        """Return the settings under which git connects to the address that was looked at, and to no other."""
        settings = {"http.followRedirects": "false", "http.lowSpeedLimit": "1", "http.lowSpeedTime": "20"}
        if self._parts.scheme == "git+https":
            host, port = self._parts.hostname or "", self._parts.port or 443
            address = self._outbound.resolved(host, port)[0]
            there = f"[{address}]" if address.version == 6 else str(address)
            settings |= {"http.curloptResolve": f"{host}:{port}:{there}", "http.proxy": ""} | self._credentials()
        return settings

    def _environment(self, settings: Mapping[str, str]) -> dict[str, str]:
        """Return an environment in which git asks nobody, and heeds no other repository's."""
        # Handed over so and not as words, which everybody on the machine can read.
        pairs = {"GIT_CONFIG_COUNT": str(len(settings))}
        for number, (name, value) in enumerate(settings.items()):
            pairs |= {f"GIT_CONFIG_KEY_{number}": name, f"GIT_CONFIG_VALUE_{number}": value}
        return {
            **{name: value for name, value in os.environ.items() if not name.startswith("GIT_") or name in _GIT_KEPT},
            **pairs,
            "GIT_DIR": str(self._folder),
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_ALLOW_PROTOCOL": "file:https:ssh",
            "GIT_SSH_COMMAND": os.environ.get("GIT_SSH_COMMAND", "ssh -o BatchMode=yes"),
            "GIT_AUTHOR_NAME": "Signoff",
            "GIT_AUTHOR_EMAIL": "checkpoints@signoff.invalid",
            "GIT_COMMITTER_NAME": "Signoff",
            "GIT_COMMITTER_EMAIL": "checkpoints@signoff.invalid",
        }

    def _credentials(self) -> dict[str, str]:
        user, password = unquote(self._parts.username or ""), unquote(self._parts.password or "")
        if not user and not password:
            return {}
        told = base64.b64encode(f"{user}:{password}".encode()).decode("ascii")
        return {"http.extraHeader": f"Authorization: Basic {told}"}

    def _last_words(self, stderr: str) -> str:
        lines = [line.strip() for line in stderr.splitlines() if line.strip()]
        told = next((line for line in lines if line.startswith(("fatal:", "error:", "!"))), lines[-1] if lines else "")
        return told.replace(self._address, self.name)[:_TOLD]


def _protocols(files: Any) -> tuple[str, ...]:  # noqa: ANN401 -- fsspec publishes no types
    return (files.protocol,) if isinstance(files.protocol, str) else tuple(files.protocol)


def folder_of(origin: str) -> str:
    """Return the name of a log as that of a folder: letters, digits, dots and hyphens, the rest as ``_2F``."""
    return re.sub(rb"[^A-Za-z0-9.-]", lambda found: b"_%02X" % found[0][0], origin.encode()).decode("ascii")


def _is_same(one: str, other: str) -> bool:
    try:
        return Checkpoint.parse(parse_note(one).text) == Checkpoint.parse(parse_note(other).text)
    except NoteError:
        return False


def _shown(url: str) -> str:
    """Return the URL without user, password and query."""
    parts = urlsplit(url)
    branch = f"#{parts.fragment}" if parts.fragment else ""
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}{branch}"


def _sentence(error: Exception) -> str:
    told: Any = error.args[0] if error.args else type(error).__name__
    return f"{str(told).rstrip('.')}."
