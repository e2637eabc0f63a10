"""What of an item is masked until somebody reveals it: secrets, personal data, and what is declared sensitive.

Declared is it by the schema of the tool's arguments, or by the policy, which names places in them. What was masked, and
where, is told of every part of an item that is shown; the arguments are one of them.

A mask keeps what one needs to recognise a value and not to use it: a host, a country, the last four digits. It is for
people's eyes alone: what is decided, signed and run are the arguments themselves.
"""

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import NamedTuple, TypeVar

from pydantic import BaseModel, JsonValue

from agents.protocol import Action, Args, ContextEntry, ContextKind, Decision, Edit
from review.items import Assignment, Reconciliation, ReviewItem

Place = tuple[str | int, ...]
Pattern = tuple[str, ...]
Schema = Mapping[str, object]

Model = TypeVar("Model", bound=BaseModel | None)

SCHEMAS_LOOKED_AT = 256
_SHORTEST_KNOWN = 4


class Kind(StrEnum):
    """What a masked value is, in the words of its mask."""

    SECRET = "secret"  # noqa: S105 -- a word, and no secret
    CARD = "card number"
    IBAN = "IBAN"
    EMAIL = "e-mail"
    PHONE = "phone number"
    DECLARED = "sensitive value"


class Cover(NamedTuple):
    """What stands in a value's place, and what the value is."""

    kind: Kind
    mask: str


@dataclass(frozen=True, slots=True)
class Mask:
    """A place at which something is masked, and what: in the arguments that would run, or in another part of the item.

    Several kinds at one place are as many masks.
    """

    place: Place
    kind: Kind
    part: str = ""

    @property
    def pointer(self) -> str:
        """Return the place as a JSON Pointer (RFC 6901), after the name of its part where that is not the arguments."""
        steps = (f"/{str(step).replace('~', '~0').replace('/', '~1')}" for step in self.place)
        return f"{self.part}{''.join(steps)}"


@dataclass(frozen=True, slots=True)
class Masked:
    """Arguments with everything sensitive masked, where that was, and the values, to be masked in other texts."""

    args: Args
    masks: tuple[Mask, ...]
    known: Mapping[str, Cover]


def pattern_of(pointer: str) -> Pattern:
    """Return the steps of a JSON Pointer (RFC 6901); a step ``*`` stands for every member and every entry there."""
    return tuple(step.replace("~1", "/").replace("~0", "~") for step in pointer.split("/")[1:])


def masked_args(args: Args, schema: Schema | None, declared: Iterable[Pattern] = ()) -> Masked:
    """Return the arguments as they are shown to whoever has not revealed them; ``declared`` is by the policy."""
    walk = _Walk(schema or {}, tuple(declared))
    parents = walk.spread([schema or {}])
    shown = {name: walk.value(value, parents, (name,)) for name, value in args.items()}
    return Masked(shown, tuple(walk.masks), walk.known)


class KnownValues:
    """Values that are masked wherever they stand. An item may have thousands, and as many texts to look through."""

    def __init__(self, covers: Mapping[str, Cover]) -> None:
        self._covers = covers
        self._by_length: dict[int, set[str]] = {}
        for value in sorted(covers, key=len, reverse=True):
            self._by_length.setdefault(len(value), set()).add(value)

    def masked(self, text: str, found: "Found") -> str:
        """Return the text with the values masked; what several of them share is masked as the longest of them is."""

        def mask_of(_: str, longest: str) -> str:
            kind, mask = self._covers[longest]
            found(kind, longest, mask)
            return mask

        return _covered(text, self._spans(text), mask_of)

    def _spans(self, text: str) -> Iterator[tuple[int, int]]:
        """Yield where the values stand, the longest first, but for what lies within longer ones."""
        covered = bytearray(len(text))
        for length, values in self._by_length.items():
            if length > len(text):
                continue
            # A look for a value costs about as much as a look at eight places of the text.
            at_places = _at_places if len(values) > len(text) // 8 else _one_by_one
            for start in at_places(text, values, length):
                end = start + length
                if covered.find(0, start, end) >= 0:
                    covered[start:end] = b"\1" * length
                    yield start, end


def _at_places(text: str, values: Collection[str], length: int) -> Iterator[int]:
    for start in range(len(text) - length + 1):
        if text[start : start + length] in values:
            yield start


