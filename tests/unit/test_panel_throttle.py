"""Wrong passwords: how long they keep their sender, and everybody, waiting."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from admin.throttle import FORGET_AFTER_S, OF_ALL, OF_ONE, LoginThrottle


def attempts(throttle: LoginThrottle, sender: str, within_s: float, *, every_s: float) -> int:
    """Return how many passwords somebody who never gives up can try."""
    moments = [every_s * n for n in range(int(within_s / every_s))]
    return sum(throttle.begin(sender, now, is_stranger=False) == 0 for now in moments)


@pytest.mark.parametrize(
    ("done", "wait_s"), [(0, 0), (2, 0), (3, 1), (4, 2), (5, 4), (8, 32), (11, 256), (12, 300)]
)
def test_the_delay_of_one_sender_doubles_up_to_five_minutes(done: int, wait_s: float) -> None:
    assert OF_ONE.after(done) == wait_s
    assert OF_ONE.after(10_000) == OF_ONE.most_s


def test_a_sender_who_never_gives_up_gets_few_tries() -> None:
    assert attempts(LoginThrottle(), "a", 86_400, every_s=1) < 310
    assert (
        attempts(LoginThrottle(), "a", 60, every_s=0.25) == 8
    )  # 3, then after 1, 2, 4, 8 and 16 s


def test_many_at_once_are_counted_before_they_are_checked() -> None:
    throttle = LoginThrottle()
    waits = [throttle.begin("a", 0.0, is_stranger=False) for _ in range(50)]
    assert waits.count(0.0) == OF_ONE.free


def test_senders_do_not_keep_each_other_waiting_until_there_are_many() -> None:
    throttle = LoginThrottle()
    for n in range(OF_ALL.free):
        assert throttle.begin(f"bot {n}", 0.0, is_stranger=True) == 0
    assert throttle.begin("the operator, abroad", 0.5, is_stranger=True) == 0.5
    assert throttle.begin("the operator, abroad", 0.5, is_stranger=False) == 0


def test_all_strangers_together_get_few_tries_and_none_waits_for_ever() -> None:
    throttle = LoginThrottle()
    tried = sum(throttle.begin(f"bot {n}", n, is_stranger=True) == 0 for n in range(86_400))
    assert tried < OF_ALL.free + 10 + 86_400 / OF_ALL.most_s
    after = 86_400 + OF_ALL.most_s
    assert throttle.begin("the operator, abroad", after, is_stranger=True) == 0


def test_a_right_password_is_forgiven_what_was_wrong_before_it() -> None:
    throttle = LoginThrottle()
    for now in (0.0, 0.0, 0.0, 1.0):
        assert throttle.begin("a", now, is_stranger=True) == 0
    throttle.succeed("a", is_stranger=True)
    assert throttle.begin("a", 1.0, is_stranger=True) == 0


def test_what_is_long_ago_is_forgotten() -> None:
    throttle = LoginThrottle()
    for now in (0.0, 0.0, 0.0, 1.0):
        throttle.begin("a", now, is_stranger=False)
    later = 1.0 + FORGET_AFTER_S
    waits = [throttle.begin("a", later, is_stranger=False) for _ in range(OF_ONE.free)]
    assert waits == [0.0] * OF_ONE.free


def test_the_memory_is_bounded() -> None:
    throttle = LoginThrottle(most=10)
    for n in range(100):
        throttle.begin(str(n), 0.0, is_stranger=False)
    assert len(throttle) == 10


@given(st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 400), st.booleans())))
def test_who_waits_as_long_as_told_may_try(steps: list[tuple[str, float, bool]]) -> None:
    throttle, now = LoginThrottle(), 0.0
    for sender, passed, is_stranger in steps:
        now += passed
        wait_s = throttle.begin(sender, now, is_stranger=is_stranger)
        assert 0 <= wait_s <= OF_ONE.most_s
        if wait_s > 0:
            now += wait_s + 1e-6
            assert throttle.begin(sender, now, is_stranger=is_stranger) == 0
