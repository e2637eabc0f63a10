"""How Streamlit must be set for the console to be safe and to look as it does, wherever a process was started."""

import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from streamlit import config
from streamlit.components.v2 import manifest_scanner

from review.errors import ReviewError

# Streamlit looks for it where the process was started.
_FILE = Path(__file__).resolve().parents[1] / ".streamlit" / "config.toml"
# Each of these lets a program be taken for a person: the agent API presses buttons, and a trusted header names whoever
# the caller says. Whoever turned one on has something in mind that the console cannot give, so it does not start.
_REFUSED = ("server.enableAgentApi", "server.trustedUserHeaders")
_SAFE: dict[str, Any] = {
    "browser.gatherUsageStats": False,
    # Pages of Streamlit's makers may not talk to the console, and it need not look at each message for whether they do.
    "client.allowedOrigins": [],
    "client.showErrorDetails": "none",
    "client.showErrorLinks": False,
    "client.toolbarMode": "minimal",
    "global.developmentMode": False,
    "runner.magicEnabled": False,
    "server.enableCORS": True,
    "server.enableXsrfProtection": True,
    "server.fileWatcherType": "none",
    "server.scriptHealthCheckEnabled": False,
    "server.xsrfCookieSameSite": "strict",
}


class UnsafeSettingError(ReviewError):
    """Streamlit was given a setting with which anybody could act as anybody."""

    code = "unsafe_setting"

    def __init__(self, name: str) -> None:
        super().__init__(
            f"Streamlit's setting {name} is on, and with it a program could press a reviewer's buttons. Take it out of "
            ".streamlit/config.toml, here and in the home folder, then start again."
        )


def settle() -> None:
    """Set what must hold wherever the process was started. Raises UnsafeSettingError for what nobody may turn on."""
    for name in _REFUSED:
        if config.get_option(name):
            raise UnsafeSettingError(name)
    for name, value in {**dict(_options(tomllib.loads(_FILE.read_text()))), **_SAFE}.items():
        config.set_option(name, value)
    # The console's components are its own. Streamlit would read what every installed package says of itself, for most
    # of a second at each start, to serve the files of those that bring one.
    manifest_scanner.scan_component_manifests = lambda max_workers=None: []  # noqa: ARG005 -- Streamlit's signature


def _options(section: Mapping[str, Any], *, of: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in section.items():
        if isinstance(value, dict):
            yield from _options(value, of=f"{of}{name}.")
        else:
            yield f"{of}{name}", value
