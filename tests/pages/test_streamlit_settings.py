"""Streamlit's settings hold wherever the process was started, and the dangerous ones keep it from starting."""

import http.client
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from streamlit import config
from streamlit.components.v2 import manifest_scanner

from pages.headers import HEADERS, HTTPS_ONLY, SecurityHeaders, broken
from pages.streamlit_settings import UnsafeSettingError, settle
from tests.console import serving

ROOT = Path(__file__).parents[2]
ASKED = """
import sys; sys.path.insert(0, {root!r})
from streamlit import config
from app import make_app, open_house
from review.settings import Settings
with open_house(Settings()) as house:
    make_app(house)
    names = ("client.showErrorDetails", "browser.gatherUsageStats", "theme.font", "theme.dark.primaryColor")
    assert not sys.modules.keys() & {{"prompt_toolkit", "rich"}}, "a command line was imported"
    assert config.get_option("client.allowedOrigins") == [], "others may send the console messages"
    print([config.get_option(name) for name in names], len(config.get_option("theme.fontFaces")))
"""


@pytest.fixture(autouse=True)
def _settings_stay_with_the_test() -> Iterator[None]:
    names = ("server.enableAgentApi", "server.trustedUserHeaders")
    before = {name: config.get_option(name) for name in names}
    yield
    for name, value in before.items():
        config.set_option(name, value)


def started(folder: Path, *, cwd: Path | None = None) -> "subprocess.CompletedProcess[str]":
    own = {"HOME": str(folder / "home"), "SIGNOFF_DATA_DIR": str(folder / "data")}
    command = [sys.executable, "-c", ASKED.format(root=str(ROOT))]
    return subprocess.run(
        command, cwd=cwd or folder, env=os.environ | own, capture_output=True, text=True, timeout=120, check=False
    )


def test_a_console_started_elsewhere_tells_no_details_and_nobody_and_looks_the_same(tmp_path: Path) -> None:
    answer, at_home = started(tmp_path), started(tmp_path, cwd=ROOT)

    assert answer.stdout.startswith("['none', False, 'Geist, sans-serif', '#"), answer.stderr
    assert answer.stdout == at_home.stdout


def test_a_view_may_choose_for_a_widget_that_has_a_default_without_a_stack_in_the_log() -> None:
    settle()

    assert config.get_option("global.disableWidgetStateDuplicationWarning")


def test_no_other_package_brings_components_into_the_console(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifest_scanner, "scan_component_manifests", manifest_scanner.scan_component_manifests)

    settle()

    assert manifest_scanner.scan_component_manifests() == []


@pytest.mark.parametrize(
    ("where", "written"), [("", "enableAgentApi = true"), ("home", '[server.trustedUserHeaders]\nX-User = "email"')]
)
def test_a_console_that_would_let_programs_press_does_not_start(tmp_path: Path, where: str, written: str) -> None:
    place = tmp_path / where / ".streamlit"
    place.mkdir(parents=True)
    (place / "config.toml").write_text(f"[server]\n{written}\n")

    answer = started(tmp_path)

    assert answer.returncode == 1
    assert "UnsafeSettingError: Streamlit's setting server." in answer.stderr


def test_a_refusal_names_the_setting() -> None:
    config.set_option("server.trustedUserHeaders", {"X-User": "email"})

    with pytest.raises(UnsafeSettingError, match=r"Streamlit's setting server\.trustedUserHeaders is on"):
        settle()


@pytest.mark.parametrize("is_https", [True, False])
def test_https_is_to_stay_https(is_https: bool) -> None:  # noqa: FBT001 -- a parameter of the test
    async def hello(_: Request) -> Response:
        return PlainTextResponse("hello")

    app = Starlette(routes=[Route("/", hello)], middleware=[Middleware(SecurityHeaders, is_https=is_https)])

    with serving(app) as url, urllib.request.urlopen(url) as answer:  # noqa: S310 -- our own address
        told = answer.headers.get("Strict-Transport-Security")

    assert told == (HTTPS_ONLY["Strict-Transport-Security"] if is_https else None)


def test_a_failure_is_answered_without_a_word_of_it() -> None:
    async def fail(_: Request) -> Response:
        msg = "secret of the house"
        raise RuntimeError(msg)

    app = Starlette(
        routes=[Route("/", fail)],
        middleware=[Middleware(SecurityHeaders, is_https=False)],
        exception_handlers={Exception: broken},
    )

    with serving(app) as url:
        connection = http.client.HTTPConnection(url.removeprefix("http://"))
        connection.request("GET", "/")
        answer = connection.getresponse()
        body = answer.read().decode()
        connection.close()

    assert (answer.status, "secret" in body) == (500, False)
    assert {name: answer.headers[name] for name in HEADERS} == HEADERS
