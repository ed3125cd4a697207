"""What an answer means for whoever asked: the table of failures."""

import msgspec
import pytest

from core.clients.rest_answers import RestAnswer, Stop, error_of, stop_of
from core.errors import ExchangeUnavailable, OutcomeUnknown, RequestRefused

NOW = 1_790_000_000_000
UNKNOWN = "Unknown error, please check your request or try again later."


def answer(status: int, code: int | None, text: str) -> RestAnswer:
    body = text.encode() if code is None else msgspec.json.encode({"code": code, "msg": text})
    return RestAnswer(status=status, body=body)


# Status, code (None: the body is plain text), text: what it means for a change, and for a read.
FAILURES = {
    "refused by a rule": ((400, -2019, "Margin is insufficient."), -2019, -2019),
    "unknown order": ((400, -2013, "Order does not exist."), -2013, -2013),
    "too late": ((400, -1021, "Timestamp outside of the recvWindow."), -1021, -1021),
    "too late at the engine": ((400, -5028, "ME recvWindow."), -5028, -5028),
    "bad key": ((401, -2015, "Invalid API-key."), -2015, -2015),
    "bad key, no code": ((401, None, ""), -401, -401),
    "blocked by the firewall": ((403, None, "<html>Forbidden</html>"), -403, -403),
    "throttled": ((503, -1008, "Request throttled."), -1008, -1008),
    "out of service": ((503, None, "Service Unavailable."), -503, ExchangeUnavailable),
    "out of service, as JSON": ((503, 0, "Service Unavailable."), -503, ExchangeUnavailable),
    "unknown": ((503, None, UNKNOWN), OutcomeUnknown, ExchangeUnavailable),
    "unknown, as JSON": ((503, -1000, UNKNOWN), OutcomeUnknown, ExchangeUnavailable),
    "internal error": ((503, -1001, "Internal error;"), OutcomeUnknown, ExchangeUnavailable),
    "no clear answer from the bus": ((400, -1006, "unknown"), OutcomeUnknown, ExchangeUnavailable),
    "backend time-out": ((400, -1007, "Timeout"), OutcomeUnknown, ExchangeUnavailable),
    "time-out by status": ((408, None, ""), OutcomeUnknown, ExchangeUnavailable),
    "server error": ((500, None, "oops"), OutcomeUnknown, ExchangeUnavailable),
    "server error with a refusal's code": ((502, -2019, "?"), OutcomeUnknown, ExchangeUnavailable),
    "an error that cannot be read": ((400, None, "<html>"), OutcomeUnknown, ExchangeUnavailable),
    "an error without a code": ((400, None, "{}"), OutcomeUnknown, ExchangeUnavailable),
    "a body that is no text": ((520, None, "\x00"), OutcomeUnknown, ExchangeUnavailable),
}


@pytest.mark.parametrize(("told", "for_change", "for_read"), FAILURES.values(), ids=FAILURES.keys())
def test_failures(
    told: tuple[int, int | None, str],
    for_change: int | type[Exception],
    for_read: int | type[Exception],
) -> None:
    assert stop_of(answer(*told), NOW) is None
    for meaning, changes in ((for_change, True), (for_read, False)):
        error = error_of(answer(*told), changes=changes)
        if isinstance(meaning, int):
            assert isinstance(error, RequestRefused)
            assert (error.code, error.http_status) == (meaning, told[0])
        else:
            assert type(error) is meaning


BAN = f"Way too many requests; IP(1.2.3.4) banned until {NOW + 90_000}. Please use the websocket."
STOPS = {
    "too many requests": ((429, -1003, "Too many requests."), None, (None, False, False)),
    "with a time": ((429, -1003, "Too many requests."), "17", (17_000, False, False)),
    "with a time that is no number": ((429, -1003, "Slow."), "soon", (None, False, False)),
    "plain text": ((429, None, "slow down"), None, (None, False, False)),
    "banned": ((418, -1003, BAN), None, (90_000, True, False)),
    "banned until a time past": ((418, -1003, f"banned until {NOW - 5}"), None, (0, True, False)),
    "banned without a time": ((418, None, ""), None, (None, True, False)),
    "too many orders": ((429, -1015, "Too many new orders."), None, (None, False, True)),
    "too many requests by code alone": ((400, -1003, "Too many."), None, (None, False, False)),
}


@pytest.mark.parametrize(("told", "after", "expected"), STOPS.values(), ids=STOPS.keys())
def test_stops(
    told: tuple[int, int | None, str],
    after: str | None,
    expected: tuple[int | None, bool, bool],
) -> None:
    given = answer(*told)
    stop = stop_of(RestAnswer(status=given.status, body=given.body, retry_after=after), NOW)
    assert isinstance(stop, Stop)
    assert (stop.told_ms, stop.is_ban, stop.only_orders) == expected


def test_a_long_text_is_cut() -> None:
    error = error_of(answer(500, None, "x" * 10_000), changes=True)
    assert len(str(error)) < 300
