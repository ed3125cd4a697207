"""What an error says, to people and to the code that decides what comes next."""

from core.errors import (
    AlertInvalid,
    ConfigInvalid,
    ExchangeError,
    FieldError,
    OutcomeUnknown,
    RateLimited,
    RequestRefused,
    StoreError,
    SymbolBusy,
    TradeboxError,
)

ERRORS = [
    FieldError(field="open.amount", value="x", reason="must be a number"),
    FieldError(field="settings.tp", value="(missing)", reason="required"),
]


def test_all_errors_of_an_alert_in_one_message() -> None:
    error = AlertInvalid(ERRORS)
    assert error.errors == tuple(ERRORS)
    assert str(error) == "open.amount = x: must be a number; settings.tp = (missing): required"


def test_all_errors_of_the_configuration_in_one_message_a_line_each() -> None:
    first, *lines = str(ConfigInvalid(ERRORS)).splitlines()
    assert first == "The configuration cannot be used:"
    assert lines == ["  open.amount = x: must be a number", "  settings.tp = (missing): required"]


def test_a_refusal_carries_what_the_exchange_said() -> None:
    error = RequestRefused(code=-2019, text="Margin is insufficient.", http_status=400)
    assert (error.code, error.text, error.http_status) == (-2019, "Margin is insufficient.", 400)
    assert str(error) == "-2019: Margin is insufficient. (HTTP 400)"


def test_a_limit_says_how_long() -> None:
    error = RateLimited(retry_after_ms=1500)
    assert error.retry_after_ms == 1500
    assert "1500 ms" in str(error)


def test_a_busy_symbol_names_its_holder() -> None:
    assert str(SymbolBusy("BTCUSDT")) == "BTCUSDT has an open cycle"
    assert str(SymbolBusy("BTCUSDT", holder="w1")).endswith("started by webhook w1")


def test_the_tree_splits_by_what_comes_next() -> None:
    assert not issubclass(OutcomeUnknown, RequestRefused)
    assert issubclass(OutcomeUnknown, ExchangeError)
    assert issubclass(SymbolBusy, StoreError)
    assert all(issubclass(e, TradeboxError) for e in (ExchangeError, StoreError, AlertInvalid))
