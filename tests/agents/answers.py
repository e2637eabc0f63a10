"""What a console would answer, as values: receipts and replies to feed into the steps of client and gate."""

import json
import time
from typing import Any
from uuid import UUID

from joserfc import jws
from joserfc.jwk import OKPKey
from uuid_utils.compat import uuid7

from agents.canonical import action_digest
from agents.client import Exchange, Reply, Run, Steps
from agents.protocol import Args

KEY = OKPKey.generate_key("Ed25519")
OTHER_KEY = OKPKey.generate_key("Ed25519")
ITEM_ID = UUID("01932b5e-7000-7000-8000-000000000001")
TOOL = "refund"
ARGS: Args = {"order_id": "R-1042", "amount": "49.00"}


def key_set(*keys: OKPKey) -> dict[str, Any]:
    """Return the JWK set of these keys, as the console publishes it."""
    public = [dict(key.as_dict(private=False)) for key in keys]
    return {
        "keys": [
            {**each, "kid": key.thumbprint(), "use": "sig", "alg": "Ed25519"}
            for each, key in zip(public, keys, strict=True)
        ]
    }


def claims(**changes: object) -> dict[str, object]:
    """Return the claims of a receipt that permits ``TOOL`` with ``ARGS``, with these changes."""
    now = int(time.time())
    digest = action_digest(TOOL, ARGS)
    usual: dict[str, object] = {
        "iss": "http://console.test",
        "aud": "shopper",
        "sub": str(ITEM_ID),
        "jti": str(uuid7()),
        "iat": now,
        # Some are made when the tests are collected, and run an hour later.
        "exp": now + 6 * 3600,
        "workspace": "default",
        "tool": TOOL,
        "args_digest": digest,
        "original_digest": digest,
        "decision": "approve",
        "reviewers": ["https://id.test#ada"],
        "quorum": 1,
        "policy_version": 1,
        "epoch": 1,
    }
    return {**usual, **changes}


def receipt(key: OKPKey = KEY, *, header: dict[str, object] | None = None, **changes: object) -> str:
    """Return a signed receipt with these changes to its header and claims."""
    usual = {"alg": "Ed25519", "typ": "signoff-receipt+jwt", "kid": key.thumbprint()}
    return jws.serialize_compact(
        {**usual, **(header or {})}, json.dumps(claims(**changes)), key, algorithms=["Ed25519"]
    )


def status(**changes: object) -> dict[str, object]:
    """Return the status of an approved item that waits to be run, with these changes."""
    usual: dict[str, object] = {
        "id": str(ITEM_ID),
        "status": "settled",
        "route": "review",
        "reasons": [],
        "digest": action_digest(TOOL, ARGS),
        "version": 1,
        "decision": {"type": "approve"},
        "receipt": receipt(),
        "execution": "permitted",
        "submitted_at": "2026-11-22T12:00:00Z",
        "expires_at": "2026-11-23T12:00:00Z",
        "policy_version": 1,
    }
    return {**usual, **changes}


def reply(value: object, code: int = 200, *, retry_after: str | None = None) -> Reply:
    """Return the HTTP reply with this JSON body."""
    return Reply(code, json.dumps(value).encode(), retry_after)


def problem(code: int, name: str) -> Reply:
    """Return the HTTP reply of a refusal."""
    body = {"type": "about:blank", "title": name, "status": code, "code": name, "detail": f"Refused: {name}."}
    return reply(body, code)


def taken(steps: Steps[Any], *answers: object) -> tuple[list[object], Any]:
    """Take the steps, answering each with the next answer; return the steps taken and what they came to.

    An answer that is an exception is raised at its step. Raises what the steps raise.
    """
    seen: list[object] = []
    waiting = list(answers)
    step = next(steps)
    try:
        while True:
            seen.append(step)
            answer = waiting.pop(0)
            step = steps.throw(answer) if isinstance(answer, BaseException) else steps.send(answer)
    except StopIteration as done:
        assert not waiting, "not every answer was asked for"
        return seen, done.value


def paths(steps: list[object]) -> list[str]:
    """Return the method and path of each exchange, and "run" for each run."""
    return [
        f"{step.method} {step.path}" if isinstance(step, Exchange) else "run"
        for step in steps
        if isinstance(step, Exchange | Run)
    ]