def _one_by_one(text: str, values: Collection[str], length: int) -> Iterator[int]:
    for value in values:
        start = text.find(value)
        while start >= 0:
            yield start
            start = text.find(value, start + length)


_NOTHING_KNOWN = KnownValues({})


class Veil:
    """What one item is read through until it is revealed; it remembers which masks stand in the parts that are told.

    Known are what is declared of the item's tool, and the values that are masked wherever they stand.
    """

    def __init__(self, schema: Schema | None, declared: tuple[Pattern, ...], known: Mapping[str, Cover]) -> None:
        self.known = KnownValues(known)
        self._schema = schema
        self._declared = declared
        self._masks: dict[Mask, None] = {}

    @classmethod
    def over(
        cls,
        item: ReviewItem,
        schema: Schema | None,
        declared: tuple[Pattern, ...] = (),
        *,
        decisions: Iterable[Decision] = (),
    ) -> "Veil":
        """Return the veil of an item that is read together with these decisions on it."""
        made = [*decisions, *([item.decision] if item.decision else [])]
        actions = [item.request.action, *([item.draft] if item.draft else [])]
        actions += [decision.edited_action for decision in made if isinstance(decision, Edit)]
        known: dict[str, Cover] = {}
        for action in actions:
            known |= masked_args(action.args, schema, declared).known
        return cls(schema, declared, known)

    @property
    def masks(self) -> tuple[Mask, ...]:
        """Return what was masked in the parts that were read so far."""
        return tuple(self._masks)

    def action(self, action: Action, *, part: str | None = None) -> Action:
        """Return the action with its arguments masked."""
        masked = masked_args(action.args, self._schema, self._declared)
        if part is not None:
            self._masks |= {replace(mask, part=part): None for mask in masked.masks}
        return action.model_copy(update={"args": masked.args})

    def masks_of(self, action: Action) -> tuple[Mask, ...]:
        """Return where in the action's arguments something is masked."""
        return masked_args(action.args, self._schema, self._declared).masks

    def decision(self, decision: Decision, *, part: str | None = None) -> Decision:
        """Return the decision with its words masked, and the arguments that it edits."""
        if isinstance(decision, Edit):
            of_edit = None if part is None else f"{part}/edited_action/args"
            return decision.model_copy(update={"edited_action": self.action(decision.edited_action, part=of_edit)})
        return self.model(decision, part=part)

    def entry(self, entry: ContextEntry, *, part: str | None = None) -> ContextEntry:
        """Return the entry of the context masked; pictures are as they are, their titles are not."""
        masked = self.model(entry, part=part)
        return masked.model_copy(update={"content": entry.content}) if entry.kind is ContextKind.IMAGE else masked

    def model(self, model: Model, *, part: str | None = None) -> Model:
        """Return a copy of what came over the wire, or what a person said, its texts masked; None stays None."""
        return self._model(model, part, ())

    def item(self, item: ReviewItem) -> ReviewItem:
        """Return the item to be read: secrets, personal data and what is declared sensitive are masked throughout.

        Remembered are the masks of all that a view of the item shows, so not those of its metadata.
        """
        request = item.request
        draft = self.action(item.draft, part="") if item.draft else None
        shown = request.model_copy(
            update={
                "action": self.action(request.action, part="proposed" if draft else ""),
                "context": tuple(
                    self.entry(entry, part=f"context/{number}") for number, entry in enumerate(request.context)
                ),
                "impact": self.model(request.impact, part="impact"),
                "metadata": self._value(request.metadata, None, ()),
                **{
                    name: self._value(getattr(request, name), name, ())
                    for name in ("confidence_source", "description", "rationale")
                },
            }
        )
        return replace(
            item,
            request=shown,
            draft=draft,
            decision=self.decision(item.decision, part="decision") if item.decision else None,
            outcome=self.model(item.outcome, part="outcome"),
            reconciliation=self._reconciliation(item.reconciliation),
            assignment=self._assignment(item.assignment),
        )

    def _reconciliation(self, found: Reconciliation | None) -> Reconciliation | None:
        if found is None:
            return None
        # Who found it is no content of the item.
        return found.model_copy(update={"note": self._value(found.note, "reconciliation", ("note",))})

    def _assignment(self, given: Assignment | None) -> Assignment | None:
        if given is None:
            return None
        return replace(given, note=str(self._value(given.note, "assignment", ("note",))))

    def _model(self, model: Model, part: str | None, at: Place) -> Model:
        if model is None:
            return model
        told = {
            name: text if name == "type" else self._field(text, part, (*at, name))
            for name, text in ((name, getattr(model, name)) for name in type(model).model_fields)
        }
        return model.model_copy(update=told)

    def _field(self, value: object, part: str | None, at: Place) -> object:
        if isinstance(value, BaseModel):
            return self._model(value, part, at)
        if isinstance(value, (dict, list)) or type(value) is str:
            return self._value(value, part, at)
        return value

    def _value(self, value: JsonValue, part: str | None, at: Place) -> JsonValue:
        if isinstance(value, dict):
            return {name: self._value(member, part, (*at, name)) for name, member in value.items()}
        if isinstance(value, list):
            return [self._value(member, part, (*at, number)) for number, member in enumerate(value)]
        if not isinstance(value, str):
            return value

        def found(kind: Kind, _: str, __: str) -> None:
            if part is not None:
                self._masks[Mask(at, kind, part)] = None

        return masked_text(value, self.known, found)


