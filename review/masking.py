"""What of an action is masked until somebody reveals it: secrets, personal data, and what is declared sensitive.

Declared is it by the schema of the tool's arguments, or by the policy, which names places in them.

A mask keeps what one needs to recognise a value and not to use it: a host, a country, the last four digits. It is for
people's eyes alone: what is decided, signed and run are the arguments themselves.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TypeVar

from pydantic import BaseModel, JsonValue

from agents.protocol import Action, Args, ContextEntry, ContextKind, Decision, Edit
from review.items import ReviewItem

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


@dataclass(frozen=True, slots=True)
class Mask:
    """A place in the arguments at which something is masked, and what the first of it is."""

    place: Place
    kind: Kind

    @property
    def pointer(self) -> str:
        """Return the place as a JSON Pointer (RFC 6901)."""
        return "".join(f"/{str(step).replace('~', '~0').replace('/', '~1')}" for step in self.place)


@dataclass(frozen=True, slots=True)
class Masked:
    """Arguments with everything sensitive masked, where that was, and the values, to be masked in other texts."""

    args: Args
    masks: tuple[Mask, ...]
    known: Mapping[str, str]


def pattern_of(pointer: str) -> Pattern:
    """Return the steps of a JSON Pointer (RFC 6901); a step ``*`` stands for every member and every entry there."""
    return tuple(step.replace("~1", "/").replace("~0", "~") for step in pointer.split("/")[1:])


def masked_args(args: Args, schema: Schema | None, declared: Iterable[Pattern] = ()) -> Masked:
    """Return the arguments as they are shown to whoever has not revealed them; ``declared`` is by the policy."""
    walk = _Walk(schema or {}, tuple(declared))
    parents = walk.spread([schema or {}])
    shown = {name: walk.value(value, parents, (name,)) for name, value in args.items()}
    return Masked(shown, tuple(walk.masks), walk.known)


@dataclass(frozen=True, slots=True)
class Veil:
    """What one item is read through until it is revealed: what is declared of its tool, and the values to be masked."""

    schema: Schema | None
    declared: tuple[Pattern, ...]
    known: Mapping[str, str]

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
        known: dict[str, str] = {}
        for action in actions:
            known |= masked_args(action.args, schema, declared).known
        return cls(schema, declared, known)

    def action(self, action: Action) -> Action:
        """Return the action with its arguments masked."""
        return action.model_copy(update={"args": masked_args(action.args, self.schema, self.declared).args})

    def masks_of(self, action: Action) -> tuple[Mask, ...]:
        """Return where in the action's arguments something is masked."""
        return masked_args(action.args, self.schema, self.declared).masks

    def decision(self, decision: Decision) -> Decision:
        """Return the decision with its words masked, and the arguments that it edits."""
        if isinstance(decision, Edit):
            return decision.model_copy(update={"edited_action": self.action(decision.edited_action)})
        return masked_model(decision, self.known)

    def entry(self, entry: ContextEntry) -> ContextEntry:
        """Return the entry of the context masked; pictures are as they are."""
        return entry if entry.kind is ContextKind.IMAGE else masked_model(entry, self.known)

    def item(self, item: ReviewItem) -> ReviewItem:
        """Return the item to be read: secrets, personal data and what is declared sensitive are masked throughout."""
        request = item.request
        shown = request.model_copy(
            update={
                "action": self.action(request.action),
                "context": tuple(map(self.entry, request.context)),
                "impact": masked_model(request.impact, self.known),
                **{
                    name: masked_value(getattr(request, name), self.known)
                    for name in ("description", "rationale", "metadata")
                },
            }
        )
        return replace(
            item,
            request=shown,
            draft=self.action(item.draft) if item.draft else None,
            decision=self.decision(item.decision) if item.decision else None,
            outcome=masked_model(item.outcome, self.known),
            reconciliation=masked_model(item.reconciliation, self.known),
        )


def masked_value(value: JsonValue, known: Mapping[str, str]) -> JsonValue:
    """Return a JSON value whose texts are masked, as `masked_text` does it."""
    if isinstance(value, dict):
        return {name: masked_value(member, known) for name, member in value.items()}
    if isinstance(value, list):
        return [masked_value(member, known) for member in value]
    return masked_text(value, known) if isinstance(value, str) else value


def masked_model(value: Model, known: Mapping[str, str]) -> Model:
    """Return a copy of what came over the wire, or what a person said, its texts masked; None stays None."""
    if value is None:
        return value
    told = {
        name: text if name == "type" else _masked_field(text, known)
        for name, text in ((name, getattr(value, name)) for name in type(value).model_fields)
    }
    return value.model_copy(update=told)


def _masked_field(value: object, known: Mapping[str, str]) -> object:
    if isinstance(value, BaseModel):
        return masked_model(value, known)
    if isinstance(value, (dict, list)) or type(value) is str:
        return masked_value(value, known)
    return value


