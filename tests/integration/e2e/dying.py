"""Run a program of ours that kills (or freezes) itself at a request to the exchange, when told to.

    python dying.py ORDERS main.py …

ORDERS is a file that a test writes while the program runs: {"call": "place", "order": "-cl0-",
"when": "before", "signal": 9}. It is used up by the call that it hits.
"""

import json
import os
import runpy
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
        told = _told(orders, call, order.client_order_id)
        if told.get("when") == "before":
            _suffer(orders, told["signal"])
        answer = await original(gateway, symbol, order)
        if told.get("when") == "after":
            _suffer(orders, told["signal"])
        return answer

    return wrapped


def _told(orders: Path, call: str, client_order_id: str) -> dict[str, Any]:
    if not orders.exists():
        return {}
    told: dict[str, Any] = json.loads(orders.read_text())
    return told if told["call"] == call and told["order"] in client_order_id else {}


def _suffer(orders: Path, number: int) -> None:
    orders.unlink()
    os.kill(os.getpid(), number)


if __name__ == "__main__":
    main()
