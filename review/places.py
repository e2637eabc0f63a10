"""The kinds of places outside at which checkpoints are kept: a webhook, a folder, a bucket of S3, a git repository.

A place is named by a URL. What is shown of it holds no credentials: of a webhook only the host, because its path may
be a secret, too.
"""

import asyncio
import base64
import hashlib
import os
import re
import shlex
import shutil
import subprocess
import tempfile
import weakref
from collections.abc import Mapping
from configparser import ConfigParser
from configparser import Error as ConfigError
from pathlib import Path
from typing import Literal, NoReturn, Protocol
from urllib.parse import parse_qs, unquote, urlsplit, urlunsplit

from requests_aws4auth import AWS4Auth

from review.checkpoints import MAX_NOTE_BYTES, Checkpoint, NoteError, parse_note
from review.errors import ReviewError
from review.outbound import Answer, Outbound

LATEST = "latest"
GIT_BRANCH = "checkpoints"
GIT_TIMEOUT_S = 60

_SCHEME = re.compile(r"([a-z][a-z0-9.-]*(?:\+[a-z]+)?)://")
_GIT_SCHEMES = frozenset({"git+file", "git+https", "git+ssh"})
# What says how to connect; the other variables of git are about a repository that this process has nothing to do with.
_GIT_KEPT = frozenset({"GIT_SSL_CAINFO", "GIT_SSL_CAPATH", "GIT_SSL_CERT", "GIT_SSL_KEY"})
_SSH_PORT = 22
_TOLD = 200
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
# Names that are the same in an address as in a signature, however either is encoded.
_PLAIN = re.compile(r"(?!\.{1,2}(?:/|$))[A-Za-z0-9_.-]+(?:/(?!\.{1,2}(?:/|$))[A-Za-z0-9_.-]+)*")
_SIGNED = ("host", "content-md5", "content-type", "if-none-match", "x-amz-*")
# The object is there; somebody else writes it at this very moment.
_TAKEN = frozenset({409, 412})
_CODE = re.compile(rb"<Code>([A-Za-z]{1,64})</Code>")


class PlaceError(ReviewError):
    """A checkpoint could not be kept at a place, or the place is none."""

    code = "anchor_failed"
    status = 502


class ContradictionError(PlaceError):
    """The place holds a checkpoint of this log with which the log as it is now cannot be reconciled."""

    code = "anchor_contradicts"


