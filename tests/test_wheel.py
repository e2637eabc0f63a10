"""The distribution that an agent installs: `agents/` alone, under the name signoff, with no more than it declares."""

import json
import os
import subprocess
import sys
import venv
import zipfile
from collections.abc import Iterator
from contextlib import closing
from importlib.metadata import Distribution, PathDistribution, distribution
from pathlib import Path
from shutil import copy, copytree, ignore_patterns

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from agents.protocol import Approve, Execution
from db.store import open_store
from review.desk import Seen
from review.items import ReviewItem
from tests.console import Console, served
from tests.review.steps import items
from tests.waiting import PATIENCE_SECONDS, eventually

ROOT = Path(__file__).parents[1]

AGENT = """
import importlib.util, json, sys
from langchain_core.tools import tool
import signoff
from signoff import Gate

runs = []

@tool
def refund_order(order_id: str, amount: str) -> str:
    "Refund an order."
    runs.append({"order_id": order_id, "amount": amount})
    return f"Refunded {amount} on {order_id}."

with Gate(sys.argv[1], sys.argv[2], timeout=120) as gate:
    guarded = gate.guard(refund_order, confidence=0.62)
    answer = guarded.invoke({"order_id": "A-1001", "amount": "49.90"})

known = [name for name in ("agents", "review", "db", "pages", "app", "streamlit", "fastapi", "sqlalchemy")
         if importlib.util.find_spec(name)]
print(json.dumps({"runs": runs, "answer": answer, "home": signoff.__file__, "known": known}))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy, because building leaves its traces beside the sources."""
    source, dist = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("dist")
    copytree(ROOT / "agents", source / "agents", ignore=ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "LICENSE", "README.md"):
        copy(ROOT / name, source)
    pip("wheel", str(source), "--no-deps", "--no-index", "--no-build-isolation", "--wheel-dir", str(dist))
    (built,) = dist.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment with the wheel, and what it declares to need, and nothing else."""
    home = tmp_path_factory.mktemp("bare")
    venv.create(home, with_pip=False)
    executable = home / "bin" / "python"
    pip("--python", str(executable), "install", str(wheel), "--no-deps", "--no-index")
    (packages,) = (home / "lib").glob("python*/site-packages")
    (installed,) = packages.glob("signoff-*.dist-info")
    for needed in closure(PathDistribution(installed)):
        for name in {file.parts[0] for file in needed.files or ()} - {"..", "__pycache__"}:
            link = packages / name
            if not link.exists():
                link.symlink_to(Path(str(needed.locate_file(name))).resolve())
    return executable


def pip(*words: str) -> None:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr


def closure(of: Distribution) -> Iterator[Distribution]:
    """Yield what the distribution needs, and what that needs, as it is installed here."""
    seen: set[str] = set()
    waiting: list[tuple[Distribution, frozenset[str]]] = [(of, frozenset())]
    while waiting:
        current, extras = waiting.pop()
        for requirement in map(Requirement, current.requires or ()):
            name = canonicalize_name(requirement.name)
            is_wanted = not requirement.marker or any(
                requirement.marker.evaluate({"extra": extra}) for extra in extras | {""}
            )
            if is_wanted and name not in seen:
                seen.add(name)
                found = distribution(name)
                waiting.append((found, frozenset(requirement.extras)))
                yield found


def next_item(console: Console, agent: "subprocess.Popen[str]") -> ReviewItem:
    assert eventually(lambda: bool(items(console)) or agent.poll() is not None), "the agent submitted nothing"
    item = console.desk.claim(console.person)
    assert item is not None, agent.communicate()
    return item


def test_the_wheel_holds_the_agents_side_alone(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as opened:
        names = opened.namelist()

    assert {name.partition("/")[0] for name in names} == {"signoff", f"{wheel.name.split('-py3')[0]}.dist-info"}
    expected = {path.relative_to(ROOT / "agents") for path in (ROOT / "agents").glob("*.py")}
    assert expected | {Path("py.typed"), Path("demo/__init__.py")} <= {
        Path(name).relative_to("signoff") for name in names if name.startswith("signoff/")
    }
    assert any(name.startswith("signoff/demo/data/") for name in names)


def test_a_guarded_tool_runs_once_from_a_bare_environment(python: Path, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'signoff.db'}"
    with closing(open_store(url)) as store, served(Console(store)) as console:
        agent = subprocess.Popen(
            [python, "-I", "-W", "error", "-c", AGENT, console.url, console.agent_key("shopper")],
            cwd=tmp_path,
            env={"PATH": os.environ["PATH"]},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        with agent:
            try:
                item = next_item(console, agent)
                console.desk.decide(item.id, Approve(), console.person, seen=Seen.of(item))
                out, errors = agent.communicate(timeout=PATIENCE_SECONDS)
            finally:
                agent.kill()
        (kept,) = items(console)

    assert (agent.returncode, errors) == (0, "")
    told = json.loads(out)
    assert told["runs"] == [{"order_id": "A-1001", "amount": "49.90"}]
    assert told["answer"] == "Refunded 49.90 on A-1001."
    assert Path(told["home"]).is_relative_to(python.parents[1])
    assert told["known"] == []
    assert kept.execution is Execution.SUCCEEDED
