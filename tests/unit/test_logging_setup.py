"""Logs: one line an event, and never a secret."""

import io
import logging
from collections.abc import Iterator

import pytest
import structlog
from pydantic import BaseModel, SecretStr

from core.logging_setup import secret_texts, set_up_logging

SECRET = "a-very-secret-text"


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    """Return where this test's log lines go; put everything back afterwards."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    stream = io.StringIO()
    set_up_logging("INFO", secrets=[SECRET, "abc"], stream=stream)
    yield stream
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def test_an_event_is_one_line_of_phrase_and_fields(lines: io.StringIO) -> None:
    structlog.get_logger("x").info("alert answered", symbol="BTCUSDT", text="two words", n=3)
    (line,) = lines.getvalue().splitlines()
    time, level, rest = line.split(maxsplit=2)
    assert time.endswith("Z")
    assert (level, rest) == ("INFO", 'alert answered symbol=BTCUSDT text="two words" n=3')


def test_the_standard_librarys_loggers_look_the_same(lines: io.StringIO) -> None:
    logging.getLogger("library").warning("lost %s", "it", extra={"symbol": "BTCUSDT"})
    assert lines.getvalue().rstrip().endswith("WARNING lost it symbol=BTCUSDT")


def test_what_is_less_important_is_not_shown(lines: io.StringIO) -> None:
    structlog.get_logger("x").debug("detail")
    logging.getLogger("library").debug("detail")
    assert lines.getvalue() == ""


def test_line_breaks_in_texts_from_outside_forge_no_lines(lines: io.StringIO) -> None:
    structlog.get_logger("x").info("refused", text="x\n2026 INFO forged\x1b[0m")
    assert len(lines.getvalue().splitlines()) == 1
    assert "\x1b" not in lines.getvalue()


@pytest.mark.parametrize(
    "field",
    [
        {"text": f"it was {SECRET}!"},
        {"error": ValueError(SECRET)},
        {"password": "anything"},
        {"api_key": "anything"},
        {"address": "postgresql://user:anything@host/db"},
        {"url": "https://exchange/order?symbol=X&signature=anything&x=1"},
    ],
)
def test_secrets_are_hidden_by_value_by_name_and_by_place(
    lines: io.StringIO, field: dict[str, object]
) -> None:
    structlog.get_logger("x").info("event", **field)
    shown = lines.getvalue()
    assert SECRET not in shown
    assert "anything" not in shown
    assert "***" in shown


def test_a_secret_in_the_phrase_or_in_an_exception_is_hidden(lines: io.StringIO) -> None:
    logging.getLogger("library").error("failed with %s", SECRET)
    try:
        raise RuntimeError(SECRET)
    except RuntimeError:
        structlog.get_logger("x").exception("failed")
    assert SECRET not in lines.getvalue()
    assert 'error="RuntimeError: ***"' in lines.getvalue()
    assert "test_logging_setup.py:" in lines.getvalue()
    assert len(lines.getvalue().splitlines()) == 2


def test_an_address_without_a_password_is_shown_whole(lines: io.StringIO) -> None:
    structlog.get_logger("x").info("event", address="http://127.0.0.1:8009/x?a=1")
    assert lines.getvalue().rstrip().endswith('address="http://127.0.0.1:8009/x?a=1"')


def test_words_that_are_too_short_to_be_secrets_stay(lines: io.StringIO) -> None:
    structlog.get_logger("x").info("event", text="abc")
    assert "text=abc" in lines.getvalue()


def test_the_secrets_of_settings_are_found() -> None:
    class Some(BaseModel):
        key: SecretStr = SecretStr("the key")
        database: SecretStr = SecretStr("postgresql://user:p%40ss@host/db")
        file: SecretStr = SecretStr("sqlite:///data.db")
        nothing: SecretStr | None = None
        host: str = "127.0.0.1"

    assert set(secret_texts(Some())) == {"the key", "p%40ss", "p@ss"}


def test_every_part_of_a_channel_s_address_may_be_its_token() -> None:
    class Some(BaseModel):
        notify_urls: SecretStr = SecretStr(
            "tgram://123456789:AAbbCCddEE/-1001234567 mailto://ann:p%40ssword1@example.org?to=bob"
        )
        sentry_dsn: SecretStr = SecretStr("https://0123456789abcdef@192.168.100.10:8000/42")

    assert "192.168.100.10" not in secret_texts(Some())
    assert {"123456789", "AAbbCCddEE", "-1001234567", "p@ssword1", "0123456789abcdef"} < set(
        secret_texts(Some())
    )
