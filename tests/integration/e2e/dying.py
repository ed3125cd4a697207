"""Run a program of ours that tells every point it passes, and dies (or freezes) at one of them.

    python dying.py FOLDER monitor ws_monitor_async.py …

Points lie before and after every commit, before, inside and after every request to the exchange,
and at both ends of every flow and task. The program itself knows nothing of it. They are told as
lines of FOLDER/points-monitor.jsonl; FOLDER/order.json says where to die, see `Order`.
"""

import asyncio
import functools
import inspect
import json
import os
import runpy
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextvars import ContextVar
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

CLOCK_FILE = "clock"
ROOT = Path(__file__).resolve().parents[3]
_HELD_WITHIN_S = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What a harness tells its programs, by a file.

    Attributes:
        turn: points are counted anew for each.
        program: who is meant.
        point: the moment and what it is about, as a shell pattern; empty: nobody dies.
        number: at which such point of this turn.
        signal: what the program sends itself.
    """

    turn: int
    program: str = ""
    point: str = ""
    number: int = 1
    signal: int = 9

    def give(self, folder: Path) -> None:
        """Let the programs of this folder know, all at once."""
        write_whole(folder / "order.json", json.dumps(asdict(self)))


def write_whole(file: Path, text: str) -> None:
    """Write a file so that who reads it sees all of it, or what was there before."""
    new = file.with_name(f"{file.name}.new")
    new.write_text(text)
    new.replace(file)


class Points:
    """Where this process stands, and whether it has to die there."""

    def __init__(self, folder: Path, program: str) -> None:
        self._file = folder / "order.json"
        self._told = (folder / f"points-{program}.jsonl").open("a", buffering=1)
        self._program = program
        self._order = Order(turn=0)
        self._counts: Counter[str] = Counter()

    def reached(self, moment: str, *about: str) -> None:
        """Tell this point; it may be the last."""
        if self.is_chosen(moment, *about):
            self.die()

    def is_chosen(self, moment: str, *about: str) -> bool:
        """Tell this point; return whether it is to be the last."""
        points = [f"{moment} {what}" for what in about]
        self._read_order()
        self._counts.update(points)
        told = [(point, self._counts[point]) for point in points]
        self._told.write(json.dumps({"turn": self._order.turn, "points": told}) + "\n")
        order = self._order
        if order.program not in ("", self._program) or not order.point:
            return False
        return any(n == order.number and fnmatchcase(point, order.point) for point, n in told)

    def die(self) -> None:
        """Do what was ordered; the order is used up by it."""
        self._file.unlink()
        number, self._order = self._order.signal, Order(turn=self._order.turn)
        os.kill(os.getpid(), number)

    def _read_order(self) -> None:
        try:
            order = Order(**json.loads(self._file.read_text()))
        except FileNotFoundError:
            return
        if order != self._order:
            if order.turn != self._order.turn:
                self._counts.clear()
            self._order = order


def main() -> None:
    """Put the points in, then become the program."""
    folder, program, script = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    sys.path[0] = str(ROOT)
    become(script, sys.argv[4:], folder=folder, program=program)


def become(script: str, arguments: Sequence[str], *, folder: Path, program: str) -> None:
    """Run a script of ours as this process, with its points."""
    points = Points(folder, program)
    _mark_commits(points)
    _mark_requests(points)
    _mark_flows(points)
    _step_clock(folder / CLOCK_FILE)
    sys.argv = [script, *arguments]
    runpy.run_path(str(ROOT / script), run_name="__main__")


# --- Commits ---

_written: ContextVar[Callable[[], Sequence[str]] | None] = ContextVar("written", default=None)


def _mark_commits(points: Points) -> None:
    """Put points around what every transaction of ours ends in, whoever began it."""
    from sqlalchemy.engine.default import DefaultDialect

    from core.clients.sql_store import SqlCycleStore

    def marked(commit: Callable[..., None]) -> Callable[..., None]:
        def do_commit(dialect: Any, connection: Any) -> None:
            named = _written.get()
            about = ("something",) if named is None else named()
            points.reached("before commit of", *about)
            commit(dialect, connection)
            points.reached("after commit of", *about)

        return do_commit

    _wrap(DefaultDialect, "do_commit", marked)
    for name, method in inspect.getmembers(SqlCycleStore, inspect.iscoroutinefunction):
        if not name.startswith("_") and name != "update":
            setattr(SqlCycleStore, name, _named(name, method))
    _wrap(SqlCycleStore, "update", _named_by_step)


def _wrap(owner: type, name: str, wrapper: Callable[[Any], Any]) -> None:
    setattr(owner, name, wrapper(getattr(owner, name)))


def _named(name: str, method: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    @functools.wraps(method)
    async def wrapped(*args: Any, **kwargs: Any) -> Any:
        if _written.get() is not None:  # a part of what another method writes
            return await method(*args, **kwargs)
        before = _written.set(lambda: (name,))
        try:
            return await method(*args, **kwargs)
        finally:
            _written.reset(before)

    return wrapped


def _named_by_step(update: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    @functools.wraps(update)
    async def wrapped(store: Any, cycle_id: int, step: Any, *, lease: Any) -> Any:
        taken: list[Any] = []

        def noted(cycle: Any) -> Any:
            taken.append(step(cycle))
            return taken[-1]

        before = _written.set(lambda: changes_of(taken[-1]))
        try:
            return await update(store, cycle_id, noted, lease=lease)
        finally:
            _written.reset(before)

    return wrapped


def changes_of(step: Any) -> tuple[str, ...]:
    """Return what a step changes, each in a few words that are the same in every run."""
    known = {order.client_order_id: order for order in step.before.orders}
    found: list[str] = []
    for order in step.cycle.orders:
        found += _order_changes(known.get(order.client_order_id), order)
    if step.cycle.phase is not step.before.phase:
        found.append(f"phase {step.cycle.phase}")
    if step.cycle.trailing_stop != step.before.trailing_stop:
        found.append(f"trailing stop {step.cycle.trailing_stop}")
    return tuple(found) or tuple(sorted({type(fact).__name__ for fact in step.facts}))


def _order_changes(was: Any, order: Any) -> list[str]:
    name, found = short(order.client_order_id), []
    if order.request != "none" and (was is None or was.requested_at_ms != order.requested_at_ms):
        found.append(f"{name} {order.request} wanted")
    if was is None:
        return found or [f"{name} seen"]
    if order.executed != was.executed:
        found.append(f"{name} executed {order.executed:f}")
    if order.status is not was.status:
        found.append(f"{name} {order.status}")
    elif was.request != "none" and order.request == "none":
        found.append(f"{name} {was.request} answered")
    if order.is_triggered and not was.is_triggered:
        found.append(f"{name} triggered")
    return found


def short(client_order_id: str) -> str:
    """Return an order's name without what differs from run to run: tb-<key>-lv1-1 is lv1-1."""
    return client_order_id.split("-", 2)[-1]


