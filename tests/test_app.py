"""The commands, as a person at a terminal runs them."""

import asyncio
import csv
import io
import json
import os
import pty
import subprocess
import sys
import termios
import zipfile
from base64 import urlsafe_b64decode
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from joserfc.jwk import OKPKey
from pydantic import ValidationError

from agents.credentials import PrivateKeyJwt
from agents.protocol import Action, Approve, Decision, Status
from app import COMMAND_LINE, WORKSPACE, House, _lifespan, main, make_app, open_house
from review import verify
from review.audit import AuditEvent, EventFilter, EventKind, LogHead
from review.desk import Seen
from review.exports import DECISION_COLUMNS, LABEL_COLUMNS
from review.intake import Submission
from review.items import ERASED_DIGEST, ItemFilter, ReviewItem
from review.people import Limits, Person, SignInProof
from review.sessions import LOCAL_OPERATOR
from review.settings import Settings
from review.signing import Receipts, load_successor
from review.verify import COLUMNS
from tests.builders import a_request, an_item, keeping
from tests.clock import START
from tests.conftest import TwoRoles
from tests.review.steps import an_edit
from tests.waiting import PATIENCE_SECONDS, eventually

ROOT = Path(__file__).parents[1]

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """An installation in a folder of the test's, as the environment says it."""
    for name in [name for name in os.environ if name.startswith("SIGNOFF_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("SIGNOFF_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("SIGNOFF_UNDO_SECONDS", "0")
    monkeypatch.chdir(tmp_path)
    return Settings()


@pytest.fixture
def run(settings: Settings, tmp_path: Path) -> Run:
    """Run a command of that installation."""

    def command(*words: str, **environment: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-W", "error", str(ROOT / "app.py"), *words],
            cwd=tmp_path,
            env=os.environ | {"SIGNOFF_DATA_DIR": str(settings.data_dir)} | environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )

    return command


def told(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """Return what a command prints, run in this process."""
    main(words)
    return capsys.readouterr().out


def with_events(settings: Settings) -> None:
    """Let something happen in the installation."""
    with open_house(settings) as house:
        house.sessions.create_link()


def with_decisions(settings: Settings) -> None:
    """Put an approval and an edit into the installation."""
    with open_house(settings) as house:
        key = house.keys.recognise(house.keys.create_by(LOCAL_OPERATOR, "support")[1])
        decisions: tuple[Decision, ...] = (Approve(), an_edit(order_id="B-2"))
        for number, decision in enumerate(decisions):
            house.intake.submit(key, Submission(a_request(), f"k{number}", "body"))
            item = house.desk.claim(LOCAL_OPERATOR)
            assert item is not None
            house.desk.decide(item.id, decision, LOCAL_OPERATOR, seen=Seen.of(item))


def recorded(house: House) -> list[AuditEvent]:
    return list(house.store.read(lambda tx: tx.events_after(WORKSPACE, EventFilter(), limit=100, after=None)))


def all_items(settings: Settings) -> tuple[ReviewItem, ...]:
    with open_house(settings) as house:
        return house.store.read(lambda tx: tx.whole_items(WORKSPACE, ItemFilter(), limit=100)).rows


def is_erased(house: House, item: ReviewItem) -> bool:
    found = house.store.read(lambda tx: tx.item(WORKSPACE, item.id))
    return found is not None and found.erased_at is not None


def rows(path: Path) -> list[list[str]]:
    return list(csv.reader(io.StringIO(path.read_text(encoding="utf-8"), newline="")))


def test_a_key_is_printed_as_the_last_word_and_opens_the_door(run: Run, settings: Settings) -> None:
    answer = run("key", "create", "support")

    assert (answer.returncode, answer.stderr) == (0, "")
    with open_house(settings) as house:
        assert house.keys.recognise(answer.stdout.split()[-1]).agent == "support"


def test_a_fresh_link_signs_the_local_operator_in(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SIGNOFF_PUBLIC_URL", "https://desk.example/")

    address, _, secret = told(capsys, "link").strip().rpartition("/")

    assert address == "https://desk.example/sign-in"
    with open_house(settings) as house:
        assert house.sessions.person(house.sessions.sign_in(secret)) == LOCAL_OPERATOR


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.7", "example.com", ""])  # noqa: S104 -- refused is what they are to be
def test_serving_beyond_this_machine_is_refused(settings: Settings, monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    monkeypatch.setenv("SIGNOFF_HOST", host)

    with pytest.raises(SystemExit, match="can be reached from other machines"):
        main(["serve"])

    assert not settings.data_dir.exists()


PROVIDER = '[{"name": "corp", "issuer": "https://id.example.com", "client_id": "signoff"}]'


def test_with_a_provider_people_must_reach_the_console_over_https(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIGNOFF_HOST", "0.0.0.0")  # noqa: S104 -- what is to be refused
    monkeypatch.setenv("SIGNOFF_OIDC_PROVIDERS", PROVIDER)

    with pytest.raises(SystemExit, match="must reach the console over https"):
        main(["serve"])
    with pytest.raises(SystemExit, match="links open nothing"):
        main(["link"])

    assert not settings.data_dir.exists()


@pytest.mark.parametrize(
    "fields",
    [
        {"issuer": "http://id.example.com"},
        {"issuer": "id.example.com"},
        {"name": "A B"},
        {"scopes": "profile"},
        {"roles": {"desk": ["king"]}},
        {"secret": "x"},
    ],
)
def test_a_provider_that_cannot_be_right_is_refused_at_the_start(fields: dict[str, object]) -> None:
    given = {"name": "corp", "issuer": "https://id.example.com", "client_id": "signoff"}

    with pytest.raises(ValidationError):
        Settings.model_validate({"oidc_providers": [given | fields]})
    with pytest.raises(ValidationError, match="same name"):
        Settings.model_validate({"oidc_providers": [given, given]})


def test_roles_are_given_at_the_command_line(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    with open_house(settings) as house:
        house.sessions.admit(Person("https://id.example.com", "ada", "Ada", frozenset()), SignInProof(None))

    main(["role", "give", "https://id.example.com", "ada", "admin"])
    main(["people"])

    said = capsys.readouterr().out.splitlines()
    assert said[0] == "'Ada' is now: admin."
    assert said[1].startswith("https://id.example.com  ada  'Ada'  admin  seen ")
    with pytest.raises(SystemExit, match="the last admin"):
        main(["role", "take", "https://id.example.com", "ada", "admin"])


@pytest.mark.parametrize("words", [(), ("key",), ("fly",), ("key", "create"), ("export", "people", "--out", "x")])
def test_wrong_words_end_with_2(settings: Settings, words: tuple[str, ...]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words)

    assert ended.value.code == 2
    assert not settings.data_dir.exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["key", "revoke", "0123456789ab"], "There is no key with the prefix 0123456789ab."),
        (["key", "create", "two words"], "'two words' is not a name: use up to 128 letters, digits and _ . : / -."),
    ],
)
def test_a_refusal_is_said_in_one_line(settings: Settings, words: list[str], said: str) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words)

    # The interpreter prints a word to end with on standard error, and ends with 1.
    assert ended.value.code == said
    with open_house(settings) as house:
        assert recorded(house) == []


@pytest.mark.postgres
def test_the_owner_migrates_and_the_server_is_refused_its_role(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], two_roles: TwoRoles
) -> None:
    monkeypatch.setenv("SIGNOFF_DATABASE_URL", two_roles.server)
    monkeypatch.setenv("SIGNOFF_DATABASE_GUARDED", "1")
    with pytest.raises(SystemExit, match=r"Run `python app\.py migrate`"):
        main(["link"])

    monkeypatch.setenv("SIGNOFF_DATABASE_OWNER_URL", two_roles.owner)
    migrated = told(capsys, "migrate")
    monkeypatch.delenv("SIGNOFF_DATABASE_OWNER_URL")
    linked = told(capsys, "link")
    monkeypatch.setenv("SIGNOFF_DATABASE_URL", two_roles.owner)
    with pytest.raises(SystemExit, match=r"could change the audit log: it owns the database"):
        main(["link"])

    assert migrated == "The database has the schema of this release.\n"
    assert linked.startswith(f"{settings.issuer}/sign-in/")


def test_keys_are_listed_without_their_secret_and_revoked(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    text = told(capsys, "key", "create", "support").split()[-1]
    prefix, secret = text[4:16], text[17:]
    before = told(capsys, "key", "list")

    answer = told(capsys, "key", "revoke", prefix)

    after = told(capsys, "key", "list")
    assert answer == f"The key {prefix} of support is revoked.\n"
    assert [before.split()[:2], after.split()[:3]] == [[prefix, "support"], [prefix, "support", "revoked"]]
    assert secret not in before + after
    with open_house(settings) as house:
        actors = {event.actor.id for event in recorded(house)}
    assert actors == {"signoff:local#command-line"}


def test_a_public_key_is_registered_from_a_file_and_lets_its_agent_in(
    settings: Settings, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    pair, file = OKPKey.generate_key("Ed25519"), tmp_path / "agent.pub"
    file.write_bytes(pair.as_pem(private=False))

    answer = told(capsys, "key", "register", "support", "--public-key", str(file), "--per-minute", "30")

    client_id = answer.split()[-1]
    assert told(capsys, "key", "list").split()[-2:] == ["public", "key"]
    with open_house(settings) as house:
        assertion = PrivateKeyJwt(client_id, pair.as_pem(private=True)).assertion(settings.issuer)
        token = house.keys.exchange(assertion, admit=house.doors().pace.require)
        known = house.keys.recognise(token.access_token)
    assert (known.agent, known.limits) == ("support", Limits(per_minute=30))


def test_the_limits_of_a_key_are_set_and_taken_back(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    prefix = told(capsys, "key", "create", "support", "--per-minute", "30").split()[-1][4:16]

    limited = told(capsys, "key", "limit", prefix, "--per-minute", "60", "--most-waiting", "20")
    with open_house(settings) as house:
        (kept,) = house.keys.keys("default")
    freed = told(capsys, "key", "limit", prefix)

    assert limited == f"The key {prefix} of support: 60 submissions a minute, 20 items waiting.\n"
    assert kept.limits == Limits(60, 20)
    assert freed == (
        f"The key {prefix} of support: {settings.submits_per_minute} submissions a minute, "
        f"{settings.most_waiting} items waiting.\n"
    )


@pytest.mark.parametrize("words", [["nothingsuch1", "--per-minute", "60"], ["nothingsuch1", "--per-minute", "0"]])
def test_a_limit_of_no_key_or_of_nothing_is_refused(settings: Settings, words: list[str]) -> None:
    with pytest.raises(SystemExit) as refused:
        main(["key", "limit", *words])

    assert refused.value.code not in (0, None)
    with open_house(settings) as house:
        assert house.keys.keys("default") == []


def test_the_public_key_is_written(settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "key.pem"

    answer = told(capsys, "key", "public", "--out", str(out))

    assert isinstance(load_pem_public_key(out.read_bytes()), Ed25519PublicKey)
    with open_house(settings) as house:
        assert answer.split()[-1] == house.receipts.jwks()["keys"][0]["kid"]


EXPORTS = {"audit": (COLUMNS, 9), "decisions": (DECISION_COLUMNS, 3), "labels": (LABEL_COLUMNS, 3)}


@pytest.mark.parametrize("what", list(EXPORTS))
def test_an_export_holds_every_row(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str], what: str
) -> None:
    with_decisions(settings)
    columns, count = EXPORTS[what]
    out = tmp_path / "out.csv"

    answer = told(capsys, "export", what, "--out", str(out))

    assert answer == f"Wrote {out}, {out.stat().st_size} bytes.\n"
    header, *lines = rows(out)
    assert (header, len(lines)) == (list(columns), count)


@pytest.mark.parametrize("what", ["decisions", "labels"])
def test_an_export_of_another_workspace_holds_nothing_of_this_one(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str], what: str
) -> None:
    with_decisions(settings)
    out = tmp_path / "out.csv"

    told(capsys, "export", what, "--out", str(out), "--workspace", "elsewhere")

    assert [row[0] for row in rows(out)] == ["id", "manifest"]


def test_an_erasure_in_another_workspace_reaches_nothing_of_this_one(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    with_decisions(settings)
    subject = a_request().impact.subject or ""

    answer = told(capsys, "erase", "--subject", subject, "--yes", "--workspace", "elsewhere")

    assert answer == "Nothing concerns this subject.\n"
    assert [item.erased_at for item in all_items(settings)] == [None, None]


def test_the_audit_log_of_another_workspace_is_another_log(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with_decisions(settings)
    out = tmp_path / "audit.csv"

    told(capsys, "export", "audit", "--out", str(out), "--workspace", "elsewhere")

    header, *lines, manifest = rows(out)
    kinds = [dict(zip(header, line, strict=True))["kind"] for line in lines]
    assert kinds == ["export_made"]
    assert manifest[0] == "manifest"


def test_an_item_is_not_erased_from_another_workspace(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    with_decisions(settings)
    item = all_items(settings)[0]

    with pytest.raises(SystemExit, match="There is no item"):
        main(["erase", "--item", str(item.id), "--yes", "--workspace", "elsewhere"])

    assert [each.erased_at for each in all_items(settings)] == [None, None]
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("what", ["decisions", "labels"])
def test_an_export_is_masked_unless_the_operator_asks_for_the_values(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str], what: str
) -> None:
    with open_house(settings) as house:
        key = house.keys.recognise(house.keys.create_by(LOCAL_OPERATOR, "support")[1])
        request = a_request(action=Action(name="send_gift", args={"to": "ada@hidden.example"}))
        house.intake.submit(key, Submission(request, "k", "body"))
        item = house.desk.claim(LOCAL_OPERATOR)
        assert item is not None
        house.desk.decide(item.id, Approve(), LOCAL_OPERATOR, seen=Seen.of(item))
    out, whole = tmp_path / "out.csv", tmp_path / "whole.csv"

    told(capsys, "export", what, "--out", str(out))
    told(capsys, "export", what, "--out", str(whole), "--unmasked")

    assert ["ada@hidden.example" in path.read_text(encoding="utf-8") for path in (out, whole)] == [False, True]


def test_the_leaf_of_an_exported_event_says_all_that_its_row_shows(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with_decisions(settings)
    out = tmp_path / "audit.csv"

    told(capsys, "export", "audit", "--out", str(out))

    header, *exported, manifest = rows(out)
    with open_house(settings) as house:
        kept = [event.leaf for event in recorded(house)]
    shown = [dict(zip(header, row, strict=True)) for row in exported]
    assert [urlsafe_b64decode(row["leaf"] + "==") for row in shown] == kept
    assert [json.loads(leaf)["id"] for leaf in kept] == [row["id"] for row in shown]
    assert manifest[0] == "manifest"
    kinds = [row["kind"] for row in shown]
    assert kinds == [
        EventKind.KEY_CREATED,
        *([EventKind.ACTION_SUBMITTED, EventKind.ITEM_CLAIMED, EventKind.ITEM_DECIDED] * 2),
        EventKind.EXPORT_MADE,
    ]


def test_labels_are_exported_as_json_lines_and_for_training(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with_decisions(settings)
    lines, archive = tmp_path / "labels.jsonl", tmp_path / "labels.zip"

    told(capsys, "export", "labels", "--format", "jsonl", "--out", str(lines))
    told(capsys, "export", "labels", "--format", "hf", "--out", str(archive))

    labels = [json.loads(line) for line in lines.read_text(encoding="utf-8").splitlines()]
    assert [label["verdict"] for label in labels] == ["correct", "wrong_args"]
    with zipfile.ZipFile(archive) as opened:
        names = opened.namelist()
    assert sorted(names) == ["README.md", "preference/train-00000.jsonl", "unpaired/train-00000.jsonl"]


def test_an_export_is_of_the_time_asked_for(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with_decisions(settings)
    out = tmp_path / "decisions.csv"
    counts = []

    for since, until in (("2020-01-01", "2021-01-01"), ("2020-01-01T00:00:00Z", "2999-01-01"), ("2999-01-01", None)):
        asked = ["--since", since, *(["--until", until] if until else [])]
        told(capsys, "export", "decisions", "--out", str(out), *asked)
        counts.append(len(rows(out)) - 2)

    assert counts == [0, 2, 0]


@pytest.mark.parametrize(
    ("narrowed", "count"),
    [
        (["--agent", "support"], 2),
        (["--agent", "buyer"], 0),
        (["--tool", "refund_order", "--decision", "edit"], 1),
        (["--reviewer", LOCAL_OPERATOR.name], 2),
    ],
)
@pytest.mark.parametrize("what", ["decisions", "labels"])
def test_an_export_is_of_what_was_asked_for(
    settings: Settings,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    *,
    what: str,
    narrowed: list[str],
    count: int,
) -> None:
    with_decisions(settings)
    out = tmp_path / "out.csv"

    told(capsys, "export", what, "--out", str(out), *narrowed)

    _, *found, manifest = rows(out)
    assert len(found) == count
    assert manifest[0] == "manifest"


@pytest.mark.parametrize("what", ["decisions", "labels"])
def test_the_check_that_the_documentation_shows_tells_an_altered_file(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str], what: str
) -> None:
    with_decisions(settings)
    out, key, check = tmp_path / "out.csv", tmp_path / "signoff.pub", tmp_path / "check.py"
    told(capsys, "export", what, "--agent", "support", "--out", str(out))
    told(capsys, "key", "public", "--out", str(key))
    told(capsys, "key", "rotate")
    check.write_text((ROOT / "docs/exports.md").read_text(encoding="utf-8").split("```python\n")[1].split("```")[0])

    def checked() -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, str(check), str(out), str(key)]
        return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False)

    genuine = checked()
    content = out.read_bytes()
    out.write_bytes(content.replace(b"approve", b"decline", 1))
    altered = checked()
    out.write_bytes(content)
    told(capsys, "key", "public", "--out", str(key))
    another_key = checked()

    assert genuine.stdout == "True 2 {'items': {'agent': 'support'}}\n"
    assert altered.stdout.startswith("False 2 ")
    assert another_key.stderr.strip().endswith("InvalidSignature")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["audit", "--agent", "support"], "--agent is for decisions and labels"),
        (["audit", "--reviewer", "Ada"], "--reviewer is for decisions and labels"),
        (["labels", "--reviewer", "Ada"], "Nobody known as Ada has decided anything here."),
    ],
)
def test_a_filter_that_does_not_fit_is_refused(settings: Settings, tmp_path: Path, words: list[str], said: str) -> None:
    out = tmp_path / "out.csv"

    with pytest.raises(SystemExit) as ended:
        main(["export", *words, "--out", str(out)])

    assert str(ended.value.code).startswith(said)
    assert not out.exists()
    assert settings.data_dir.exists()


@pytest.mark.parametrize(("what", "share"), [("audit", "8/8"), ("decisions", "2/2"), ("labels", "2/2")])
def test_a_long_export_shows_on_a_terminal_how_far_it_is(
    settings: Settings, tmp_path: Path, what: str, share: str
) -> None:
    with_decisions(settings)
    command = [sys.executable, "-W", "error", str(ROOT / "app.py"), "export", what, "--out", str(tmp_path / "out.csv")]
    terminal, end = pty.openpty()
    termios.tcsetwinsize(end, (24, 100))

    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=end) as exporting:
        os.close(end)
        shown = b"".join(_read_to_the_end(terminal)).decode()

    assert exporting.returncode == 0, shown
    assert "100%|" in shown
    assert share in shown


def _read_to_the_end(terminal: int) -> Iterator[bytes]:
    with suppress(OSError):  # What Linux answers once nobody writes to the terminal any more.
        while piece := os.read(terminal, 4_096):
            yield piece


def test_an_erasure_says_what_would_go_and_does_it_only_when_told_so(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    with_decisions(settings)
    subject = a_request().impact.subject or ""

    foretold = told(capsys, "erase", "--subject", subject)
    kept = [item.erased_at for item in all_items(settings)]
    answer = told(capsys, "erase", "--subject", subject, "--yes")

    assert [str(item.id) in foretold for item in all_items(settings)] == [True, True]
    assert kept == [None, None]
    assert answer.splitlines()[-1] == (
        "Erased. Items: 2, of which withdrawn: 0; decisions: 2; notes: 0. The audit log verifies as before."
    )
    assert [item.digest for item in all_items(settings)] == [ERASED_DIGEST] * 2


def test_an_erasure_by_item_erases_that_item_alone(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    with_decisions(settings)
    one, other = all_items(settings)

    told(capsys, "erase", "--item", str(one.id), "--yes")

    found = {item.id: item.erased_at is not None for item in all_items(settings)}
    assert found == {one.id: True, other.id: False}


@pytest.mark.parametrize(
    "command",
    [["export", "audit", "--out"], ["export", "labels", "--format", "hf", "--out"], ["key", "public", "--out"]],
)
def test_a_file_that_cannot_be_written_is_refused_in_a_sentence_and_nothing_is_recorded(
    settings: Settings, tmp_path: Path, command: list[str]
) -> None:
    with_events(settings)
    nowhere = tmp_path / "nowhere"

    with pytest.raises(SystemExit, match=f"There is no folder {nowhere} to write x.csv into."):
        main([*command, str(nowhere / "x.csv")])
    with pytest.raises(SystemExit, match=f"{tmp_path} is a folder; name a file in it."):
        main([*command, str(tmp_path)])

    with open_house(settings) as house:
        assert [event.kind for event in recorded(house)] == [EventKind.LINK_CREATED]


def test_a_full_disk_is_told_in_a_sentence(settings: Settings) -> None:
    with_events(settings)

    with pytest.raises(SystemExit, match=r"/dev/full could not be written: No space left on device"):
        main(["export", "audit", "--out", "/dev/full"])


def test_a_public_key_that_cannot_be_read_is_refused_in_a_sentence(settings: Settings, tmp_path: Path) -> None:
    binary = tmp_path / "key.der"
    binary.write_bytes(b"\x30\xff")
    register = ["key", "register", "support", "--public-key"]

    with pytest.raises(SystemExit, match=r"nowhere\.pem could not be read: No such file or directory"):
        main([*register, str(tmp_path / "nowhere.pem")])
    with pytest.raises(SystemExit, match=r"key\.der could not be read: it is no text in UTF-8"):
        main([*register, str(binary)])

    with open_house(settings) as house:
        assert house.keys.keys(WORKSPACE) == []


def test_what_a_command_does_is_logged_as_the_command_line_s(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with_decisions(settings)
    with open_house(settings) as house:
        key = house.keys.recognise(house.keys.create_by(LOCAL_OPERATOR, "sales")[1])
        house.intake.submit(key, Submission(a_request(), "k", "body"))
        before = len(recorded(house))

    told(capsys, "link")
    for what in ("audit", "decisions", "labels"):
        told(capsys, "export", what, "--out", str(tmp_path / "out.csv"))
    told(capsys, "erase", "--subject", a_request().impact.subject or "", "--yes")

    with open_house(settings) as house:
        events = recorded(house)[before:]
        undecided = house.store.read(lambda tx: tx.whole_items(WORKSPACE, ItemFilter(agent="sales"), limit=1)).rows[0]
    assert Counter(event.kind for event in events) == {
        EventKind.LINK_CREATED: 1,
        EventKind.EXPORT_MADE: 3,
        EventKind.ITEM_CANCELLED: 1,
        EventKind.CONTENT_ERASED: 3,
    }
    assert {event.actor for event in events} == {COMMAND_LINE}
    assert undecided.settled_by == COMMAND_LINE.name


def test_a_subject_that_nothing_concerns_is_told(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    with_decisions(settings)

    answer = told(capsys, "erase", "--subject", "nobody", "--yes")

    assert answer == "Nothing concerns this subject.\n"


@pytest.mark.parametrize("words", [[], ["--item", "x"], ["--item", str(UUID(int=7)), "--subject", "Ada"]])
def test_an_erasure_that_names_no_one_thing_is_refused(settings: Settings, words: list[str]) -> None:
    with pytest.raises(SystemExit) as refused:
        main(["erase", *words])

    assert refused.value.code == 2
    assert not settings.data_dir.exists()


@pytest.mark.parametrize(
    ("environment", "days"),
    [
        ({}, 180),
        ({"DAYS": "365"}, 365),
        ({"DAYS": "30", "SHORTER": "1"}, 30),
        ({"DAYS": "30"}, None),
        ({"DAYS": "0"}, None),
    ],
)
def test_content_is_kept_for_180_days_unless_less_is_meant(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], days: int | None
) -> None:
    assert settings.retention_days == 180
    for name, value in environment.items():
        monkeypatch.setenv(f"SIGNOFF_RETENTION_{name}", value)

    try:
        found: int | None = Settings().retention_days
    except ValidationError:
        found = None

    assert found == days


def test_the_server_erases_content_that_is_to_be_kept_no_longer(settings: Settings) -> None:
    long_ago = START - timedelta(days=3650)
    old = an_item(status=Status.SETTLED, submitted_at=long_ago, settled_at=long_ago)

    with open_house(settings) as house:
        house.store.write(keeping(old))
        asyncio.run(_served_until(house, lambda: is_erased(house, old)))

        assert is_erased(house, old)


@pytest.mark.parametrize(("what", "form"), [("audit", "jsonl"), ("decisions", "hf")])
def test_a_format_that_is_none_leaves_the_file_as_it_was(
    settings: Settings, tmp_path: Path, what: str, form: str
) -> None:
    out = tmp_path / "kept.csv"
    out.write_text("kept")

    with pytest.raises(SystemExit, match=f"{what} cannot be exported as {form}"):
        main(["export", what, "--format", form, "--out", str(out)])

    assert out.read_text() == "kept"
    assert settings.data_dir.exists()


def test_a_pinned_key_verifies_the_log_after_the_key_was_replaced_twice(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keys, out = [], tmp_path / "audit.csv"
    for number in range(3):
        with_events(settings)
        keys.append(tmp_path / f"{number}.pub")
        told(capsys, "key", "public", "--out", str(keys[-1]))
        if number < 2:
            told(capsys, "key", "rotate")
    stranger = tmp_path / "stranger.pub"
    stranger.write_bytes(Receipts(OKPKey.generate_key("Ed25519"), issuer="").public_pem())

    told(capsys, "export", "audit", "--out", str(out))

    assert [verify.main([str(out), "--key", str(key)]) for key in (*keys, stranger)] == [0, 0, 0, 1]
    assert len({key.read_bytes() for key in keys}) == 3
    with open_house(settings) as house:
        assert [event.kind for event in recorded(house)].count(EventKind.KEY_ROTATED) == 2


def test_a_rotation_that_was_broken_off_is_finished_by_the_next(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    with_events(settings)
    with open_house(settings) as house:
        successor = Receipts(load_successor(settings.key_file), issuer=settings.issuer)
        house.sealer.announce(successor.verifying_key, COMMAND_LINE)

    answer = told(capsys, "key", "rotate")

    assert answer.split()[-1] == successor.jwks()["keys"][0]["kid"]
    with open_house(settings) as house:
        assert [event.kind for event in recorded(house)].count(EventKind.KEY_ROTATED) == 1
        assert house.receipts.jwks()["keys"][0]["kid"] == answer.split()[-1]


def test_the_server_seals_what_happens(settings: Settings) -> None:
    with_events(settings)

    with open_house(settings) as house:
        asyncio.run(_served_until(house, lambda: log_of(house) is not None))
        log = log_of(house)

    assert log is not None
    assert log.frontier.size >= 1


def test_the_server_posts_checkpoints_to_the_anchors_of_the_settings(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = [tmp_path / "one", tmp_path / "two"]
    monkeypatch.setenv("SIGNOFF_ANCHORS", f" file://{places[0]}  file://{places[1]} ")
    with_events(settings)

    with open_house(Settings()) as house:
        asyncio.run(_served_until(house, lambda: all(anchor.size for anchor in house.anchors.of(WORKSPACE))))
        log = log_of(house)

    assert log is not None
    kept = [(place / "127.0.0.1_3A8501_2Fdefault" / "latest").read_text(encoding="utf-8") for place in places]
    assert kept == [log.note] * 2


def test_an_anchor_that_is_none_ends_the_start_without_its_secrets(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIGNOFF_ANCHORS", "http://desk:secret@hooks.example/secret")

    with pytest.raises(SystemExit) as ended:
        main(["key", "list"])

    assert ended.value.code == "Nothing is sent to hooks.example: only https is, except to this machine."
    assert "secret" not in repr(Settings())
    assert settings.anchors == ()


def log_of(house: House) -> LogHead | None:
    return house.store.read(lambda tx: tx.log_head(WORKSPACE))


async def _served_until(house: House, is_done: Callable[[], bool]) -> None:
    async with _lifespan(house, make_app(house)):
        await asyncio.to_thread(eventually, is_done)
