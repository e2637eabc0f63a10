"""Anchors: every place is given the latest checkpoint, and tells when the log is not the one that it knows."""

import logging
import os
import re
import shutil
import socket
import ssl
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from joserfc.jwk import OKPKey

from db.store import SqlStore, open_store
from review import verify
from review.anchors import RETRY_FIRST, RETRY_LAST, Anchor, Anchors, Poster
from review.audit import EventFilter, LogHead
from review.checkpoints import Checkpoint, signed
from review.errors import ReviewError
from review.exports import audit_csv
from review.outbound import AddressRefusedError, Outbound
from review.places import Bucket, Folder, FolderPlace, Place, UnsupportedPlaceError, place_at
from review.sealer import CHECKPOINT_EVERY, IDLE_CHECKPOINT_EVERY, Sealer
from review.signing import Receipts
from tests.buckets import BUCKET, REGION, Store, a_store_of_buckets
from tests.builders import WORKSPACE, an_event, keeping
from tests.clock import MovableClock
from tests.outside import Host, a_certificate, a_host
from tests.waiting import PATIENCE_SECONDS, eventually

KEY = OKPKey.generate_key("Ed25519")
RECEIPTS = Receipts(KEY, issuer="https://desk.example:8443")
FOLDER = "desk.example_3A8443_2Fdefault"
SECOND = timedelta(seconds=1)
OUTBOUND = Outbound(allows_loopback=True)


@pytest.fixture
def store(sqlite_store: SqlStore) -> SqlStore:
    return sqlite_store


@pytest.fixture
def host() -> Iterator[Host]:
    with a_host() as serving:
        yield serving


@pytest.fixture(scope="module")
def buckets() -> Iterator[Store]:
    with a_store_of_buckets() as serving:
        yield serving