# --- Requests ---

_request: ContextVar[tuple[str, bool] | None] = ContextVar("request", default=None)


def _mark_requests(points: Points) -> None:
    """Put points around every request, and two inside: the exchange has it, or takes it later."""
    import aiohttp

    from core.clients.binance_rest import BinanceRest

    _wrap(BinanceRest, "_exchange", functools.partial(_around_request, points))
    _wrap(aiohttp.ClientResponse, "start", functools.partial(_inside_request, points))


def _around_request(points: Points, exchange: Callable[..., Awaitable[Any]]) -> Any:
    async def wrapped(rest: Any, call: Any, timestamp_ms: int) -> Any:
        about = _named_call(call)
        points.reached("before", about)
        is_held = call.changes and points.is_chosen("on its way:", about)
        if is_held:
            _hold(call)
        before = _request.set((about, is_held))
        try:
            answer = await exchange(rest, call, timestamp_ms)
        finally:
            _request.reset(before)
        points.reached("after", about)
        return answer

    return wrapped


def _inside_request(points: Points, start: Callable[..., Awaitable[Any]]) -> Any:
    """Wrap what waits for the first byte of an answer: the request is written by then."""

    async def wrapped(response: Any, connection: Any) -> Any:
        request = _request.get()
        if request is not None:
            about, is_held = request
            is_chosen = points.is_chosen("unheard:", about)
            if is_chosen or is_held:
                for _ in range(5):  # until the loop has handed it to the socket
                    await asyncio.sleep(0)
            if is_held:
                _wait_held()
            if is_chosen or is_held:
                points.die()
        return await start(response, connection)

    return wrapped


