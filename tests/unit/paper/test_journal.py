"""What is on disk: snapshot and journal give the account back, wherever a crash cuts them."""

import errno
import os
from decimal import Decimal
from pathlib import Path

import pytest

from paper.exchange import Exchange, StateFileError, load_world
from paper.world import World
from tests.unit.paper.bench import BTC, START_MS, Bench

D = Decimal


class _Desk:
    """A bench whose every step is flushed like behind sockets."""

    def __init__(self, path: Path) -> None:
        self.bench = Bench()
        self.exchange = Exchange(self.bench.world, state_path=path)
        self.exchange.save()
        self.path = path

    def order(self, side: str, quantity: str, **more: object) -> None:
        params = {"symbol": BTC, "side": side, "positionSide": "LONG", "quantity": quantity}
        params |= {"type": "LIMIT", "timeInForce": "GTC"} if "price" in more else {"type": "MARKET"}
        self.ask("POST", "v1/order", **(params | more))

    def ask(self, method: str, path: str, **params: object) -> None:
        texts = {name: str(value) for name, value in params.items()}
        self.bench.now_ms += 1000
        answer = self.bench.world.request(method, f"/fapi/{path}", texts, self.bench.now_ms)
        assert answer.status == 200, answer.body
        self.exchange.flush(changed=True, symbol=texts.get("symbol", ""))

    def trade(self, price: str) -> None:
        now = self.bench.now_ms = self.bench.now_ms + 1000
        self.bench.world.trade(BTC, D(price), D(100), time_ms=now, now_ms=now)
        self.exchange.flush()


def _busy(path: Path) -> _Desk:
    desk = _Desk(path)
    desk.ask("POST", "v1/leverage", symbol=BTC, leverage=10)
    desk.order("BUY", "0.010", newClientOrderId="entry")
    desk.order("BUY", "0.010", price="59000", newClientOrderId="level")
    desk.ask("PUT", "v1/order", symbol=BTC, side="BUY", origClientOrderId="level",
             price="59100", quantity="0.020")  # fmt: skip
    desk.ask("POST", "v1/algoOrder", algoType="CONDITIONAL", symbol=BTC, side="SELL",
             positionSide="LONG", type="STOP_MARKET", triggerPrice="58000", quantity="0.005",
             clientAlgoId="stop")  # fmt: skip
    desk.ask("POST", "v1/listenKey")
    desk.trade("59050")
    desk.trade("57990")
    return desk


def _account(world: World) -> dict[str, object]:
    books = world.ledger()
    open_orders = world.request("GET", "/fapi/v1/openOrders", {}, START_MS + 10**6).body
    algos = world.request("GET", "/fapi/v1/allAlgoOrders", {"symbol": BTC}, START_MS + 10**6).body
    key = world.state.listen_key
    return {"books": books, "orders": open_orders, "algos": algos, "key": key}


def test_an_exchange_that_is_killed_loses_nothing(tmp_path: Path) -> None:
    desk = _busy(tmp_path / "paper.json")
    found = load_world(desk.path)  # nothing was closed, nothing was saved since the start
    assert found is not None
    found.check()
    assert _account(found) == _account(desk.bench.world)
    assert found.position(BTC, "LONG") == D("0.025")
    assert found.state.markets[BTC].leverage == 10
    assert found.state.next_order_id == desk.bench.world.state.next_order_id


def test_the_numbers_of_trades_never_come_twice(tmp_path: Path) -> None:
    desk = _busy(tmp_path / "paper.json")
    for price in range(57_900, 57_950):  # nobody's order: no line in the journal tells of them
        desk.trade(str(price))
    told = desk.bench.world.state.markets[BTC]
    found = load_world(desk.path)
    assert found is not None
    market = found.state.markets[BTC]
    assert market.next_aggregate_id > told.next_aggregate_id
    assert market.next_trade_id > told.next_trade_id
    assert market.update_id > told.update_id


def test_a_line_that_was_cut_off_is_left_out(tmp_path: Path) -> None:
    desk = _busy(tmp_path / "paper.json")
    before = _account(desk.bench.world)
    desk.order("SELL", "0.005", newClientOrderId="close")
    journal = tmp_path / "paper.json.journal"
    journal.write_bytes(journal.read_bytes()[:-20])
    found = load_world(desk.path)
    assert found is not None
    found.check()
    assert _account(found) == before


def test_a_journal_may_end_at_any_byte(tmp_path: Path) -> None:
    desk = _busy(tmp_path / "paper.json")
    journal = tmp_path / "paper.json.journal"
    whole = journal.read_bytes()
    starts = [0, *(place + 1 for place, byte in enumerate(whole) if byte == ord("\n"))]
    cuts = {place + more for place in starts for more in (-1, 0, 1, 12)}
    for cut in sorted(cut for cut in cuts if 0 <= cut <= len(whole)):
        for tail in (b"", b"\0" * 40):  # a killed program, a loss of power
            journal.write_bytes(whole[:cut] + tail)
            found = load_world(desk.path)
            assert found is not None
            found.check()
    journal.write_bytes(whole)
    found = load_world(desk.path)
    assert found is not None
    assert _account(found) == _account(desk.bench.world)


def test_a_full_disk_is_said_so_and_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = _busy(tmp_path / "paper.json")
    before = _account(desk.bench.world)
    write, room = os.write, [40]

    def nearly_full(file: int, data: bytes) -> int:
        if not room[0]:
            raise OSError(errno.ENOSPC, "No space left on device")
        done = write(file, data[: room[0]])
        room[0] -= done
        return done

    monkeypatch.setattr(os, "write", nearly_full)
    for _ in range(2):  # and it stays so, for the next line would follow a gap
        with pytest.raises(StateFileError, match=r"cannot be written: No space left"):
            desk.order("SELL", "0.005")
    monkeypatch.undo()
    found = load_world(desk.path)
    assert found is not None
    assert _account(found) == before
    desk.exchange.save()  # a new snapshot holds everything
    found = load_world(desk.path)
    assert found is not None
    assert _account(found) == _account(desk.bench.world)


def test_a_journal_of_an_older_snapshot_is_not_taken(tmp_path: Path) -> None:
    desk = _busy(tmp_path / "paper.json")
    journal = tmp_path / "paper.json.journal"
    old = journal.read_bytes()
    desk.exchange.close()
    assert len(journal.read_bytes().splitlines()) == 1
    journal.write_bytes(old)  # as if the crash came between snapshot and journal
    found = load_world(desk.path)
    assert found is not None
    assert _account(found) == _account(desk.bench.world)


def test_a_snapshot_without_journal_is_enough(tmp_path: Path) -> None:
    desk = _busy(tmp_path / "paper.json")
    desk.exchange.close()
    (tmp_path / "paper.json.journal").unlink()
    found = load_world(desk.path)
    assert found is not None
    assert _account(found) == _account(desk.bench.world)


def test_a_journal_that_is_nonsense_is_said_so(tmp_path: Path) -> None:
    desk = _busy(tmp_path / "paper.json")
    journal = tmp_path / "paper.json.journal"
    journal.write_bytes(journal.read_bytes() + b'{"orders": 5}\n')
    with pytest.raises(StateFileError, match="cannot be read"):
        load_world(desk.path)