@pytest.fixture
def bucket(buckets: Store, monkeypatch: pytest.MonkeyPatch) -> Store:
    """Return the store of buckets, empty, with what reaches it in the environment and nothing else of the kind."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in buckets.environment.items():
        monkeypatch.setenv(name, value)
    return buckets


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    path = tmp_path / "checkpoints.git"
    git(tmp_path, "init", "--bare", "--quiet", str(path))
    return path


def git(folder: Path, *words: str) -> str:
    done = subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True, check=True)  # noqa: S607 -- git
    return done.stdout


def seal(store: SqlStore, events: int, receipts: Receipts = RECEIPTS) -> LogHead:
    """Let so many things happen, and seal them; return the head of the log."""
    store.write(keeping(*(an_event() for _ in range(events))))
    Sealer(store, receipts).seal()
    head = store.read(lambda tx: tx.log_head(WORKSPACE))
    assert head is not None
    return head


def signed_over(head: LogHead, root: bytes) -> str:
    """Return what our key signs over another tree of this size."""
    private = KEY.private_key
    assert isinstance(private, Ed25519PrivateKey)
    return signed(Checkpoint(head.origin, head.frontier.size, root).text, head.origin, private)


def anchor(store: SqlStore, poster: Poster) -> Anchor:
    return poster.anchor(WORKSPACE, store.read(lambda tx: tx.now))


def posted(path: Path) -> dict[str, str]:
    return {each.name: each.read_text(encoding="utf-8") for each in sorted((path / FOLDER).iterdir())}


def test_a_webhook_is_sent_the_signed_note_and_nothing_else(store: SqlStore, host: Host) -> None:
    head = seal(store, 3)
    poster = Poster(store, place_at(host.url, OUTBOUND))

    poster.tick()

    (arrived,) = host.arrived
    assert (arrived.body.decode(), arrived.headers["Content-Type"]) == (head.note, "text/plain; charset=utf-8")
    assert anchor(store, poster) == Anchor(f"http://127.0.0.1:{host.port}/…", size=3, at=head.at)


@pytest.mark.parametrize("kind", ["file", "s3"])
def test_each_checkpoint_is_a_file_of_its_own_and_the_latest_is_one_more(
    store: SqlStore, clock: MovableClock, tmp_path: Path, bucket: Store, kind: str
) -> None:
    folder = tmp_path / "not there yet"
    url = f"file://{folder}" if kind == "file" else f"s3://{BUCKET}/of/each"
    poster = Poster(store, place_at(url, OUTBOUND))
    notes = []

    for _ in range(3):
        notes.append(seal(store, 2).note)
        poster.tick()
        assert anchor(store, poster).trouble is None
        clock.advance(CHECKPOINT_EVERY)

    held = {name: kept[-1] for name, kept in bucket.held(f"of/each/{FOLDER}/").items()}
    assert (posted(folder) if kind == "file" else held) == {
        "000000000002": notes[0],
        "000000000004": notes[1],
        "000000000006": notes[2],
        "latest": notes[2],
    }


def test_each_checkpoint_is_a_commit_on_a_branch_that_is_never_forced(
    store: SqlStore, clock: MovableClock, repository: Path
) -> None:
    notes = []

    # A second poster, as another replica or after a restart, goes on where the first stopped.
    for poster in [Poster(store, place_at(f"git+file://{repository}", OUTBOUND)) for _ in range(2)]:
        for _ in range(2):
            notes.append(seal(store, 2).note)
            poster.tick()
            assert anchor(store, poster).trouble is None
            clock.advance(CHECKPOINT_EVERY)

    commits = git(repository, "log", "--format=%H %s", "--reverse", "checkpoints").splitlines()
    assert [git(repository, "show", f"{each.split()[0]}:{FOLDER}/latest") for each in commits] == notes
    assert commits[0].split(" ", 1)[1] == "Checkpoint of desk.example:8443/default over 2 events"


def test_a_fragment_names_the_branch_and_what_else_is_on_it_stays(store: SqlStore, tmp_path: Path) -> None:
    repository, work = tmp_path / "there.git", tmp_path / "work"
    git(tmp_path, "init", "--bare", "--quiet", "--initial-branch=main", str(repository))
    git(tmp_path, "clone", "--quiet", str(repository), str(work))
    (work / "README").write_text("Ours.")
    git(work, "add", "README")
    git(work, "-c", "user.name=Ada", "-c", "user.email=ada@id.example", "commit", "--quiet", "-m", "Begin")
    git(work, "push", "--quiet", "origin", "HEAD:main")
    head = seal(store, 1)

    Poster(store, place_at(f"git+file://{repository}#main", OUTBOUND)).tick()

    files = git(repository, "ls-tree", "-r", "--name-only", "main").splitlines()
    assert files == ["README", f"{FOLDER}/latest"]
    assert git(repository, "show", f"main:{FOLDER}/latest") == head.note


def test_it_is_posted_at_most_once_a_minute_and_again_when_the_idle_log_is_signed(
    store: SqlStore, clock: MovableClock, host: Host
) -> None:
    poster = Poster(store, place_at(host.url, OUTBOUND))
    counts = []

    for wait, events in ((SECOND, 1), (SECOND, 1), (CHECKPOINT_EVERY, 0), (IDLE_CHECKPOINT_EVERY, 0), (SECOND, 0)):
        clock.advance(wait)
        if events:
            seal(store, events)
        Sealer(store, RECEIPTS).tick()
        poster.tick()
        counts.append(len(host.arrived))

    assert counts == [1, 1, 2, 3, 3]


def test_after_an_outage_only_the_latest_is_posted(store: SqlStore, clock: MovableClock, host: Host) -> None:
    poster = Poster(store, place_at(host.url, OUTBOUND))
    host.answer = 503
    seen = []
    for _ in range(5):
        head = seal(store, 1)
        poster.tick()
        seen.append((anchor(store, poster).trouble, anchor(store, poster).is_alarming))
        clock.advance(CHECKPOINT_EVERY)
    host.answer = 200
    failed = len(host.arrived)
    clock.advance(RETRY_LAST)

    poster.tick()

    told = "127.0.0.1 did not take it: it answered with status 503."
    assert seen == [(told, False), (told, False), (told, True), (told, True), (told, True)]
    assert [arrived.body.decode() for arrived in host.arrived[failed:]] == [head.note]
    assert anchor(store, poster) == Anchor(f"http://127.0.0.1:{host.port}/…", size=5, at=clock())


def test_what_fails_is_tried_again_after_ever_longer_pauses(store: SqlStore, clock: MovableClock, host: Host) -> None:
    poster = Poster(store, place_at(host.url, OUTBOUND))
    host.answer = 500
    seal(store, 1)
    tried_at = []

    for second in range(1200):
        before = len(host.arrived)
        poster.tick()
        if len(host.arrived) > before:
            tried_at.append(second)
        clock.advance(SECOND)

    pauses = [after - before for before, after in pairwise(tried_at)]
    first = int(RETRY_FIRST.total_seconds())
    assert pauses == [first * 2**step for step in range(8)] + [int(RETRY_LAST.total_seconds())] * 2


def test_another_replica_leaves_what_is_there(store: SqlStore, tmp_path: Path) -> None:
    url = f"file://{tmp_path}"
    head = seal(store, 2)
    Poster(store, place_at(url, OUTBOUND)).tick()
    written = (tmp_path / FOLDER / "latest").stat().st_mtime_ns
    other = Poster(store, place_at(url, OUTBOUND))

    other.tick()

    assert (tmp_path / FOLDER / "latest").stat().st_mtime_ns == written
    assert anchor(store, other).size == head.frontier.size


def test_what_a_crash_left_half_written_is_written_again(store: SqlStore, clock: MovableClock, tmp_path: Path) -> None:
    poster = Poster(store, place_at(f"file://{tmp_path}", OUTBOUND))
    head = seal(store, 2)
    poster.tick()
    for name in ("000000000002", "latest"):
        (tmp_path / FOLDER / name).write_text(head.note[:40], encoding="utf-8")

    Poster(store, place_at(f"file://{tmp_path}", OUTBOUND)).tick()

    assert posted(tmp_path) == {"000000000002": head.note, "latest": head.note}
    assert clock() == head.at


def test_a_new_key_signs_the_same_checkpoint_without_a_contradiction(
    store: SqlStore, clock: MovableClock, tmp_path: Path
) -> None:
    first = seal(store, 2)
    Poster(store, place_at(f"file://{tmp_path}", OUTBOUND)).tick()
    clock.advance(IDLE_CHECKPOINT_EVERY)
    Sealer(store, Receipts(OKPKey.generate_key("Ed25519"), issuer="https://desk.example:8443")).tick()
    poster = Poster(store, place_at(f"file://{tmp_path}", OUTBOUND))

    poster.tick()

    latest = store.read(lambda tx: tx.log_head(WORKSPACE))
    assert latest is not None
    assert latest.note != first.note
    assert posted(tmp_path) == {"000000000002": first.note, "latest": latest.note}
    assert anchor(store, poster).trouble is None


@pytest.mark.parametrize("kind", ["file", "git+file", "s3"])
@pytest.mark.parametrize("grown", [0, 3, 4, 9])
@pytest.mark.usefixtures("bucket")
def test_a_log_that_was_rolled_back_is_told_at_once_and_kept_from_its_anchor(
    tmp_path: Path,
    clock: MovableClock,
    repository: Path,
    opened: Callable[[str], SqlStore],
    *,
    kind: str,
    grown: int,
) -> None:
    database, copy = tmp_path / "signoff.db", tmp_path / "copy.db"
    places = {"file": tmp_path / "files", "git+file": repository, "s3": f"{BUCKET}/rolled/{grown}"}
    url = f"{kind}://{places[kind]}"
    seal_first = open_store(f"sqlite:///{database}", clock=clock)
    seal(seal_first, 3)
    seal_first.close()
    shutil.copy(database, copy)
    later = open_store(f"sqlite:///{database}", clock=clock)
    kept = seal(later, 4)
    Poster(later, place_at(url, OUTBOUND)).tick()
    later.close()
    store = opened(f"sqlite:///{copy}")
    if grown:
        seal(store, grown)
    poster = Poster(store, place_at(url, OUTBOUND))

    poster.tick()

    told = anchor(store, poster)
    rolled = f"is over 7 events, and the log has {3 + grown} now: the log was rolled back."
    rewritten = "is over 7 events that are not the first of the log any more: the log was rewritten."
    assert told.trouble == f"The checkpoint that is kept there {rolled if grown < 4 else rewritten}"
    assert (told.is_alarming, told.size) == (True, None)
    assert place_at(url, OUTBOUND).kept(kept.origin) == kept.note


def test_a_file_is_never_overwritten_by_another_checkpoint_of_its_size(store: SqlStore, tmp_path: Path) -> None:
    head = seal(store, 2)
    other = signed_over(head, bytes(32))
    path = tmp_path / FOLDER / "000000000002"
    path.parent.mkdir()
    path.write_text(other, encoding="utf-8")
    poster = Poster(store, place_at(f"file://{tmp_path}", OUTBOUND))

    poster.tick()

    assert path.read_text(encoding="utf-8") == other
    told = anchor(store, poster)
    assert told.trouble == "This place holds another checkpoint over 2 events: the log was rewritten."
    assert told.is_alarming


def test_a_rollback_of_the_database_is_found_with_the_file_that_an_anchor_holds(
    tmp_path: Path, clock: MovableClock, opened: Callable[[str], SqlStore]
) -> None:
    database, copy, key = tmp_path / "signoff.db", tmp_path / "copy.db", tmp_path / "signoff.pub"
    key.write_bytes(RECEIPTS.public_pem())
    first = open_store(f"sqlite:///{database}", clock=clock)
    seal(first, 20)
    first.close()
    shutil.copy(database, copy)
    later = open_store(f"sqlite:///{database}", clock=clock)
    seal(later, 20)
    Poster(later, place_at(f"file://{tmp_path / 'anchor'}", OUTBOUND)).tick()
    later.close()
    outside = tmp_path / "anchor" / FOLDER / "latest"
    rolled_back, rewritten = opened(f"sqlite:///{copy}"), opened(f"sqlite:///{tmp_path / 'other.db'}")
    seal(rewritten, 60)
    results = []

    for store in (rolled_back, rewritten, opened(f"sqlite:///{database}")):
        export = tmp_path / "audit.csv"
        export.write_bytes(b"".join(audit_csv(Sealer(store, RECEIPTS).export(WORKSPACE, EventFilter()))))
        said: list[str] = []
        alone = verify.main([str(export), "--key", str(key)], said.append)
        results.append(
            (alone, verify.main([str(export), "--key", str(key), "--checkpoint", str(outside)], said.append))
        )

    # Without a checkpoint from outside, an earlier copy of the database looks right.
    assert results == [(0, 1), (0, 1), (0, 0)]


def test_every_log_is_posted_and_one_that_fails_does_not_keep_the_others_back(store: SqlStore, tmp_path: Path) -> None:
    store.write(keeping(an_event(workspace="paris"), an_event(workspace="zurich")))
    seal(store, 1)
    blocked = tmp_path / FOLDER.replace("default", "paris")
    blocked.write_text("a file stands where the folder should be")
    poster = Poster(store, place_at(f"file://{tmp_path}", OUTBOUND))

    poster.tick()

    assert [poster.anchor(each, store.read(lambda tx: tx.now)).size for each in ("default", "paris", "zurich")] == [
        1,
        None,
        1,
    ]
    assert anchor(store, poster).trouble == "Not a directory."


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://desk:secret@hooks.example/services/T0/token?key=secret", "https://hooks.example/…"),
        ("s3://key:secret@bucket/path?region=eu-west-1", "s3://bucket/path"),
        ("git+file:///srv/log.git", "git+file:///srv/log.git"),
        (
            "git+https://user:secret@git.example/audit/log.git?key=secret#main",
            "git+https://git.example/audit/log.git#main",
        ),
    ],
)
def test_what_is_shown_of_a_place_holds_no_secret(url: str, name: str) -> None:
    place = place_at(url, Outbound())

    assert place.name == name
    assert "secret" not in place.name


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("", "A place for checkpoints is a URL"),
        ("/srv/checkpoints", "A place for checkpoints is a URL"),
        ("http://hooks.example/", "only https is, except to this machine"),
        ("file://checkpoints/here", "name a folder from the root"),
        ("git+http://user:secret@git.example/x", "git+https, git+ssh and git+file are"),
    ],
)
def test_what_is_no_place_is_refused_when_the_house_is_opened(url: str, why: str) -> None:
    with pytest.raises(ReviewError, match=why.replace("+", r"\+").replace(".", r"\.")) as refused:
        place_at(url, Outbound())

    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("scheme", ["gs", "gcs", "sftp", "ssh", "ftp", "az", "abfs", "hdfs", "memory", "zip", "github"])
def test_a_kind_that_the_house_does_not_reach_itself_is_refused_with_what_to_use_instead(scheme: str) -> None:
    with pytest.raises(UnsupportedPlaceError, match=r"https, s3, file, git\+https") as refused:
        place_at(f"{scheme}://user:secret@place/path?key=secret", Outbound())

    assert refused.value.code == "anchor_unsupported"
    assert "secret" not in str(refused.value)


def test_an_object_is_written_once_and_no_other_takes_its_place(
    store: SqlStore, clock: MovableClock, bucket: Store
) -> None:
    url = f"s3://{BUCKET}/once"
    head = seal(store, 2)
    for _ in range(2):
        Poster(store, place_at(url, OUTBOUND)).tick()
    clock.advance(CHECKPOINT_EVERY)
    other = signed_over(seal(store, 2), bytes(32))
    bucket.objects[f"once/{FOLDER}/000000000004"].append(other)
    poster = Poster(store, place_at(url, OUTBOUND))

    poster.tick()

    held = {"000000000002": [head.note], "000000000004": [other], "latest": [head.note]}
    assert bucket.held(f"once/{FOLDER}/") == held
    told = anchor(store, poster)
    assert (told.trouble, told.is_alarming) == (
        "This place holds another checkpoint over 4 events: the log was rewritten.",
        True,
    )


def test_of_writers_at_the_same_moment_one_writes_and_the_others_find_it(bucket: Store) -> None:
    together = threading.Barrier(8)
    found = []

    def write(number: int) -> None:
        files = Bucket(f"s3://{BUCKET}/race", OUTBOUND)
        together.wait(PATIENCE_SECONDS)
        found.append(files.created("one", f"note {number}"))

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_SECONDS)

    assert bucket.held("race/") == {"one": [found[0]]}
    assert found == [found[0]] * 8


def test_what_a_store_refuses_is_told_by_its_own_word(
    store: SqlStore, bucket: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    seal(store, 1)
    told = []

    for name, secret in ((BUCKET, "another-secret"), ("not-there", bucket.secret)):
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secret)
        poster = Poster(store, place_at(f"s3://{name}/refused", OUTBOUND))
        with caplog.at_level(logging.WARNING, "signoff"):
            poster.tick()
        told.append(anchor(store, poster).trouble)

    assert told == [
        f"s3://{BUCKET}/refused answered with status 403 (SignatureDoesNotMatch).",
        "s3://not-there/refused answered with status 404 (NoSuchBucket).",
    ]
    assert "another-secret" not in caplog.text
    assert bucket.held("refused/") == {}


@pytest.mark.parametrize("way", ["address", "environment", "file"])
def test_the_key_of_a_store_stands_in_the_address_or_the_environment_or_a_file_that_may_be_renewed(
    bucket: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    file = tmp_path / "credentials"
    file.write_text("[anchors]\naws_access_key_id = old\naws_secret_access_key = old\n")
    if way != "environment":
        monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    if way == "file":
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
        monkeypatch.setenv("AWS_PROFILE", "anchors")
    login = f"{quote(bucket.key, safe='')}:{quote(bucket.secret, safe='')}@" if way == "address" else ""
    files = Bucket(f"s3://{login}{BUCKET}/keys/{way}", OUTBOUND)
    file.write_text(f"[anchors]\naws_access_key_id = {bucket.key}\naws_secret_access_key = {bucket.secret}\n")

    files.write("one", "a note")

    assert files.read("one") == "a note"


def test_the_token_of_a_short_lived_key_is_sent_and_signed(
    bucket: Store, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SESSION_TOKEN", "of-an-hour")
    files = Bucket(f"s3://{BUCKET}/short?endpoint=http://127.0.0.1:{host.port}", OUTBOUND)

    files.read("one")

    (arrived,) = host.arrived
    assert (arrived.path, arrived.headers["x-amz-security-token"]) == (f"/{BUCKET}/short/one", "of-an-hour")
    assert f"Credential={bucket.key}/" in arrived.headers["Authorization"]
    assert "x-amz-security-token" in arrived.headers["Authorization"]


@pytest.mark.parametrize(
    ("asked", "address"),
    [
        ("region=eu-west-1", "https://audit.s3.eu-west-1.amazonaws.com/log"),
        ("region=cn-north-1", "https://audit.s3.cn-north-1.amazonaws.com.cn/log"),
        ("region=eu-west-1&style=path", "https://s3.eu-west-1.amazonaws.com/audit/log"),
        ("endpoint=https://objects.example:9000", "https://objects.example:9000/audit/log"),
        ("endpoint=https://objects.example:9000/&style=virtual", "https://audit.objects.example:9000/log"),
    ],
)
def test_a_bucket_is_asked_at_its_own_name_or_below_the_stores(
    monkeypatch: pytest.MonkeyPatch, asked: str, address: str
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    private = socket.getaddrinfo("10.0.0.7", 443, type=socket.SOCK_STREAM)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: private)
    host = urlsplit(address).hostname or ""
    files = Bucket(f"s3://audit/log?{asked}", Outbound(hosts=[host]))

    with pytest.raises(AddressRefusedError, match=rf"Nothing is sent to {re.escape(host)}: its address is not public"):
        files.write("one", "a note")
    with pytest.raises(AddressRefusedError, match="none of the hosts"):
        Bucket(f"s3://audit/log?{asked}", Outbound(hosts=["other.example"]))

    assert files.address == address


@pytest.mark.parametrize(
    ("url", "unset", "why"),
    [
        ("s3://audit/log?regoin=x", (), "names region, endpoint and style (path or virtual) alone"),
        ("s3://audit/log?style=other", (), "names region, endpoint and style (path or virtual) alone"),
        ("s3://audit/log#latest", (), "names region, endpoint and style (path or virtual) alone"),
        ("s3://Audit_/log", (), "a bucket and a prefix have letters"),
        ("s3://audit/a/../b", (), "a bucket and a prefix have letters"),
        ("s3://audit/a//b", (), "a bucket and a prefix have letters"),
        ("s3://audit/a%20b", (), "a bucket and a prefix have letters"),
        ("s3://audit/log?endpoint=http://objects.example", (), "only https is, except to this machine"),
        ("s3://audit/log", ("AWS_ENDPOINT_URL_S3", "AWS_REGION"), "name its region, ?region=… or AWS_REGION"),
        ("s3://audit/log", ("AWS_SECRET_ACCESS_KEY",), "it needs AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"),
        ("s3://audit/log", ("AWS_ACCESS_KEY_ID",), "it needs AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"),
    ],
)
def test_a_bucket_that_cannot_be_meant_is_refused_when_the_house_is_opened(
    bucket: Store, monkeypatch: pytest.MonkeyPatch, url: str, unset: tuple[str, ...], why: str
) -> None:
    for name in unset:
        monkeypatch.delenv(name)

    with pytest.raises(ReviewError, match=re.escape(why)) as refused:
        place_at(url, OUTBOUND)

    assert bucket.secret not in str(refused.value)


def test_an_endpoint_by_the_name_that_earlier_releases_read_is_not_passed_over(
    bucket: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ENDPOINT_URL_S3")
    monkeypatch.setenv("FSSPEC_S3_ENDPOINT_URL", bucket.endpoint)

    with pytest.raises(ReviewError, match="AWS_ENDPOINT_URL_S3, not as FSSPEC_S3_ENDPOINT_URL"):
        place_at(f"s3://{BUCKET}/log?region={REGION}", OUTBOUND)


@pytest.mark.parametrize("scheme", ["git+https", "git+ssh"])
def test_git_reaches_only_the_address_that_was_looked_at(store: SqlStore, scheme: str) -> None:
    seal(store, 1)
    poster = Poster(store, place_at(f"{scheme}://user:secret@10.0.0.7/log.git", Outbound()))

    poster.tick()

    assert anchor(store, poster).trouble == "Nothing is sent to 10.0.0.7: its address is not public."


def test_a_repository_that_is_not_there_is_told_without_its_secrets(
    store: SqlStore, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    seal(store, 1)
    with a_host() as host:
        url = f"git+https://user:secret@localhost:{host.port}/log.git"
        poster = Poster(store, place_at(url, OUTBOUND))
        with caplog.at_level(logging.WARNING, "signoff"):
            poster.tick()
    missing = Poster(store, place_at(f"git+file://{tmp_path / 'none.git'}", OUTBOUND))

    missing.tick()

    told = anchor(store, poster).trouble or ""
    assert told.startswith("git ls-remote failed: fatal: unable to access")
    assert "secret" not in told + caplog.text
    assert "does not appear to be a git repository" in (anchor(store, missing).trouble or "")


def test_git_is_handed_the_credentials_of_an_address_and_goes_only_where_it_was_looked_at(
    store: SqlStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = a_certificate(tmp_path, "localhost")
    monkeypatch.setenv("GIT_SSL_CAINFO", str(certificate))
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate)
    seal(store, 1)
    # Git by itself would look for the host at 127.0.0.1.
    found = socket.getaddrinfo("127.0.0.2", 443, type=socket.SOCK_STREAM)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)

    with a_host(tls, address="127.0.0.2") as host:
        url = f"git+https://desk:secret@localhost:{host.port}/log.git"
        Poster(store, place_at(url, OUTBOUND)).tick()

    assert {arrived.headers.get("Authorization") for arrived in host.arrived} == {"Basic ZGVzazpzZWNyZXQ="}


@pytest.mark.parametrize(("port", "alias"), [("", "git.example"), (":2222", "[git.example]:2222")])
def test_ssh_is_told_the_address_that_was_looked_at_and_whose_key_it_must_have(
    store: SqlStore, tmp_path: Path, repository: Path, monkeypatch: pytest.MonkeyPatch, port: str, alias: str
) -> None:
    # What ssh does once it is connected, after noting how it was asked to connect.
    ssh, asked = tmp_path / "ssh", tmp_path / "asked"
    ssh.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" >> {asked}\nfor last; do :; done\neval "exec $last"\n')
    ssh.chmod(0o700)
    monkeypatch.setenv("GIT_SSH_COMMAND", str(ssh))
    found = socket.getaddrinfo("93.184.216.34", 22, type=socket.SOCK_STREAM)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    head = seal(store, 1)

    Poster(store, place_at(f"git+ssh://git@git.example{port}{repository}", Outbound(hosts=["git.example"]))).tick()

    assert git(repository, "show", f"checkpoints:{FOLDER}/latest") == head.note
    told = asked.read_text().splitlines()
    assert {"HostName=93.184.216.34", f"HostKeyAlias={alias}", "ProxyJump=none", "ProxyCommand=none"} <= set(told)


class _Hanging(FolderPlace):
    """A folder on a file system that does not answer, as a lost network share."""

    def __init__(self, url: str) -> None:
        super().__init__(url, Folder(url))
        self.asked = threading.Event()
        self.answers = threading.Event()

    def kept(self, origin: str) -> str | None:
        self.asked.set()
        self.answers.wait(PATIENCE_SECONDS)
        return super().kept(origin)


def test_a_place_that_hangs_holds_nothing_up_and_raises_the_alarm(
    store: SqlStore, clock: MovableClock, tmp_path: Path, host: Host
) -> None:
    hanging = _Hanging(f"file://{tmp_path}")
    places: list[Place] = [hanging, place_at(host.url, OUTBOUND)]
    anchors = Anchors(store, places)
    seal(store, 1)

    with anchors.running():
        assert hanging.asked.wait(PATIENCE_SECONDS)
        assert eventually(lambda: anchors.of(WORKSPACE)[1].size == 1)
        before = anchors.of(WORKSPACE)
        clock.advance(2 * CHECKPOINT_EVERY)
        after = anchors.of(WORKSPACE)

    hanging.answers.set()
    assert [(each.size, each.is_alarming) for each in before] == [(None, False), (1, False)]
    assert [(each.size, each.is_alarming) for each in after] == [(None, True), (1, False)]


def test_nothing_of_a_repository_is_left_on_this_machine(
    store: SqlStore, tmp_path: Path, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    anchors = Anchors(store, [place_at(f"git+file://{repository}", OUTBOUND)])
    seal(store, 1)
    anchors.posters[0].tick()
    before = len(list(folder.iterdir()))

    with anchors.running():
        pass

    assert (before, list(folder.iterdir())) == (1, [])


def test_a_place_that_cannot_be_written_is_told_in_words(store: SqlStore, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    seal(store, 1)
    poster = Poster(store, place_at(f"file://{blocked}", OUTBOUND))

    poster.tick()

    assert anchor(store, poster).trouble == "Not a directory."
