"""How tests wait for what another thread or process does: on the effect itself, as long as a busy machine needs."""

import time
from collections.abc import Callable

PATIENCE_SECONDS = 120.0

_LOOK_EVERY_SECONDS = 0.01


def eventually(holds: Callable[[], bool]) -> bool:
    """Return as soon as it holds, True; False only where it does not for longer than any machine takes."""
    until = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        if time.monotonic() > until:
            return False
        time.sleep(_LOOK_EVERY_SECONDS)
    return True
