"""Checkpoints: the published examples of signed notes, and what is refused."""

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from review.checkpoints import (
    MAX_SIGNATURES,
    Checkpoint,
    NoteError,
    VerifierKey,
    manifest_text,
    opened,
    origin_of,
    parse_note,
    signed,
    successor_text,
    trusted,
    verifier_key,
)
from review.merkle import EMPTY_ROOT, leaf_hash

# From golang.org/x/mod/sumdb/note (note.go and example_test.go).
PETER = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
PETER_SEED = base64.b64decode("AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz")[1:]
TEXT = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
SIGNATURE = "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM="
NOTE = f"{TEXT}\n— PeterNeumann {SIGNATURE}\n"

# From c2sp.org/tlog-checkpoint.
SOFA = """example.com/behind-the-sofa
20852163
CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

— example.com/behind-the-sofa \
Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=
"""

KEY = Ed25519PrivateKey.from_private_bytes(PETER_SEED)
OURS = trusted(verifier_key("PeterNeumann", KEY))


def test_the_published_note_is_signed_to_the_letter() -> None:
    assert signed(TEXT, "PeterNeumann", KEY) == NOTE


def test_the_published_key_is_read_and_written() -> None:
    key = VerifierKey.parse(PETER)

    assert key == verifier_key("PeterNeumann", KEY)
    assert (key.text, key.id.hex()) == (PETER, "c74f20a3")


def test_the_published_note_opens_with_the_published_key() -> None:
    assert opened(NOTE, trusted(VerifierKey.parse(PETER))) == TEXT


def test_the_published_checkpoint_is_read_and_written() -> None:
    note = parse_note(SOFA)

    checkpoint = Checkpoint.parse(note.text)

    assert (checkpoint.origin, checkpoint.size) == ("example.com/behind-the-sofa", 20852163)
    assert checkpoint.text == note.text
    assert [(name, len(signature)) for name, _, signature in note.signatures] == [("example.com/behind-the-sofa", 64)]


def test_signatures_of_strangers_do_not_count() -> None:
    stranger = (
        "— EnochRoot rwz+eBzmZa0SO3NbfRGzPCpDckykFXSdeX+MNtCOXm2/5n2tiOHp+vAF1aGrQ5ovTG01oOTGwnWLox33WWd1RvMc+QQ=\n"
    )

    assert opened(NOTE + stranger, OURS) == TEXT
    with pytest.raises(NoteError, match="no key that is trusted"):
        opened(TEXT + "\n" + stranger, OURS)


def test_a_wrong_signature_of_a_known_key_spoils_the_note() -> None:
    other = Ed25519PrivateKey.from_private_bytes(bytes(32))
    wrong = VerifierKey("Other", verifier_key("Other", KEY).public)
    forged = signed(TEXT, "Other", other).removeprefix(TEXT + "\n")
    id_swapped = base64.b64encode(wrong.id + base64.b64decode(forged.split()[2])[4:]).decode()

    with pytest.raises(NoteError, match="the signature of Other is wrong"):
        opened(f"{NOTE}— Other {id_swapped}\n", OURS | trusted(wrong))


@pytest.mark.parametrize(
    "note",
    [
        "",
        "\n",
        TEXT,
        TEXT + "\n",
        NOTE.removesuffix("\n"),
        NOTE.replace("—", "-"),
        NOTE.replace("— PeterNeumann ", "—  "),
        NOTE.replace("PeterNeumann ", "Peter+Neumann "),
        NOTE.replace("PeterNeumann", "Peter\u2003Neumann"),
        NOTE.replace(SIGNATURE, "x08g"),
        NOTE.replace(SIGNATURE, SIGNATURE[:-1]),
        NOTE.replace(SIGNATURE, SIGNATURE.replace("/", "_")),
        NOTE.replace("you", "\tyou"),
        NOTE.replace("\n", "\r\n"),
        TEXT + "\n" + f"— PeterNeumann {SIGNATURE}\n" * (MAX_SIGNATURES + 1),
    ],
)
def test_what_is_no_note_is_refused(note: str) -> None:
    with pytest.raises(NoteError):
        opened(note, OURS)


@given(at=st.integers(0, len(NOTE) - 1), sign=st.characters(codec="utf-8"))
def test_a_changed_note_never_opens_to_another_text(at: int, sign: str) -> None:
    changed = NOTE[:at] + sign + NOTE[at + 1 :]

    try:
        text = opened(changed, OURS)
    except NoteError:
        return
    assert text == TEXT


@pytest.mark.parametrize(
    "text",
    [
        "a\n0\n",
        f"\n0\n{base64.b64encode(EMPTY_ROOT).decode()}\n",
        f"a\n00\n{base64.b64encode(EMPTY_ROOT).decode()}\n",
        f"a\n-1\n{base64.b64encode(EMPTY_ROOT).decode()}\n",
        f"a\n+1\n{base64.b64encode(EMPTY_ROOT).decode()}\n",
        f"a\n1 \n{base64.b64encode(EMPTY_ROOT).decode()}\n",
        f"a\n1\n{base64.b64encode(EMPTY_ROOT[1:]).decode()}\n",
        f"a\n1\n{EMPTY_ROOT.hex()}\n",
        f"a\n1\n{base64.b64encode(EMPTY_ROOT).decode()}\n\n",
        f"a\n1\n{base64.b64encode(EMPTY_ROOT).decode()}",
    ],
)
def test_what_is_no_checkpoint_is_refused(text: str) -> None:
    with pytest.raises(NoteError):
        Checkpoint.parse(text)


def test_lines_of_extensions_are_passed_over() -> None:
    checkpoint = Checkpoint("desk.example/default", 5, leaf_hash(b""))

    assert Checkpoint.parse(checkpoint.text + "an extension\n") == checkpoint


@pytest.mark.parametrize("text", ["no newline at the end", "a\ttab\n", "a\x00nul\n"])
def test_what_cannot_be_a_note_is_not_signed(text: str) -> None:
    with pytest.raises(NoteError):
        signed(text, "PeterNeumann", KEY)


@pytest.mark.parametrize(
    ("address", "workspace", "origin"),
    [
        ("http://127.0.0.1:8501", "default", "127.0.0.1:8501/default"),
        ("https://desk.example/signoff/", "paris", "desk.example/signoff/paris"),
        ("https://[::1]:8501", "a b+c/d", "[::1]:8501/a%20b%2Bc%2Fd"),
        ("", "default", "signoff/default"),
    ],
)
def test_the_origin_names_installation_and_workspace(address: str, workspace: str, origin: str) -> None:
    assert origin_of(address, workspace) == origin


def test_no_other_note_of_ours_can_be_taken_for_a_checkpoint() -> None:
    for text in (successor_text("desk.example/default", bytes(32)), manifest_text("desk.example/default", "{}")):
        with pytest.raises(NoteError):
            Checkpoint.parse(text)


@pytest.mark.parametrize(
    "text", ["", "a", "a+b", PETER.replace("c74f", "c74e"), PETER[:-4], PETER.replace("+AR", "+AB")]
)
def test_what_is_no_key_is_refused(text: str) -> None:
    with pytest.raises(NoteError):
        VerifierKey.parse(text)
