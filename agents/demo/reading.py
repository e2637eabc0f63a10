"""What a text says, as far as plain rules can tell: order numbers, sums, counts, pieces, places, addresses.

Every function takes the words as they come, in whatever spelling, and may find nothing or the wrong thing.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from difflib import get_close_matches

SPELLING_CUTOFF = 0.84

_NUMBER_WORDS = {
    "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9,
    "ten": 10, "eleven": 11, "twelve": 12, "dozen": 12, "fifteen": 15, "twenty": 20, "thirty": 30,
    "forty": 40, "fifty": 50,
}  # fmt: skip
_BOUTIQUE_WORDS = {
    "paris": "Paris", "vendome": "Paris", "london": "London", "milan": "Milan", "milano": "Milan",
    "geneva": "Geneva", "geneve": "Geneva", "genf": "Geneva", "zurich": "Geneva",
    "new york": "New York", "ny": "New York", "brooklyn": "New York", "tokyo": "Tokyo",
    "ginza": "Tokyo", "dubai": "Dubai", "lyon": "Lyon", "depot": "Lyon", "warehouse": "Lyon",
}  # fmt: skip
_LANGUAGE_WORDS = {
    "arabic": "Arabic", "ar": "Arabic", "dubai": "Arabic", "chinese": "Chinese", "french": "French",
    "fr": "French", "francais": "French", "german": "German", "deutsch": "German", "deutsche": "German",
    "swiss": "German", "italian": "Italian", "italiano": "Italian", "milan": "Italian",
    "japanese": "Japanese", "japan": "Japanese", "ginza": "Japanese", "korean": "Korean",
    "seoul": "Korean", "spanish": "Spanish", "espanol": "Spanish", "madrid": "Spanish",
}  # fmt: skip
_PIECE_WORDS = {
    "fragrance": "parfum", "perfume": "parfum", "perfum": "parfum", "bottle": "parfum",
    "twilly": "ribbon", "carre": "scarf", "gurtel": "belt", "shoes": "pumps", "heels": "pumps",
    "heel": "pumps", "buckle": "belt", "linen": "shirt", "totes": "tote", "scarves": "scarf",
    "scarfs": "scarf", "wallet": "card", "silk": "scarf", "ear": "earrings", "patent": "pumps",
    "pump": "pumps", "satin": "clutch", "maree": "marees",
}  # fmt: skip
_WORDS_OF_NO_PIECE = {"silk", "case", "black", "white", "gold", "leather", "with", "twill", "water", "wool"}
_STREET = re.compile(
    r"\b(?:rue|avenue|quai|chemin|place|via|corso|calle|gran via|street|road|row|lane|square|plaza|crescent|"
    r"grove|vineyard|strasse|straße|\w+strasse|\w+gatan|hotel|seasons|boutique|apt|flat|room)\b",
    re.IGNORECASE,
)
_POSTCODE = re.compile(r"\b(?:\d{5}|\d{3}-\d{4}|[A-Z]{1,2}\d{1,2}[A-Z]?(?: \d[A-Z]{2})?|\d{4}(?= [A-ZÄÖÜ]))\b")
_ORDER = re.compile(r"\bR[- ]?(\d{1,5})\b|\border\s+(?:no\.?|number|#)?\s*(\d{3,5})\b", re.IGNORECASE)
_ASSET = re.compile(r"\bA-?(\d{3})\b|\basset\s+(\d{1,3})\b", re.IGNORECASE)
_SKU = re.compile(r"\b([A-Z]{3})-([A-Z]{3})-(\d{2})\b")
_CODE = re.compile(r"\b([A-Z]{3})[- ]?(\d{2})\b")
_PER_CENT = re.compile(r"(\d{1,2})\s*(?:%|percent\b|per cent\b)")
_SUM = re.compile(r"(?<![\w.,:/-])\d+(?:[.,' ]\d{3})*(?:[.,]\d{2})?(?![\w%:/-]|[.,]\d)")
_CURRENCY = re.compile(
    r"(?:€|\$|£|eur|euros?|dollars?|usd|pounds?|gbp|dirhams?|aed|yen|jpy|chf|franken|francs?)", re.IGNORECASE
)
_REPLACEMENT = re.compile(
    r"(?:change|replace|correct)\s+[\"'“](.+?)[\"'”]\s+(?:to|with|by)\s+[\"'“](.+?)[\"'”]", re.IGNORECASE
)
_OMISSION = re.compile(r"(?:drop|take out|quitad|without|w/o|remove)\s+[\"'“](.+?)[\"'”]", re.IGNORECASE)
_DAYS = re.compile(r"(\d{1,2}|\w+)\s*(days?|weeks?|h\b|hours?)")
_ADDRESS_CUE = re.compile(
    r"(?:\bto|\bat|\baddress|\binstead|\bshould be|\bit's|\bis|->|→)(?=[:\s])[:\s]+", re.IGNORECASE
)


def fold(text: str) -> str:
    """Return the text in lower case and without accents."""
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    return "".join(character for character in decomposed if not unicodedata.combining(character))


def order_ids(text: str) -> list[str]:
    """Return the order numbers, as the house writes them."""
    return [f"R-{first or second}" for first, second in _ORDER.findall(text)]


def asset_ids(text: str) -> list[str]:
    """Return the numbers of the house's texts."""
    return [f"A-{first or second}" for first, second in _ASSET.findall(text)]


