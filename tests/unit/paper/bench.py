"""A world with a clock of its own and short words for what tests do to it."""

from decimal import Decimal
from typing import Any

from paper.world import Answer, World

START_MS = 1_790_000_000_000
BTC = "BTCUSDT"


class Bench:
    """One world; every call passes a second, and the books are checked after each."""

    def __init__(self, *, price: str | None = "60000", symbol: str = BTC, **options: Any) -> None:
        self.now_ms = START_MS
        self.symbol = symbol
        self.world = World(now_ms=START_MS, **options)
        self.events: list[Any] = []  # objects, and lists of them on streams of all symbols
        if price is not None:
            self.trade(price)

    def trade(self, price: str, quantity: str = "1000", *, buyer_maker: bool = False) -> None:
        """Let the market trade."""
        self.now_ms += 1000
        self.world.trade(
            self.symbol,
            Decimal(price),
            Decimal(quantity),
            is_buyer_maker=buyer_maker,
            time_ms=self.now_ms,
            now_ms=self.now_ms,
        )
        self._settle()

    def ask(self, method: str, path: str, **params: object) -> Answer:
        """Send a request and return the whole answer."""
        self.now_ms += 1000
        texts = {name: str(value) for name, value in params.items()}
        answer = self.world.request(method, f"/fapi/{path}", texts, self.now_ms)
        self._settle()
        return answer

    def get(self, path: str, **params: object) -> Any:
        """Return the body of a GET that succeeds."""
        return self.ok("GET", path, **params)

    def ok(self, method: str, path: str, **params: object) -> Any:
        """Return the body of a request that succeeds."""
        answer = self.ask(method, path, **params)
        assert answer.status == 200, answer.body
        return answer.body

    def code(self, method: str, path: str, **params: object) -> int:
        """Return the error code of a request that is refused."""
        answer = self.ask(method, path, **params)
        assert answer.status != 200, answer.body
        return int(answer.body["code"])

    def order(self, side: str, position_side: str, quantity: str, **more: object) -> Answer:
        """Place a plain order: MARKET, or LIMIT GTC where a price is given."""
        params: dict[str, object] = {"symbol": self.symbol, "side": side, "quantity": quantity}
        params |= {"positionSide": position_side, "type": "MARKET"}
        if "price" in more:
            params |= {"type": "LIMIT", "timeInForce": "GTC"}
        if "id" in more:
            more["newClientOrderId"] = more.pop("id")
        return self.ask("POST", "v1/order", **(params | more))

    def buy_long(self, quantity: str, **more: object) -> Any:
        """Buy LONG; it must be taken."""
        answer = self.order("BUY", "LONG", quantity, **more)
        assert answer.status == 200, answer.body
        return answer.body

    def stop(self, side: str, position_side: str, trigger: str, **more: object) -> Answer:
        """Place a conditional order: closePosition unless a quantity is given."""
        params: dict[str, object] = {"symbol": self.symbol, "side": side, "algoType": "CONDITIONAL"}
        params |= {"positionSide": position_side, "type": "STOP_MARKET", "triggerPrice": trigger}
        if "quantity" not in more:
            params["closePosition"] = "true"
        if "id" in more:
            more["clientAlgoId"] = more.pop("id")
        return self.ask("POST", "v1/algoOrder", **(params | more))

    def long(self) -> Decimal:
        """Return the LONG quantity."""
        return self.world.position(self.symbol, "LONG")

    def short(self) -> Decimal:
        """Return the SHORT quantity."""
        return self.world.position(self.symbol, "SHORT")

    def seen(self, name: str) -> list[dict[str, Any]]:
        """Return the events of one type, in order."""
        objects = [event for event in self.events if isinstance(event, dict)]
        return [event for event in objects if event["e"] == name]

    def order_story(self, client_id: str) -> list[tuple[str, str]]:
        """Return execution type and status of each event of an order."""
        orders = [event["o"] for event in self.seen("ORDER_TRADE_UPDATE")]
        return [(o["x"], o["X"]) for o in orders if o["c"] == client_id]

    def algo_story(self, client_id: str) -> list[str]:
        """Return the statuses that a conditional order went through."""
        algos = [event["o"] for event in self.seen("ALGO_UPDATE")]
        return [o["X"] for o in algos if o["caid"] == client_id]

    def pulse(self, passed_ms: int) -> None:
        """Let time pass without a market trade."""
        self.now_ms += passed_ms
        self.world.pulse(self.now_ms)
        self._settle()

    def tick(self, passed_ms: int = 1000) -> None:
        """Let time pass up to a full second's tick."""
        self.now_ms += passed_ms
        self.world.tick(self.now_ms)
        self._settle()

    def listen(self, *names: str) -> None:
        """Listen to market streams; what was heard before is forgotten."""
        self._settle()
        self.events.clear()
        self.world.listen(names)

    def _settle(self) -> None:
        self.events += [event.data for event in self.world.drain()]
        self.world.check()