def _named_call(call: Any) -> str:
    order = _order_name(call)
    return f"{call.method.upper()} {call.path}" + (f" {short(order)}" if order else "")


def _order_name(call: Any) -> str:
    for name in ("newClientOrderId", "origClientOrderId", "clientAlgoId"):
        if name in call.parameters:
            return str(call.parameters[name])
    return ""


def _hold(call: Any) -> None:
    """Have the exchange keep this request until it is told to go on."""
    fault = {
        "action": "hold",
        "when": "before",
        "method": call.method.upper(),
        "path": call.path,
        "client_id": _order_name(call),
    }
    _control("faults", fault)


def _wait_held() -> None:
    deadline = time.monotonic() + _HELD_WITHIN_S
    while not _control("faults", None)["held"]:
        assert time.monotonic() < deadline, "the exchange does not hold the request"
        time.sleep(0.005)


def _control(path: str, body: object) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{os.environ['PAPER_URL']}/paper/{path}", data=data)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=_HELD_WITHIN_S) as answer:
        return json.load(answer)


# --- The machine's clock ---


def _step_clock(file: Path) -> None:
    """Have this process and SQLite see a clock that is as far off as the file says."""
    from sqlalchemy import event
    from sqlalchemy.pool import Pool

    def off_s() -> int:
        try:
            return int(file.read_text())
        except FileNotFoundError:
            return 0

    now, now_ns = time.time, time.time_ns
    time.time = lambda: now() + off_s()
    time.time_ns = lambda: now_ns() + off_s() * 10**9

    @event.listens_for(Pool, "connect")
    def _connected(connection: Any, _: Any) -> None:
        if hasattr(connection, "create_function"):
            connection.create_function("julianday", 1, lambda text: _julian_day(text, time.time()))


def _julian_day(text: str, now_s: float) -> float:
    """Return what SQLite's own function says; ours is asked for nothing but the present."""
    assert text == "now", text
    return now_s / 86_400 + 2440587.5


# --- Flows ---


def _mark_flows(points: Points) -> None:
    """Put points at both ends of every flow and every task."""
    from flows.runtime import InlineFlow, InlineTask

    for kind in (InlineFlow, InlineTask):
        _wrap(kind, "_run", functools.partial(_marked, points))


def _marked(points: Points, run: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    async def wrapped(unit: Any, *args: Any, **kwargs: Any) -> Any:
        about = [f"{unit.name}{what}" for what in _subjects(args)]
        points.reached("begin of", *about)
        result = await run(unit, *args, **kwargs)
        points.reached("end of", *about)
        return result

    return wrapped


def _subjects(arguments: Sequence[Any]) -> Sequence[str]:
    """Return what a flow or task for a desk is about: each of its facts, or its order."""
    if len(arguments) < 2 or type(arguments[0]).__name__ != "Desk":
        return ("",)
    if isinstance(arguments[1], tuple):
        return tuple(dict.fromkeys(_fact_name(fact) for fact in arguments[1]))
    return (f" {arguments[1].request} {short(arguments[1].client_order_id)}",)


def _fact_name(fact: Any) -> str:
    order: str = getattr(fact, "client_order_id", "")
    return f" {type(fact).__name__}" + (f" {short(order)}" if order else "")


if __name__ == "__main__":
    main()