def _unheard(_: Kind, __: str, ___: str) -> None:
    """Take no notice of what is found."""


def masked_text(text: str, known: KnownValues = _NOTHING_KNOWN, found: "Found" = _unheard) -> str:
    """Return the text with secrets and personal data masked, and whatever is masked in the arguments (``known``)."""
    return _sifted(known.masked(text, found), found)


def masked_subject(subject: str | None) -> str:
    """Return whom or what an item concerns as a list says it, where the rest of the item is not at hand."""
    return masked_text(subject or "")


class _Walk:
    """Goes through arguments beside their schema, and remembers what it masked."""

    def __init__(self, root: Schema, declared: tuple[Pattern, ...]) -> None:
        self.masks: dict[Mask, None] = {}
        self.known: dict[str, Cover] = {}
        self._root = root
        self._declared = declared

    def value(self, value: JsonValue, parents: Sequence[Schema], at: Place) -> JsonValue:
        members = (_member(parent, at[-1]) for parent in parents)
        schemas = self.spread([member for member in members if isinstance(member, Mapping)])
        # Who hides a declaration among more schemas than are looked at gets everything masked.
        is_declared = max(len(parents), len(schemas)) >= SCHEMAS_LOOKED_AT
        if value is None or value == "" or isinstance(value, bool):
            return value
        is_declared = is_declared or any(map(_is_sensitive, schemas)) or self._is_named_by_policy(at)
        if is_declared or _is_named_secret(at):
            return self._covered(value, at)
        if isinstance(value, dict):
            return {name: self.value(member, schemas, (*at, name)) for name, member in value.items()}
        if isinstance(value, list):
            return [self.value(member, schemas, (*at, number)) for number, member in enumerate(value)]
        if isinstance(value, int) and _sifted(str(value), _unheard) == str(value):
            return value
        if isinstance(value, float):
            return value
        return self._text(str(value), at)

    def _is_named_by_policy(self, at: Place) -> bool:
        return any(
            len(pattern) == len(at) and all(step in ("*", str(found)) for step, found in zip(pattern, at, strict=True))
            for pattern in self._declared
        )

    def _text(self, text: str, at: Place) -> str:
        def found(kind: Kind, value: str, mask: str) -> None:
            self.masks[Mask(at, kind)] = None
            self.known[value] = Cover(kind, mask)

        return _sifted(text, found)

    def _covered(self, value: JsonValue, at: Place) -> str:
        self.masks[Mask(at, Kind.DECLARED)] = None
        mask = _mask(Kind.DECLARED, "")
        for text in _texts(value):
            if len(text) >= _SHORTEST_KNOWN:
                self.known[text] = Cover(Kind.DECLARED, mask)
        return mask

    def spread(self, schemas: Sequence[Schema]) -> list[Schema]:
        """Return the schemas with all that they are made of, references within and alternatives, up to a bound."""
        waiting, seen = list(schemas), dict[int, Schema]()
        while waiting and len(seen) < SCHEMAS_LOOKED_AT:
            schema = waiting.pop()
            if id(schema) not in seen:
                seen[id(schema)] = schema
                waiting += self._parts(schema)
        return list(seen.values())

    def _parts(self, schema: Schema) -> Iterator[Schema]:
        reference = schema.get("$ref")
        if isinstance(reference, str) and reference.startswith("#/"):
            target: object = self._root
            for step in reference[2:].split("/"):
                target = target.get(step.replace("~1", "/").replace("~0", "~")) if isinstance(target, Mapping) else None
            if isinstance(target, Mapping):
                yield target
        for word in ("allOf", "anyOf", "oneOf"):
            branches = schema.get(word)
            if isinstance(branches, list):
                yield from (branch for branch in branches if isinstance(branch, Mapping))


