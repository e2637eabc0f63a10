"""Legibility: what hides in a text, made visible; for whatever an agent wrote and a person is to decide on."""

import re
import unicodedata
from functools import lru_cache

_MARKS_TOGETHER = 3
_ASCII_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
# What draws nothing, or draws as a blank, though its Unicode category does not say so.
_BLANK_LETTERS = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0")
_HIDING_CATEGORIES = frozenset({"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp"})
_EMOJI_STYLE = "\ufe0f"
_JOINER = "\u200d"
_WORD = re.compile(r"[\w-]+(?:\.[\w-]+)+|\w+")
# Scripts that are written together everywhere (UTS 39, "highly restrictive").
_EAST_ASIAN = frozenset({"Bopomofo", "Cjk", "Hangul", "Hiragana", "Ideographic", "Katakana"})
_NO_SCRIPT = frozenset({"Combining", "Feminine", "Masculine", "Micro", "Modifier", "Superscript", "Subscript"})


def visible(text: str) -> str:
    """Return the text with whatever hides in it made visible.

    Control, invisible and bidirectional code points become ``⟨U+202E⟩``; line breaks and tabs stay. A word or
    host name that mixes scripts, as a forged one does, is followed by their names (UTS 39).
    """
    text = text.replace("\r\n", "\n")
    if text.isascii():
        return _ASCII_CONTROLS.sub(lambda found: _escape(found.group()), text)
    return _uncovered(_WORD.sub(_with_scripts, text))


def _uncovered(text: str) -> str:
    if not any(map(_is_suspect, set(text))):
        return text
    shown: list[str] = []
    marks = 0
    for place, character in enumerate(text):
        marks = marks + 1 if unicodedata.category(character) in {"Mn", "Me"} else 0
        before, after = text[place - 1 : place], text[place + 1 : place + 2]
        is_hidden = _hides(character, before, after) or marks > _MARKS_TOGETHER
        shown.append(_escape(character) if is_hidden else character)
    return "".join(shown)


def _is_suspect(character: str) -> bool:
    return unicodedata.category(character) in {"Mn", "Me"} or _hides(character, "", "")


def _hides(character: str, before: str, after: str) -> bool:
    if character in "\n\t":
        return False
    if character == _EMOJI_STYLE:
        return not _is_symbol(before)
    if character == _JOINER:
        return not (_is_symbol(before) and _is_symbol(after))
    if character in _BLANK_LETTERS or "\ufe00" <= character < _EMOJI_STYLE or "\U000e0100" <= character <= "\U000e01ef":
        return True
    return unicodedata.category(character) in _HIDING_CATEGORIES


def _is_symbol(character: str) -> bool:
    return character == _EMOJI_STYLE or (bool(character) and unicodedata.category(character) in {"So", "Sk"})


def _escape(character: str) -> str:
    return f"⟨U+{ord(character):04X}⟩"


def _with_scripts(found: re.Match[str]) -> str:
    word = found.group()
    scripts = _scripts(word) if not word.isascii() else frozenset()
    return f"{word}⟨mixes {' and '.join(sorted(scripts))}⟩" if len(scripts) > 1 else word


@lru_cache(maxsize=4096)
def _scripts(word: str) -> frozenset[str]:
    scripts = {_script(character) for character in word if character.isalpha()} - _NO_SCRIPT
    if scripts & _EAST_ASIAN:
        scripts -= _EAST_ASIAN | {"Latin"}
        scripts |= {"East Asian"} if scripts else set()
    return frozenset(scripts)


def _script(character: str) -> str:
    return unicodedata.name(character, "UNKNOWN").split(" ")[0].split("-")[0].capitalize()
