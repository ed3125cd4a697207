"""The account on disk: a snapshot now and then, and a line for every change in between.

A line holds the new state of what changed (orders, legs, balances, counters, the postings and
fills that were added), so reading needs no replay of the market: the snapshot and the lines of its
generation, in order, give the account as it was. A line that was cut off by a crash is the last
one and is left out: its request was never answered.
"""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from paper.events import Event
from paper.state import State

_SCALARS = (
    "now_ms",
    "dual_side",
    "next_order_id",
    "next_algo_id",
    "next_queue",
    "next_serial",
    "listen_key",
    "listen_key_until_ms",
    "countdowns",
    "warned",
    "options",
)


class Journal:
    """The file beside the snapshot: `<name>.journal`."""

    def __init__(self, snapshot: Path) -> None:
        self.path = snapshot.with_name(snapshot.name + ".journal")
        self._file = -1
        self._entries = 0
        self._fills = 0
        self._failure: OSError | None = None
        self.size = 0

    def begin(self, generation: int, state: State) -> None:
        """Start anew behind a snapshot that has just been written."""
        self.close()
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND
        self._file = os.open(self.path, flags, 0o600)
        self._failure = None
        self._entries, self._fills = len(state.books.entries), len(state.books.fills)
        self.size = 0
        self._write({"generation": generation})

    def append(self, state: State, events: Iterable[Event], symbols: Iterable[str]) -> None:
        """Write down what these account events changed; `symbols`: also whose settings did.

        Raises:
            OSError: the disk did not take it, now or earlier; only a new snapshot helps.
        """
        if self._file < 0:
            return
        orders, algos, touched = _touched(events)
        touched |= {symbol for symbol in symbols if symbol in state.markets}
        books = state.books
        line: dict[str, Any] = {name: getattr(state, name) for name in _SCALARS}
        line["orders"] = [state.orders[one] for one in sorted(orders)]
        line["algos"] = [state.algos[one] for one in sorted(algos)]
        line["markets"] = {symbol: state.markets[symbol] for symbol in sorted(touched)}
        line["legs"] = {symbol: books.legs[symbol] for symbol in sorted(touched)}
        line["balances"] = books.balances
        line["entries"] = books.entries[self._entries :]
        line["fills"] = books.fills[self._fills :]
        self._entries, self._fills = len(books.entries), len(books.fills)
        self._write(line)

    def sync(self) -> None:
        """Make sure that what was written survives a loss of power too; raises like `append`."""
        if self._failure is not None:
            raise self._failure
        if self._file >= 0:
            os.fsync(self._file)

    def close(self) -> None:
        """Let go of the file."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def read_into(self, snapshot: dict[str, Any]) -> int:
        """Bring a snapshot up to date; return how many lines it took."""
        try:
            # a loss of power leaves zeros where the file had grown and nothing was written yet
            written = self.path.read_bytes().partition(b"\0")[0]
        except FileNotFoundError:
            return 0
        lines = written.split(b"\n")[:-1]  # after the last line break: nothing, or a line cut off
        if not lines or msgspec.json.decode(lines[0]).get("generation") != snapshot["generation"]:
            return 0  # not begun, or of an older snapshot; the snapshot holds it all
        for text in lines[1:]:
            _apply(snapshot["state"], msgspec.json.decode(text))
        return len(lines) - 1

    def _write(self, line: dict[str, Any]) -> None:
        # the same form as in the snapshot: amounts as text, keys of objects as text
        plain = msgspec.to_builtins(line, str_keys=True)
        data = msgspec.json.encode(plain) + b"\n"
        if self._failure is not None:
            raise self._failure
        try:
            left = memoryview(data)
            while left:  # a disk that is nearly full takes a part
                left = left[os.write(self._file, left) :]
        except OSError as error:
            self._failure = error
            raise
        self.size += len(data)


def _touched(events: Iterable[Event]) -> tuple[set[int], set[int], set[str]]:
    """Return the orders, conditional orders and symbols that account events speak of."""
    orders: set[int] = set()
    algos: set[int] = set()
    symbols: set[str] = set()
    for event in events:
        match event.stream:
            case "ORDER_TRADE_UPDATE":
                orders.add(event.data["o"]["i"])
                symbols.add(event.data["o"]["s"])
            case "ALGO_UPDATE":
                algos.add(event.data["o"]["aid"])
            case "ACCOUNT_UPDATE":
                symbols |= {row["s"] for row in event.data["a"]["P"]}
                symbols |= {event.data["a"]["S"]} if "S" in event.data["a"] else set()
            case "ACCOUNT_CONFIG_UPDATE":
                symbols.add(event.data["ac"]["s"])
    return orders, algos, symbols


def _apply(state: dict[str, Any], line: dict[str, Any]) -> None:
    for name in _SCALARS:
        state[name] = line[name]
    for order in line["orders"]:
        state["orders"][str(order["order_id"])] = order
    for algo in line["algos"]:
        state["algos"][str(algo["algo_id"])] = algo
    state["markets"] |= line["markets"]
    books = state["books"]
    books["legs"] |= line["legs"]
    books["balances"] = line["balances"]
    books["entries"] += line["entries"]
    books["fills"] += line["fills"]
