"""``python -m agents.demo``: the four agents of the demo house at work against a running console."""

import argparse
import json
import logging
import os
import signal
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from threading import Event, Lock
from time import monotonic
from types import FrameType

from ..gate import Gate
from .cases import examples
from .classifier import trained
from .house import AGENT_NAMES
from .minds import ChatMind, ClassifierMind, Mind, named_chat_model
from .store import HouseError, HouseStore
from .tools import house_tools
from .worker import Agent, Worker

DEFAULT_URL = "http://127.0.0.1:8501"
CASES_PER_MINUTE = 10.0
SECONDS_FOR_KEYS = 60
SECONDS_TO_END = 3.0


class NoKeysError(HouseError):
    """The console has not written the agents' keys where they were looked for."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            f"There are no agents' keys in {path}. Start the console with SIGNOFF_DEMO=1, which writes them "
            "there, or name the file with --keys."
        )


def main() -> int:
    """Run the agents until they are stopped or have seen their number of cases; return the exit code."""
    options = _options()
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(name)s %(message)s")
    stop = Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, partial(_stop, stop))
    workers: list[Worker] = []
    try:
        _wait_for_keys(options.keys, stop)
        for name in AGENT_NAMES:
            if not stop.is_set():
                # An agent begins as soon as its own classifier is there; the others learn meanwhile.
                workers.append(_worker(name, options, stop))
                workers[-1].start()
    except HouseError as error:
        print(error, file=sys.stderr)
        return 2
    while any(worker.is_at_work() for worker in workers) and not stop.wait(0.5):
        pass
    stop.set()
    by = monotonic() + SECONDS_TO_END
    for worker in workers:
        worker.close(by=by)
    return 0


def _options() -> argparse.Namespace:
    data = Path(os.environ.get("SIGNOFF_DATA_DIR", "data"))
    parser = argparse.ArgumentParser(prog="python -m agents.demo", description=__doc__)
    parser.add_argument("--url", default=os.environ.get("SIGNOFF_URL", DEFAULT_URL), help="where the console is")
    parser.add_argument("--data", type=Path, default=data, help="the folder of the house's records and classifiers")
    parser.add_argument("--keys", type=Path, help="JSON of each agent's key (default: demo_keys.json in that folder)")
    parser.add_argument("--rate", type=_above_zero, default=CASES_PER_MINUTE, help="new cases a minute for each agent")
    parser.add_argument("--cases", type=int, help="how many cases each agent takes (default: no end)")
    options = parser.parse_args()
    options.keys = options.keys or options.data / "demo_keys.json"
    return options


def _above_zero(text: str) -> float:
    number = float(text)
    if not 0 < number < float("inf"):
        message = "must be above zero"
        raise argparse.ArgumentTypeError(message)
    return number


def _stop(stop: Event, _signal: int, _frame: FrameType | None) -> None:
    stop.set()


def _keys(path: Path) -> dict[str, str]:
    try:
        keys = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return {}
    return {str(agent): str(key) for agent, key in keys.items()} if isinstance(keys, dict) else {}


def _wait_for_keys(path: Path, stop: Event) -> None:
    if not path.exists():
        print(f"Waiting for the console to write the agents' keys to {path}.", flush=True)
    for _ in range(SECONDS_FOR_KEYS * 2):
        if _keys(path).keys() >= set(AGENT_NAMES) or stop.wait(0.5):
            return
    raise NoKeysError(path)


def _open_gate(options: argparse.Namespace, agent: str) -> Gate:
    return Gate(options.url, _keys(options.keys).get(agent, ""))


def _worker(name: str, options: argparse.Namespace, stop: Event) -> Worker:
    folder = options.data / "demo"
    store = HouseStore(folder / "house.sqlite")
    tools = house_tools(name, store)
    agent = Agent(name, _mind(name, store, folder=folder), tools, store, gate=partial(_open_gate, options, name))
    return Worker(agent, seconds_between=60 / options.rate, limit=options.cases, say=_printer(), stop=stop)


def _mind(name: str, store: HouseStore, *, folder: Path) -> Mind:
    model = os.environ.get("SIGNOFF_DEMO_MODEL")
    if model:
        return ChatMind(named_chat_model(model), name, store, tools=list(house_tools(name, store).values()))
    return ClassifierMind(trained(name, examples(name), folder=folder), store)


_PRINTING = Lock()


def _printer() -> Callable[[str], None]:
    def say(line: str) -> None:
        with _PRINTING:
            print(line, flush=True)

    return say


if __name__ == "__main__":
    sys.exit(main())