def masked_text(text: str, known: Mapping[str, str]) -> str:
    """Return the text with secrets and personal data masked, and whatever is masked in the arguments (``known``)."""
    for value in sorted(known, key=len, reverse=True):
        text = text.replace(value, known[value])
    return _sifted(text, lambda _, __, ___: None)


def masked_subject(subject: str | None) -> str:
    """Return whom or what an item concerns as a list says it, where the rest of the item is not at hand."""
    return masked_text(subject or "", {})


class _Walk:
    """Goes through arguments beside their schema, and remembers what it masked."""

    def __init__(self, root: Schema, declared: tuple[Pattern, ...]) -> None:
        self.masks: list[Mask] = []
        self.known: dict[str, str] = {}
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
        if isinstance(value, int) and _sifted(str(value), lambda *_: None) == str(value):
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
            if not self.masks or self.masks[-1].place != at:
                self.masks.append(Mask(at, kind))
            self.known[value] = mask

        return _sifted(text, found)

    def _covered(self, value: JsonValue, at: Place) -> str:
        self.masks.append(Mask(at, Kind.DECLARED))
        mask = _mask(Kind.DECLARED, "")
        for text in _texts(value):
            if len(text) >= _SHORTEST_KNOWN:
                self.known[text] = mask
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
# any length is gone through once.
_SECRETS = re.compile(
    r"-----BEGIN [A-Z ]{0,24}PRIVATE KEY-----(?:(?!-----)[\s\S]){0,8192}(?:-----END [A-Z ]{0,24}KEY-----)?"
    r"|\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"  # Amazon
    r"|\bgh[pousr]_[A-Za-z0-9]{36,251}\b|\bgithub_pat_\w{50,251}\b"
    r"|\bglpat-[\w-]{20,64}"  # GitLab
    r"|\bxox[abposr]-[A-Za-z0-9-]{10,250}"  # Slack
    r"|\bhttps://hooks\.slack\.com/services/[\w/]{20,120}"
    r"|\b(?:sk|rk|pk)_(?:live|test)_[A-Za-z0-9]{16,250}"  # Stripe
    r"|\bsk-(?:ant-|proj-|svcacct-)?[\w-]{20,250}"  # OpenAI, Anthropic
    r"|\bAIza[\w-]{35}"  # Google
    r"|\bya29\.[\w-]{20,500}"
    r"|\bSG\.[\w-]{16,64}\.[\w-]{16,64}"  # SendGrid
    r"|\bSK[0-9a-f]{32}\b"  # Twilio
    r"|\bnpm_[A-Za-z0-9]{36}\b|\bpypi-[\w-]{50,250}|\bdop_v1_[0-9a-f]{64}\b|\bhf_[A-Za-z0-9]{30,60}\b"
    r"|\bshp(?:at|ca|pa|ss)_[0-9a-fA-F]{32}\b"  # Shopify
    r"|\bwhsec_[A-Za-z0-9+/=]{16,120}"
    r"|\bsgn_[0-9a-f]{12}_[\w-]{20,120}"  # Our own
    r"|\beyJ[\w-]{8,4096}\.eyJ[\w-]{8,8192}\.[\w-]{8,2048}"  # JSON Web Tokens
    r"|(?<=\bBearer )[\w.~+/=-]{16,4096}|(?<=\bBasic )[A-Za-z0-9+/=]{16,1024}"
    r"|(?<=://)[^\s:/@]{1,128}:[^\s:/@]{1,128}(?=@)"  # User and password in an address
)
_EMAIL = re.compile(r"(?<![\w.%+-])[\w.%+-]{1,64}@(?:[\w-]{1,63}\.){1,8}[A-Za-z]{2,24}\b")
_IBAN = re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b")
_CARD = re.compile(r"(?<![\d.,-])[2-6]\d{3}(?:[ -]?\d){9,15}(?![\d.,]?\d)")
_PHONE = re.compile(r"(?<![\w+])\+[1-9](?:[ ()./-]{0,2}\d){6,13}(?!\d)")

Found = Callable[[Kind, str, str], None]


def _sifted(text: str, found: Found) -> str:
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


# What every text of the form has in it goes before it: most texts need not be gone through.
_FORMS: tuple[tuple[Kind, str, re.Pattern[str], Callable[[str], bool], Callable[[str], str]], ...] = (
    (Kind.SECRET, "", _SECRETS, _always, lambda _: ""),
    (Kind.EMAIL, "@", _EMAIL, _always, lambda text: f"{text[0]}…@{text.rpartition('@')[2]}"),
    (Kind.IBAN, "", _IBAN, _is_iban, lambda text: f"{text[:2]}{_end(text)}"),
    (Kind.CARD, "", _CARD, _is_card, _end),
    (Kind.PHONE, "+", _PHONE, _always, lambda text: f"{text[:3]}{_end(text)[:1]}{_end(text)[-2:]}"),
)
