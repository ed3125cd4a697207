"""Run a program of ours that kills itself at a request of the exchange, when told to.

    python dying.py ORDERS main.py …

ORDERS is a file that a test writes while the program runs: {"call": "place", "order": "-cl0-",
"when": "before"}. It is used up by the call that it hits.
"""

import json
import os
import runpy
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]
CALLS = ("place", "amend", "cancel")


def main() -> None:
    """Patch the gateway, then become the program."""
    orders, program = Path(sys.argv[1]), sys.argv[2]
    sys.path[0] = str(ROOT)
    sys.argv = sys.argv[2:]

    from core.clients.binance import BinanceGateway

    for call in CALLS:
        original = getattr(BinanceGateway, call)
        setattr(BinanceGateway, call, _mortal(call, original, orders))
    runpy.run_path(program, run_name="__main__")


def _mortal(
    call: str, original: Callable[..., Awaitable[Any]], orders: Path
) -> Callable[..., Awaitable[Any]]:
    async def wrapped(gateway: Any, symbol: str, order: Any) -> Any:
        when = _told(orders, call, order.client_order_id)
        if when == "before":
            _die(orders)
        answer = await original(gateway, symbol, order)
        if when == "after":
            _die(orders)
        return answer

    return wrapped


def _told(orders: Path, call: str, client_order_id: str) -> str | None:
    if not orders.exists():
        return None
    told = json.loads(orders.read_text())
    is_meant = told["call"] == call and told["order"] in client_order_id
    return told["when"] if is_meant else None


def _die(orders: Path) -> None:
    orders.unlink()
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main()
