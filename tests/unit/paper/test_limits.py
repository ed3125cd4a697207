"""Rate limits: weights, headers, 429, and the ban that follows."""

from dataclasses import replace

import pytest

from paper.limits import PATIENCE, Limits
from paper.options import Options
from paper.routes import ROUTES

MINUTE_MS = 60_000
ORDER, TIME = ROUTES["POST", "/fapi/v1/order"], ROUTES["GET", "/fapi/v1/time"]
SMALL = replace(Options(), weight_limit=5, orders_minute=6, orders_ten_seconds=4)


@pytest.mark.parametrize(
    ("method", "path", "params", "weight"),
    [
        ("GET", "v1/depth", {"limit": "50"}, 2),
        ("GET", "v1/depth", {}, 10),
        ("GET", "v1/depth", {"limit": "1000"}, 20),
        ("GET", "v1/klines", {"limit": "99"}, 1),
        ("GET", "v1/klines", {"limit": "100"}, 2),
        ("GET", "v1/klines", {}, 5),
        ("GET", "v1/klines", {"limit": "1500"}, 10),
        ("GET", "v1/openOrders", {"symbol": "BTCUSDT"}, 1),
        ("GET", "v1/openOrders", {}, 40),
        ("GET", "v1/openAlgoOrders", {}, 40),
        ("GET", "v1/premiumIndex", {}, 10),
        ("GET", "v2/ticker/price", {}, 2),
        ("GET", "v1/ticker/bookTicker", {}, 5),
        ("GET", "v1/aggTrades", {}, 20),
        ("GET", "v1/positionSide/dual", {}, 30),
        ("POST", "v1/order", {}, 0),
        ("POST", "v1/batchOrders", {}, 5),
    ],
)
def test_weights(method: str, path: str, params: dict[str, str], weight: int) -> None:
    assert ROUTES[method, f"/fapi/{path}"].weigh(params, Options()) == weight


def test_headers_count_by_window_and_address() -> None:
    limits = Limits()
    headers, _ = limits.count("a", TIME, {}, SMALL, 0)
    assert headers == {"X-MBX-USED-WEIGHT-1M": "1"}
    for _ in range(3):
        headers, _ = limits.count("a", ORDER, {}, SMALL, 9_999)
    assert headers["X-MBX-ORDER-COUNT-10S"] == headers["X-MBX-ORDER-COUNT-1M"] == "3"
    headers, _ = limits.count("b", ORDER, {}, SMALL, 10_000)
    assert (headers["X-MBX-ORDER-COUNT-10S"], headers["X-MBX-ORDER-COUNT-1M"]) == ("1", "4")
    headers, _ = limits.count("a", TIME, {}, SMALL, MINUTE_MS)
    assert headers == {"X-MBX-USED-WEIGHT-1M": "1"}


def test_nothing_is_refused_where_limits_are_not_enforced() -> None:
    limits = Limits()
    refusals = [limits.count("a", ORDER, {}, SMALL, 0)[1] for _ in range(50)]
    assert refusals == [None] * 50


def test_too_many_orders() -> None:
    limits = Limits(is_enforced=True)
    answers = [limits.count("a", ORDER, {}, SMALL, 0)[1] for _ in range(5)]
    assert answers[:4] == [None] * 4
    assert answers[4] is not None
    assert (answers[4].status, answers[4].body["code"]) == (429, -1015)
    assert "4 orders per 10 SECOND" in answers[4].body["msg"]
    later = [limits.count("a", ORDER, {}, SMALL, 10_000)[1] for _ in range(3)]
    assert [one is None for one in later] == [True, True, False]  # six in the minute


def test_a_batch_counts_as_five_in_ten_seconds_and_as_one_in_a_minute() -> None:
    headers, _ = Limits().count("a", ROUTES["POST", "/fapi/v1/batchOrders"], {}, SMALL, 0)
    assert (headers["X-MBX-ORDER-COUNT-10S"], headers["X-MBX-ORDER-COUNT-1M"]) == ("5", "1")


def test_questions_about_funding_share_a_limit_of_their_own() -> None:
    limits = Limits(is_enforced=True)
    rate, info = ROUTES["GET", "/fapi/v1/fundingRate"], ROUTES["GET", "/fapi/v1/fundingInfo"]
    for _ in range(250):
        for route in (rate, info):
            assert limits.count("a", route, {}, SMALL, 0) == ({"X-MBX-USED-WEIGHT-1M": "0"}, None)
    refused = limits.count("a", rate, {}, SMALL, 5 * MINUTE_MS - 1)[1]
    assert refused is not None
    assert (refused.status, refused.body["code"]) == (429, -1003)
    assert limits.count("a", rate, {}, SMALL, 5 * MINUTE_MS)[1] is None


def test_going_on_after_429_gets_the_address_banned_longer_each_time() -> None:
    limits = Limits(is_enforced=True)
    options = replace(SMALL, retry_after=True)

    def status(now_ms: int) -> int:
        refused = limits.count("a", TIME, {}, options, now_ms)[1]
        return 200 if refused is None else refused.status

    first = [status(0) for _ in range(5 + PATIENCE + 1)]
    assert first == [200] * 5 + [429] * PATIENCE + [418]
    assert status(2 * MINUTE_MS - 1) == 418
    headers, refused = limits.count("a", TIME, {}, options, 60_001)
    assert headers == {"Retry-After": "60"}
    assert refused is not None
    assert "banned until 120000" in refused.body["msg"]
    assert limits.count("b", TIME, {}, options, 1)[1] is None  # another address is free
    assert status(2 * MINUTE_MS) == 200
    again = [status(2 * MINUTE_MS) for _ in range(4 + PATIENCE + 1)]
    assert again[-1] == 418
    assert [status(6 * MINUTE_MS - 1), status(6 * MINUTE_MS)] == [418, 200]