def per_cent(text: str) -> int | None:
    """Return the first percentage; a half counts as one."""
    match = _PER_CENT.search(text)
    if match is not None:
        return int(match.group(1))
    return 50 if re.search(r"\b(?:half|halfway)\b", fold(text)) else None


def amount(text: str) -> Decimal | None:
    """Return the sum of money that is named.

    A number beside a currency comes first, then one with cents, then one that is large enough for a price.
    """
    sums = [(match, _decimal(match.group())) for match in _SUM.finditer(_without_ids(text))]
    whole = _without_ids(text)
    beside = [value for match, value in sums if _names_currency(whole, match)]
    with_cents = [value for match, value in sums if re.search(r"[.,]\d{2}$", match.group())]
    large = [value for _, value in sums if value >= 50]
    candidates = beside or with_cents or large
    return candidates[0] if candidates else None


def _names_currency(text: str, number: re.Match[str]) -> bool:
    before, after = text[max(0, number.start() - 5) : number.start()], text[number.end() : number.end() + 10]
    leading = re.search(rf"{_CURRENCY.pattern}\s?$", before, re.IGNORECASE)
    return leading is not None or _CURRENCY.match(after.lstrip()) is not None


def _decimal(number: str) -> Decimal:
    cents = re.search(r"[.,](\d{2})$", number)
    whole = number[: cents.start()] if cents else number
    return Decimal(re.sub(r"\D", "", whole) + "." + (cents.group(1) if cents else "00"))


def _without_ids(text: str) -> str:
    return _SKU.sub(" ", _CODE.sub(" ", _ASSET.sub(" ", _ORDER.sub(" ", text))))


def numbers(text: str) -> list[int]:
    """Return the counts in the text, in digits or words, in order; record numbers and durations are none."""
    found = []
    counting = re.sub(r"\d+\s*%", " ", _DAYS.sub(" ", fold(_without_ids(text))))
    for word in re.findall(r"[+-]?\d+|[a-z]+", counting):
        if word in _NUMBER_WORDS:
            found.append(_NUMBER_WORDS[word])
        elif word.lstrip("+-").isdigit():
            found.append(int(word))
    return found


