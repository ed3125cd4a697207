"""What one process may ask of the exchange, and for how long it must not."""

import pytest

from core.clients.rest_budget import Budget
from core.errors import RateLimited

MINUTE = 60_000
NOW = 29_833_333 * MINUTE  # the first moment of a minute


def take(
    budget: Budget,
    times: int = 1,
    *,
    weight: int = 0,
    is_order: bool = False,
    is_urgent: bool = False,
    now_ms: int = NOW,
) -> int:
    """Return how many of `times` requests fit."""
    for done in range(times):
        try:
            budget.take(weight=weight, is_order=is_order, is_urgent=is_urgent, now_ms=now_ms)
        except RateLimited:
            return done
    return times


@pytest.mark.parametrize(
    ("share", "ordinary", "urgent"), [(100, 1680, 2400), (50, 840, 1200), (10, 168, 240)]
)
def test_ordinary_requests_leave_30_percent_of_our_share_to_closing(
    share: int, ordinary: int, urgent: int
) -> None:
    budget = Budget(share_percent=share)
    assert take(budget, 3000, weight=1) == ordinary
    assert take(budget, 3000, weight=1, is_urgent=True) == urgent - ordinary


def test_orders_have_limits_of_ten_seconds_and_of_a_minute() -> None:
    budget = Budget(share_percent=100)
    taken = 0
    for second in range(0, 60, 10):
        taken += take(budget, 500, is_order=True, now_ms=NOW + second * 1000)
    assert taken == 840  # 210 in each 10 s, 840 a minute
    assert take(budget, 500, is_order=True, is_urgent=True, now_ms=NOW + 50_000) == 300
    assert take(budget, 1, weight=1, now_ms=NOW + 50_000) == 1  # reads are not orders


def test_reads_that_used_the_weight_up_keep_no_order_from_being_placed() -> None:
    budget = Budget(share_percent=50)
    budget.observe({"X-MBX-USED-WEIGHT-1M": "2399"}, NOW)
    assert take(budget, 1, weight=1) == 0
    assert take(budget, 1, is_order=True) == 1


def test_a_request_that_does_not_fit_says_when_it_will() -> None:
    budget = Budget(share_percent=100)
    take(budget, 1, weight=1680, now_ms=NOW + 15_000)
    with pytest.raises(RateLimited) as limited:
        budget.take(weight=1, is_order=False, is_urgent=False, now_ms=NOW + 15_000)
    assert limited.value.retry_after_ms == 45_000
    assert take(budget, 1, weight=1, now_ms=NOW + MINUTE) == 1


def test_what_others_used_counts_in_its_minute_only() -> None:
    budget = Budget(share_percent=10)
    budget.observe({"X-MBX-USED-WEIGHT-1M": "1680"}, NOW)
    assert take(budget, 1, weight=1) == 0
    assert take(budget, 1, weight=1, is_urgent=True) == 1
    budget.observe({"X-MBX-USED-WEIGHT-1M": "2400"}, NOW)
    assert take(budget, 1, weight=1, is_urgent=True) == 0
    assert take(budget, 1, weight=1, now_ms=NOW + MINUTE) == 1


@pytest.mark.parametrize("headers", [{}, {"X-MBX-USED-WEIGHT-1M": "lots"}])
def test_headers_that_say_nothing_change_nothing(headers: dict[str, str]) -> None:
    budget = Budget(share_percent=100)
    budget.observe(headers, NOW)
    assert take(budget, 1, weight=1680) == 1


def test_a_stop_holds_for_urgent_requests_too() -> None:
    budget = Budget(share_percent=100)
    told = budget.stop(told_ms=5_000, is_ban=True, only_orders=False, now_ms=NOW)
    assert told == 5_000
    assert take(budget, 1, is_urgent=True, now_ms=NOW + 4_999) == 0
    assert take(budget, 1, is_urgent=True, now_ms=NOW + 5_000) == 1


def test_too_many_orders_stop_orders_and_not_reads() -> None:
    budget = Budget(share_percent=100)
    budget.stop(told_ms=5_000, is_ban=False, only_orders=True, now_ms=NOW)
    assert take(budget, 1, is_order=True, is_urgent=True) == 0
    assert take(budget, 1, weight=1) == 1


def test_pauses_grow_until_something_succeeds() -> None:
    budget, now_ms = Budget(share_percent=100), NOW

    def stop(*, is_ban: bool = False) -> int:
        nonlocal now_ms
        told = budget.stop(told_ms=None, is_ban=is_ban, only_orders=False, now_ms=now_ms)
        now_ms += told  # the first request after the pause is refused again
        return told

    assert [stop() for _ in range(8)] == [
        1_000,
        2_000,
        4_000,
        8_000,
        16_000,
        32_000,
        60_000,
        60_000,
    ]
    budget.succeeded()
    assert stop() == 1_000
    budget.succeeded()
    assert [stop(is_ban=True) for _ in range(2)] == [120_000, 240_000]


def test_requests_that_were_under_way_together_make_one_pause() -> None:
    """Else eight answers of 418 at one moment would stop us for an hour instead of two minutes."""
    budget = Budget(share_percent=100)
    told = [
        budget.stop(told_ms=None, is_ban=True, only_orders=False, now_ms=NOW + late_ms)
        for late_ms in range(8)
    ]
    assert told == [120_000] * 8
    assert take(budget, 1, now_ms=NOW + 120_006) == 0
    assert take(budget, 1, now_ms=NOW + 120_007) == 1
    told_ms = budget.stop(told_ms=None, is_ban=True, only_orders=False, now_ms=NOW + 120_007)
    assert told_ms == 240_000


def test_a_ban_within_a_pause_is_a_whole_ban() -> None:
    budget = Budget(share_percent=100)
    budget.stop(told_ms=None, is_ban=False, only_orders=False, now_ms=NOW)
    assert budget.stop(told_ms=None, is_ban=True, only_orders=False, now_ms=NOW) == 120_000


def test_a_shorter_stop_does_not_end_a_longer_one() -> None:
    budget = Budget(share_percent=100)
    budget.stop(told_ms=60_000, is_ban=True, only_orders=False, now_ms=NOW)
    budget.stop(told_ms=1_000, is_ban=False, only_orders=False, now_ms=NOW)
    assert take(budget, 1, now_ms=NOW + 30_000) == 0
