"""Faults: which request or message they hit, when, and that a seed gives the same again."""

import pytest

from paper.faults import DEEDS, ERRORS, Fault, Faults, Schedule, is_exempt

ORDER = "/fapi/v1/order"
OPENING = {"side": "BUY", "positionSide": "LONG"}


def test_a_fault_hits_what_it_describes_and_is_used_up() -> None:
    faults = Faults()
    faults.add(Fault(action="lose", method="POST", path="/order", client_id="tp", count=2))
    assert faults.take("GET", ORDER, {"origClientOrderId": "tp-1"}) is None
    assert faults.take("POST", ORDER, {"newClientOrderId": "entry"}) is None
    for _ in range(2):
        assert faults.take("POST", ORDER, {"newClientOrderId": "tp-1"}) is not None
    assert faults.take("POST", ORDER, {"newClientOrderId": "tp-1"}) is None
    assert [entry["hit"] for entry in faults.log] == [f"POST {ORDER} tp-1"] * 2


def test_a_fault_has_its_time() -> None:
    faults = Faults()
    faults.add(Fault(action="delay", in_ms=100, for_ms=50, count=9), now_ms=1000)
    hits = [faults.take("GET", ORDER, {}, now) is not None for now in (1099, 1100, 1149, 1150)]
    assert hits == [False, True, True, False]
    assert faults.due(1150) == []
    assert faults.report()["waiting"] == []


def test_chance_repeats_with_its_seed() -> None:
    def hits(seed: int) -> list[bool]:
        faults = Faults()
        faults.add(Fault(action="drop", chance=0.5, seed=seed, count=1000))
        return [faults.take_stream("market", "x", 0) is not None for _ in range(50)]

    assert hits(7) == hits(7) != hits(8)
    assert 10 < sum(hits(7)) < 40


def test_a_stream_fault_leaves_requests_alone_and_the_other_way_round() -> None:
    faults = Faults()
    faults.add(Fault(action="duplicate", route="private", stream="ORDER"))
    faults.add(Fault(action="hold"))
    assert faults.disturbs_streams
    assert faults.take_stream("market", "ORDER_TRADE_UPDATE", 0) is None
    assert faults.take_stream("private", "ACCOUNT_UPDATE", 0) is None
    hit = faults.take("GET", ORDER, {})
    assert hit is not None
    assert hit.action == "hold"
    hit = faults.take_stream("private", "ORDER_TRADE_UPDATE", 0)
    assert hit is not None
    assert hit.action == "duplicate"
    assert not faults.disturbs_streams


def test_deeds_wait_for_their_time_and_for_nobody_else() -> None:
    faults = Faults()
    faults.add(Fault(action="close", in_ms=10), now_ms=0)
    assert faults.take("GET", ORDER, {}, 20) is None
    assert faults.due(9) == []
    assert [fault.action for fault in faults.due(10)] == ["close"]
    assert faults.due(11) == []


def test_a_schedule_is_drawn_by_its_seed() -> None:
    kinds = [Fault(action="lose"), Fault(action="close"), Fault(action="error", error="bus")]

    def plan(seed: int) -> list[tuple[str, int, int]]:
        schedule = Schedule(seed=seed, every_ms=500, for_ms=20_000, faults=kinds)
        return [(fault.action, fault.in_ms, fault.seed) for fault in schedule.plan()]

    assert plan(3) == plan(3) != plan(4)
    assert 20 < len(plan(3)) < 80
    times = [at for _, at, _ in plan(3)]
    assert times == sorted(times)
    assert times[-1] < 20_000


@pytest.mark.parametrize(
    "fault",
    [
        Fault(action="error"),
        Fault(action="error", error="nonsense"),
        Fault(action="drop", chance=1.5),
        Fault(action="partial", part=-1),
    ],
)
def test_faults_that_make_no_sense(fault: Fault) -> None:
    with pytest.raises(ValueError, match=r"must be one of|between 0 and 1"):
        Faults().add(fault)


def test_a_schedule_of_nothing_makes_no_sense() -> None:
    with pytest.raises(ValueError, match="needs faults"):
        Schedule(seed=1, every_ms=0, for_ms=10, faults=[Fault(action="lose")]).plan()


@pytest.mark.parametrize(
    ("method", "path", "params", "exempt"),
    [
        ("POST", ORDER, OPENING, False),
        ("POST", ORDER, {"side": "SELL", "positionSide": "LONG"}, True),
        ("POST", ORDER, {"side": "BUY", "positionSide": "SHORT"}, True),
        ("POST", ORDER, {"side": "BUY", "reduceOnly": "true"}, True),
        ("POST", "/fapi/v1/batchOrders", {}, False),
        ("DELETE", ORDER, {}, True),
        ("POST", "/fapi/v1/algoOrder", {}, True),
    ],
)
def test_what_the_system_protection_never_throttles(
    method: str, path: str, params: dict[str, str], exempt: bool
) -> None:
    assert is_exempt(method, path, params) == exempt
    faults = Faults()
    faults.add(Fault(action="error", error="throttled"))
    assert (faults.take(method, path, params) is None) == exempt


def test_every_error_has_a_status_and_a_code() -> None:
    assert {status for status, _, _ in ERRORS.values()} >= {401, 403, 408, 418, 429, 502, 503}
    assert all(code < 0 or not text for _, code, text in ERRORS.values())
    assert "maintenance" in DEEDS