def days(text: str) -> int | None:
    """Return how long something should last, in days."""
    for count, unit in _DAYS.findall(fold(text)):
        number = int(count) if count.isdigit() else 1 if count == "a" else _NUMBER_WORDS.get(count)
        if number is not None:
            return max(1, number * 7 if unit.startswith("week") else number // 24 if unit.startswith("h") else number)
    return None


def boutiques(text: str) -> list[str]:
    """Return the boutiques that are named, in their order, each once."""
    places = re.findall(rf"\b({'|'.join(map(re.escape, _BOUTIQUE_WORDS))})\b", fold(text))
    return list(dict.fromkeys(_BOUTIQUE_WORDS[place] for place in places))


def source(text: str) -> str | None:
    """Return the boutique that something should come from."""
    places = "|".join(map(re.escape, _BOUTIQUE_WORDS))
    cue = r"(?:from|out of|in|ask|take them from|can|has|holds|at|lend)\s+(?:the\s+)?"
    match = re.search(rf"\bfrom\s+(?:the\s+)?({places})\b", fold(text)) or re.search(
        rf"\b{cue}({places})\b|\b({places})\s+(?:has|holds|sent|to|can|says)\b|\b({places})>", fold(text)
    )
    return None if match is None else _BOUTIQUE_WORDS[next(place for place in match.groups() if place)]


def destination(text: str) -> str | None:
    """Return the boutique that something should go to."""
    places = "|".join(map(re.escape, _BOUTIQUE_WORDS))
    match = re.search(rf"(?:\b(?:to|into|over to|for|towards)\s+(?:the\s+)?|[>→]\s*)({places})\b", fold(text))
    return None if match is None else _BOUTIQUE_WORDS[match.group(1)]


def languages(text: str) -> list[str]:
    """Return the languages that are named, or hinted at by their place, in their order."""
    if re.search(r"[\u3040-\u30ff]|日本", text):
        return ["Japanese"]
    if re.search(r"[\uac00-\ud7af]", text):
        return ["Korean"]
    words = re.findall(r"[a-z]+", fold(text))
    return list(dict.fromkeys(_LANGUAGE_WORDS[word] for word in words if word in _LANGUAGE_WORDS))


@dataclass(frozen=True)
class Match:
    """A record that a text seems to speak of, and how strongly."""

    key: str
    weight: float


def skus(text: str, names: Mapping[str, str]) -> list[Match]:
    """Return the pieces that the text speaks of, strongest first; ``names`` maps each SKU to a name.

    A code that is written out counts whether the piece exists or not.
    """
    written = ["-".join(parts) for parts in _SKU.findall(text.upper())]
    if written:
        return [Match(sku, 9.0) for sku in dict.fromkeys(written)]
    codes = ["-".join(parts) for parts in _CODE.findall(text)]
    coded = [Match(sku, 8.0) for sku in names for code in codes if sku.endswith(code)]
    return coded or named(text, names)


def named(text: str, names: Mapping[str, str]) -> list[Match]:
    """Return the keys whose name shares words with the text, strongest first; a rarer word counts more."""
    words_of = {key: _telling_words(name) for key, name in names.items()}
    frequency = Counter(word for words in words_of.values() for word in words)
    said = _said(text, sorted(frequency))
    weights = {key: sum(1.0 / frequency[word] for word in words & said) for key, words in words_of.items()}
    return sorted((Match(key, weight) for key, weight in weights.items() if weight), key=lambda match: -match.weight)


def _telling_words(name: str) -> set[str]:
    words = {word.removesuffix("s") for word in re.findall(r"[a-z]{4,}", fold(name))}
    return words - _WORDS_OF_NO_PIECE


def _said(text: str, vocabulary: Sequence[str]) -> set[str]:
    said = set()
    for word in re.findall(r"[a-z]{3,}", fold(text)):
        meant = _PIECE_WORDS.get(word, _PIECE_WORDS.get(word.removesuffix("s"), word)).removesuffix("s")
        close = [meant] if meant in vocabulary else []
        if not close and len(meant) >= 5:
            close = get_close_matches(meant, vocabulary, n=1, cutoff=SPELLING_CUTOFF)
        said.update(close)
    return said


def replacement(text: str) -> tuple[str, str] | None:
    """Return the wording to change and what it becomes (nothing, where it should go)."""
    match = _REPLACEMENT.search(text)
    if match is not None:
        return match.group(1), match.group(2)
    omission = _OMISSION.search(text)
    return None if omission is None else (omission.group(1), "")


def address(text: str) -> str | None:
    """Return the part of the text that looks most like an address, or None where nothing does."""
    parts = [
        part.strip() for part in re.split(r"(?<=[a-z0-9)])[.!?;](?:\s|$)|\n", _ORDER.sub("", text)) if part.strip()
    ]
    scored = [(score, candidate) for part in parts for candidate in _tails(part) if (score := _likeness(candidate))]
    return max(scored, key=lambda pair: (pair[0], -len(pair[1])))[1] if scored else None


def _tails(part: str) -> list[str]:
    starts = [0, *(match.end() for match in _ADDRESS_CUE.finditer(part))]
    return [part[start:].strip(" ,.:!") for start in starts]


def _likeness(candidate: str) -> int:
    number_first = re.match(r"(?:c/o |apt |room )?\d{1,4}[a-zA-Z]?\b(?! *(?:days?|weeks?|euros?|%))", candidate, re.I)
    signs = (
        _STREET.search(candidate),
        _POSTCODE.search(candidate),
        number_first,
        re.search(r"\d", candidate),
    )
    return sum(1 for sign in signs if sign is not None)