def _member(schema: Schema, step: str | int) -> object:
    if isinstance(step, int):
        return schema.get("items")
    properties = schema.get("properties")
    if isinstance(properties, Mapping) and step in properties:
        return properties[step]
    return schema.get("additionalProperties")


def _is_sensitive(schema: Schema) -> bool:
    return (
        schema.get("format") == "password"
        or schema.get("writeOnly") is True
        or schema.get("x-signoff-sensitive") is True
    )


_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_SECRET_NAME = re.compile(
    r"(?:^|_)(?:password|passwd|passphrase|pwd|secret|token|api_?key|access_?key|private_?key|client_?secret|credentials?"
    r"|authorization|cookie|cvv|cvc|pin|ssn|otp)$"
)


def _is_named_secret(at: Place) -> bool:
    name = next((step for step in reversed(at) if isinstance(step, str)), "")
    return _SECRET_NAME.search(re.sub(r"\W+", "_", _CAMEL.sub("_", name)).lower()) is not None


def _texts(value: JsonValue) -> Iterator[str]:
    if isinstance(value, dict):
        for member in value.values():
            yield from _texts(member)
    elif isinstance(value, list):
        for member in value:
            yield from _texts(member)
    elif isinstance(value, str):
        yield value


# The forms of credentials as those who issue them publish them. Each is anchored by its own letters, so that a text of
# any length is gone through once; before it goes what every text of the form has one of in it, so that most texts need
# not be gone through at all.
_SECRETS = tuple(
    (signs, re.compile(form))
    for signs, form in (
        (
            ("-----BEGIN ",),
            r"-----BEGIN [A-Z ]{0,24}PRIVATE KEY-----(?:(?!-----)[\s\S]){0,8192}(?:-----END [A-Z ]{0,24}KEY-----)?",
        ),
        (("AKIA", "ASIA"), r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"),  # Amazon
        (("ghp_", "gho_", "ghu_", "ghs_", "ghr_"), r"\bgh[pousr]_[A-Za-z0-9]{36,251}\b"),
        (("github_pat_",), r"\bgithub_pat_\w{50,251}\b"),
        (("glpat-",), r"\bglpat-[\w-]{20,64}"),  # GitLab
        (("xox",), r"\bxox[abposr]-[A-Za-z0-9-]{10,250}"),  # Slack
        (("hooks.slack.com",), r"\bhttps://hooks\.slack\.com/services/[\w/]{20,120}"),
        (("_live_", "_test_"), r"\b(?:sk|rk|pk)_(?:live|test)_[A-Za-z0-9]{16,250}"),  # Stripe
        (("sk-",), r"\bsk-(?:ant-|proj-|svcacct-)?[\w-]{20,250}"),  # OpenAI, Anthropic
        (("AIza",), r"\bAIza[\w-]{35}"),  # Google
        (("ya29.",), r"\bya29\.[\w-]{20,500}"),
        (("SG.",), r"\bSG\.[\w-]{16,64}\.[\w-]{16,64}"),  # SendGrid
        (("SK",), r"\bSK[0-9a-f]{32}\b"),  # Twilio
        (("npm_",), r"\bnpm_[A-Za-z0-9]{36}\b"),
        (("pypi-",), r"\bpypi-[\w-]{50,250}"),
        (("dop_v1_",), r"\bdop_v1_[0-9a-f]{64}\b"),
        (("hf_",), r"\bhf_[A-Za-z0-9]{30,60}\b"),
        (("shpat_", "shpca_", "shppa_", "shpss_"), r"\bshp(?:at|ca|pa|ss)_[0-9a-fA-F]{32}\b"),  # Shopify
        (("whsec_",), r"\bwhsec_[A-Za-z0-9+/=]{16,120}"),
        (("sgn_",), r"\bsgn_[0-9a-f]{12}_[\w-]{20,120}"),  # Our own
        (("eyJ",), r"\beyJ[\w-]{8,4096}\.eyJ[\w-]{8,8192}\.[\w-]{8,2048}"),  # JSON Web Tokens
        (("Bearer ",), r"(?<=\bBearer )[\w.~+/=-]{16,4096}"),
        (("Basic ",), r"(?<=\bBasic )[A-Za-z0-9+/=]{16,1024}"),
        (("://",), r"(?<=://)[^\s:/@]{1,128}:[^\s:/@]{1,128}(?=@)"),  # User and password in an address
    )
)
_EMAIL = re.compile(r"(?<![\w.%+-])[\w.%+-]{1,64}@(?:[\w-]{1,63}\.){1,8}[A-Za-z]{2,24}\b")
# What begins them goes before what may not stand before it: so most of a text is passed over fast.
_IBAN = re.compile(r"[A-Z](?<!\w[A-Z])[A-Z]\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b")
_CARD = re.compile(r"[2-6](?<![\d.,-][2-6])\d{3}(?:[ -]?\d){9,15}(?![\d.,]?\d)")
_PHONE = re.compile(r"(?<![\w+])\+[1-9](?:[ ()./-]{0,2}\d){6,13}(?!\d)")

Found = Callable[[Kind, str, str], None]


def _sifted(text: str, found: Found) -> str:
    text = _without_secrets(text, found)
    for kind, sign, form, is_one, hint in _FORMS:
        if sign not in text:
            continue

        def masked(match: re.Match[str], kind: Kind = kind, hint: Callable[[str], str] = hint) -> str:
            value = match.group()
            if not is_one(value):  # noqa: B023 -- called before the next form's turn
                return value
            mask = _mask(kind, hint(value))
            found(kind, value, mask)
            return mask

        text = form.sub(masked, text)
    return text


def _without_secrets(text: str, found: Found) -> str:
    forms = [form for signs, form in _SECRETS if any(sign in text for sign in signs)]

    def mask_of(whole: str, _: str) -> str:
        mask = _mask(Kind.SECRET, "")
        found(Kind.SECRET, whole, mask)
        return mask

    return _covered(text, (match.span() for form in forms for match in form.finditer(text)), mask_of)


def _covered(text: str, spans: Iterable[tuple[int, int]], mask_of: Callable[[str, str], str]) -> str:
    """Return the text with one mask for all spans that overlap, made of what they cover and of the longest of them."""
    joined: list[tuple[int, int, tuple[int, int]]] = []
    for start, end in sorted(spans):
        if joined and start < joined[-1][1]:
            begun, until, longest = joined[-1]
            joined[-1] = begun, max(until, end), max(longest, (start, end), key=_length)
        else:
            joined.append((start, end, (start, end)))
    shown, at = list[str](), 0
    for start, end, longest in joined:
        shown += [text[at:start], mask_of(text[start:end], text[slice(*longest)])]
        at = end
    return "".join([*shown, text[at:]]) if shown else text


def _length(span: tuple[int, int]) -> int:
    return span[1] - span[0]


def _mask(kind: Kind, hint: str) -> str:
    return f"⟨masked {kind}: {hint}⟩" if hint else f"⟨masked {kind}⟩"


def _is_iban(text: str) -> bool:
    plain = text.replace(" ", "")
    if not 15 <= len(plain) <= 34:
        return False
    return int("".join(str(int(sign, 36)) for sign in plain[4:] + plain[:4])) % 97 == 1


def _is_card(text: str) -> bool:
    digits = [int(sign) for sign in text if sign.isdigit()]
    doubled = [digit * 2 - 9 * (digit > 4) for digit in digits[-2::-2]]
    return 13 <= len(digits) <= 19 and (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0


def _always(_: str) -> bool:
    return True


def _end(text: str) -> str:
    return f"…{''.join(sign for sign in text if sign.isalnum())[-4:]}"


# What every text of the form has in it goes before it here, too.
_FORMS: tuple[tuple[Kind, str, re.Pattern[str], Callable[[str], bool], Callable[[str], str]], ...] = (
    (Kind.EMAIL, "@", _EMAIL, _always, lambda text: f"{text[0]}…@{text.rpartition('@')[2]}"),
    (Kind.IBAN, "", _IBAN, _is_iban, lambda text: f"{text[:2]}{_end(text)}"),
    (Kind.CARD, "", _CARD, _is_card, _end),
    (Kind.PHONE, "+", _PHONE, _always, lambda text: f"{text[:3]}{_end(text)[:1]}{_end(text)[-2:]}"),
)
