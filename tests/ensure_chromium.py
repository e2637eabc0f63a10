"""The Chromium that the browser tests drive: found on this machine, or installed when this file is run."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
# Playwright's own Chromium stands inside the virtual environment: nothing else of the machine is touched.
DOWNLOADS = Path(sys.prefix) / "browsers"
ENVIRONMENT = {**os.environ, "PLAYWRIGHT_BROWSERS_PATH": str(DOWNLOADS)}
PLAYWRIGHT = (sys.executable, "-m", "playwright")
OWN_PATH = """
from playwright.sync_api import sync_playwright
with sync_playwright() as playwright:
    print(playwright.chromium.executable_path)
"""


class ChromiumMissingError(Exception):
    """No Chromium on this machine starts."""

    def __init__(self) -> None:
        super().__init__(
            "The browser tests need a Chromium that starts, and there is none. "
            "Install one so that `chromium --version` answers (on Debian: apt install chromium), "
            "or say where it is in SIGNOFF_CHROMIUM."
        )


@cache
def chromium_path() -> str:
    """Return the path of a Chromium that starts on this machine.

    Raises:
        ChromiumMissingError: none is there; run this file to install one.
    """
    for path in _candidates():
        if _starts(path):
            return path
    raise ChromiumMissingError


def install() -> None:
    """Install a Chromium: from the system's packages where we may, else Playwright's own."""
    if os.name == "posix" and os.geteuid() == 0 and shutil.which("apt-get"):
        quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        _run("apt-get", "update", "-qq", environment=quiet)
        _run("apt-get", "install", "-y", "-qq", "--no-install-recommends", "chromium", environment=quiet)
        if any(_starts(path) for path in _candidates()):
            return
    _run(*PLAYWRIGHT, "install", "chromium", environment=ENVIRONMENT)


def _candidates() -> Iterator[str]:
    if "SIGNOFF_CHROMIUM" in os.environ:
        yield os.environ["SIGNOFF_CHROMIUM"]
        return
    yield from (path for name in NAMES if (path := shutil.which(name)))
    if DOWNLOADS.is_dir():
        # Asked in a program of its own, because a test may already be holding Playwright's one loop.
        answer = subprocess.run(
            [sys.executable, "-c", OWN_PATH], env=ENVIRONMENT, capture_output=True, text=True, check=False
        )
        if answer.returncode == 0:
            yield answer.stdout.strip()


def _starts(path: str) -> bool:
    try:
        answer = subprocess.run([path, "--version"], capture_output=True, timeout=120, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return answer.returncode == 0


def _run(*command: str, environment: dict[str, str]) -> None:
    print("$", *command, flush=True)
    subprocess.run(command, env=environment, check=False)


def main() -> int:
    """Find Chromium, or install it; return 0 once it is there."""
    is_named = "SIGNOFF_CHROMIUM" in os.environ
    if not is_named and not any(_starts(path) for path in _candidates()):
        install()
    try:
        print(f"Chromium: {chromium_path()}")
    except ChromiumMissingError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