class UnsupportedPlaceError(PlaceError):
    """Checkpoints are not posted to places of this kind."""

    code = "anchor_unsupported"
    status = 422

    def __init__(self, shown: str) -> None:
        super().__init__(
            f"{shown} is of a kind that checkpoints are not posted to: https, s3, file, git+https, git+ssh and "
            "git+file are. Mount any other store and name its folder, file:///…, or post to an https address."
        )


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

    Raises PlaceError and AddressRefusedError, also where a program or a setting that the kind needs is missing.
    """
    scheme = _SCHEME.match(url)
    if scheme is None:
        message = "A place for checkpoints is a URL: https://…, s3://…, file:///…, git+https://… or git+file:///…"
        raise PlaceError(message)
    if scheme[1] in ("https", "http"):
        return WebhookPlace(url, outbound)
    if scheme[1].startswith("git+"):
        return GitPlace(url, outbound)
    if scheme[1] == "s3":
        return FolderPlace(_shown(url), Bucket(url, outbound))
    if scheme[1] == "file":
        return FolderPlace(_shown(url), Folder(url))
    raise UnsupportedPlaceError(_shown(url))


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


class Files(Protocol):
    """What a folder of checkpoints is written and read by; paths have a name or two, of plain letters."""

    def read(self, path: str) -> str | None:
        """Return what the file holds, up to the size of a note; None where there is none."""

    def created(self, path: str, note: str) -> str:
        """Write the file unless it is there; return what it holds then."""

    def write(self, path: str, note: str) -> None:
        """Write the file, whatever is there."""


class FolderPlace:
    """A folder for each log: one file for each checkpoint, never overwritten, and ``latest``."""

    def __init__(self, name: str, files: Files) -> None:
        self.name = name
        self._files = files

    def kept(self, origin: str) -> str | None:
        """Return what ``latest`` holds."""
        return self._files.read(f"{folder_of(origin)}/{LATEST}")

    def keep(self, origin: str, size: int, note: str) -> None:
        """Write the file of this size unless it is there, then ``latest``. Raises ContradictionError."""
        there = self._files.created(f"{folder_of(origin)}/{size:012}", note)
        if not _is_same(there, note):
            message = f"This place holds another checkpoint over {size:,} events: the log was rewritten."
            raise ContradictionError(message)
        self._files.write(f"{folder_of(origin)}/{LATEST}", note)

    def close(self) -> None:
        """Do nothing."""


class Folder:
    """A folder of this machine, or one that is mounted here."""

    def __init__(self, url: str) -> None:
        root = url.removeprefix("file://")
        if not root.startswith("/"):
            message = f"{_shown(url)} is no place for checkpoints: name a folder from the root, as in file:///srv/log."
            raise PlaceError(message)
        self._root = Path(root)

    def read(self, path: str) -> str | None:
        """Read the file; blocks for as long as its file system does."""
        try:
            with (self._root / path).open("rb") as file:
                return file.read(MAX_NOTE_BYTES).decode("utf-8", "replace")
        except FileNotFoundError:
            return None

    def created(self, path: str, note: str) -> str:
        """Write the file unless it is there; what a writer that was broken off has begun is finished."""
        try:
            self._write(path, note, mode="xb")
        except FileExistsError:
            there = self.read(path) or ""
            if not note.startswith(there):
                return there
            self.write(path, note)
        return note

    def write(self, path: str, note: str) -> None:
        """Write the file."""
        self._write(path, note, mode="wb")

    def _write(self, path: str, note: str, *, mode: Literal["wb", "xb"]) -> None:
        file = self._root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open(mode) as opened:
            opened.write(note.encode())


class Bucket:
    """A bucket of S3, or of a store that speaks its protocol, which is asked by the house's one way outside.

    ``s3://BUCKET/PREFIX?region=…&endpoint=…&style=…``: what the address does not say comes from the environment that
    AWS's own tools read. Each request is signed (AWS Signature Version 4) with the key as it is then, so that a file
    with keys of a short life may be renewed beside. Writes of a checkpoint are conditional on there being none.
    """

    def __init__(self, url: str, outbound: Outbound) -> None:
        self._shown = _shown(url)
        self._parts = urlsplit(url)
        self._outbound = outbound
        asked = {name: values[-1] for name, values in parse_qs(self._parts.query).items()}
        region = asked.pop("region", None) or os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
        endpoint = asked.pop("endpoint", None) or _endpoint_of_the_environment(self._shown)
        style = asked.pop("style", "path" if endpoint else "virtual")
        bucket, prefix = self._parts.netloc.rpartition("@")[2], self._parts.path.strip("/")
        if asked or self._parts.fragment or style not in ("path", "virtual"):
            self._refuse("beside the prefix it names region, endpoint and style (path or virtual) alone")
        if not _BUCKET.fullmatch(bucket) or (prefix and not _PLAIN.fullmatch(prefix)):
            self._refuse("a bucket and a prefix have letters, digits, dots, hyphens and underscores")
        if not endpoint and not region:
            self._refuse("name its region, ?region=… or AWS_REGION, or an endpoint, ?endpoint=… or AWS_ENDPOINT_URL_S3")
        self._region = region or "us-east-1"
        endpoint = endpoint or f"https://s3.{region}.amazonaws.com{'.cn' if self._region.startswith('cn-') else ''}"
        self.address = "/".join(part for part in (_with_bucket(endpoint, bucket, style), prefix) if part)
        outbound.checked(self.address)
        self._signer()

    def read(self, path: str) -> str | None:
        """Ask for the object."""
        answer = self._asked("GET", path)
        if answer.status == 404 and _code(answer) != "NoSuchBucket":
            return None
        self._require_done(answer)
        return answer.body[:MAX_NOTE_BYTES].decode("utf-8", "replace")

    def created(self, path: str, note: str) -> str:
        """Put the object unless it is there."""
        # Asked for first, because not every store knows the condition.
        there = self.read(path)
        if there is not None:
            return there
        answer = self._put(path, note, {"If-None-Match": "*"})
        if answer.status in _TAKEN and (there := self.read(path)) is not None:
            return there
        self._require_done(answer)
        return note

    def write(self, path: str, note: str) -> None:
        """Put the object."""
        self._require_done(self._put(path, note, {}))

    def _put(self, path: str, note: str, condition: Mapping[str, str]) -> Answer:
        # Asked for by object lock.
        digest = hashlib.md5(note.encode(), usedforsecurity=False).digest()
        headers = {
            "Content-Type": "text/plain; charset=utf-8",
            "Content-MD5": base64.b64encode(digest).decode("ascii"),
            **condition,
        }
        return self._asked("PUT", path, body=note.encode(), headers=headers)

    def _asked(self, method: str, path: str, *, body: bytes = b"", headers: Mapping[str, str] | None = None) -> Answer:
        asking = self._outbound.ask(
            method, f"{self.address}/{path}", body=body, headers=headers or {}, sign=self._signer()
        )
        return asyncio.run(asking)

    def _signer(self) -> AWS4Auth:
        key, secret, token = self._credentials()
        return AWS4Auth(key, secret, self._region, "s3", session_token=token, include_hdrs=_SIGNED)

    def _credentials(self) -> tuple[str, str, str | None]:
        if self._parts.username and self._parts.password:
            return unquote(self._parts.username), unquote(self._parts.password), None
        named: Mapping[str, str] = {name.lower(): value for name, value in os.environ.items()}
        if not named.get("aws_access_key_id"):
            named = self._profile()
        try:
            return named["aws_access_key_id"], named["aws_secret_access_key"], named.get("aws_session_token") or None
        except KeyError:
            self._refuse("it needs AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_SHARED_CREDENTIALS_FILE")

    def _profile(self) -> Mapping[str, str]:
        path = os.environ.get("AWS_SHARED_CREDENTIALS_FILE")
        profiles = ConfigParser(interpolation=None)
        try:
            profiles.read_string(Path(path).read_text(encoding="utf-8") if path else "")
            return profiles[os.environ.get("AWS_PROFILE", "default")]
        except (OSError, ConfigError, KeyError, UnicodeDecodeError):
            return {}

    def _require_done(self, answer: Answer) -> None:
        if not 200 <= answer.status < 300:
            code = _code(answer)
            message = f"{self._shown} answered with status {answer.status}{f' ({code})' if code else ''}."
            raise PlaceError(message)

    def _refuse(self, why: str) -> NoReturn:
        message = f"{self._shown} is no place for checkpoints: {why}."
        raise PlaceError(message)


class GitPlace:
    """A branch of a git repository: a commit for each checkpoint, never a forced push.

    The URL's fragment names the branch, ``checkpoints`` where there is none. Of the repository only the branch's last
    commit is fetched, into a folder of this process. The host is resolved and looked at here, and git, or the ssh that
    it starts, is told to connect to just that address.
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
        return self._git(*words, settings=self._connection(), ssh=self._ssh())

    def _git(self, *words: str, fed: str = "", settings: Mapping[str, str] | None = None, ssh: str = "") -> str:
        try:
            done = subprocess.run(  # noqa: S603 -- git itself, with addresses from the settings
                ["git", *words],  # noqa: S607 -- wherever the machine has it
                cwd=self._folder,
                env={**self._environment(settings or {}), "GIT_SSH_COMMAND": ssh},
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

    def _ssh(self) -> str:
        """Return how ssh is started, so that it connects to the address that was looked at, and to no other."""
        command = os.environ.get("GIT_SSH_COMMAND", "ssh -o BatchMode=yes")
        if self._parts.scheme == "git+ssh":
            host, port = self._parts.hostname or "", self._parts.port or _SSH_PORT
            address = self._outbound.resolved(host, port)[0]
            # The key must be the host's, though the connection goes to an address.
            alias = host if port == _SSH_PORT else f"[{host}]:{port}"
            options = (f"HostName={address}", f"HostKeyAlias={alias}", "ProxyJump=none", "ProxyCommand=none")
            command += "".join(f" -o {shlex.quote(option)}" for option in options)
        return command

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


def _endpoint_of_the_environment(shown: str) -> str | None:
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    if not endpoint and "FSSPEC_S3_ENDPOINT_URL" in os.environ:
        # Whoever set it means another store than Amazon's.
        message = f"{shown} cannot be reached: give its endpoint as AWS_ENDPOINT_URL_S3, not as FSSPEC_S3_ENDPOINT_URL."
        raise PlaceError(message)
    return endpoint


def _with_bucket(endpoint: str, bucket: str, style: str) -> str:
    parts = urlsplit(endpoint)
    if style == "path":
        return f"{endpoint.rstrip('/')}/{bucket}"
    return urlunsplit((parts.scheme, f"{bucket}.{parts.netloc}", parts.path.rstrip("/"), "", ""))


def _code(answer: Answer) -> str:
    """Return the store's own word for what went wrong: letters alone, whatever else it says."""
    found = _CODE.search(answer.body)
    return found[1].decode("ascii") if found else ""


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
