"""The configuration: its sources, its defaults, and everything wrong with it in one message."""

import tomllib
import traceback
from collections.abc import Iterator
from datetime import time
from decimal import Decimal
from pathlib import Path

import pytest
from dotenv import dotenv_values
from pydantic import SecretStr, ValidationError

import config
from config import (
    Exchange,
    FlatAction,
    FundsCheck,
    LogLevel,
    MarginType,
    Settings,
    get_settings,
    load_settings,
    parse_symbols,
    variable_names,
)
from core.domain.guards import NO_GUARDS, Guards
from core.domain.settings import MultiplierMode, OnHedgeFailed, Policy
from core.errors import ConfigInvalid
from core.notice_rules import Hours, NoticeLevel

LIVE = {
    "EXCHANGE": "live",
    "LIVE_TRADING": "real-money",
    "BINANCE_API_KEY": "key-of-mine",
    "BINANCE_API_SECRET": "secret-of-mine",
    "WEBHOOK_SECRET": "sixteen-letters!",
    "ADMIN_PASSWORD": "operator-word",
    "DB_CONNECTION_STR": "postgresql://trader:db-word@db.internal/tradebox",
}
SECRETS = ["key-of-mine", "secret-of-mine", "sixteen-letters!", "operator-word", "db-word"]


@pytest.fixture(autouse=True)
def empty_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Start without any variable and in a folder without `.env`."""
    for name in variable_names():
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.chdir(tmp_path)
    get_settings.cache_clear()
    yield
    get_settings.cache_clear()


def set_all(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


def refused() -> dict[str, tuple[str, str]]:
    """Return what is wrong, by variable: the value shown and the reason."""
    with pytest.raises(ConfigInvalid) as caught:
        load_settings()
    assert all(str(error) in str(caught.value) for error in caught.value.errors)
    return {error.field: (error.value, error.reason) for error in caught.value.errors}


class TestSources:
    def test_nothing_set_is_the_paper_exchange(self) -> None:
        settings = load_settings()
        assert settings.exchange is Exchange.PAPER
        assert not settings.is_live
        assert settings.api_key.get_secret_value() == "paper-key"
        assert settings.api_secret.get_secret_value() == "paper-secret"
        assert settings.sync_url == "sqlite:///data/tradebox.sqlite3"
        assert settings.policy == Policy()

    def test_the_environment_wins_over_the_file(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        (tmp_path / ".env").write_text("PORT=9001\nADMIN_USER=ann\nLOG_LEVEL=debug\n")
        set_all(monkeypatch, {"PORT": "9002", "ADMIN_USER": ""})
        settings = load_settings()
        assert settings.port == 9002
        assert settings.admin_user == "ann"  # set to nothing counts as not set
        assert settings.log_level is LogLevel.DEBUG

    def test_another_file(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        (tmp_path / ".env").write_text("PORT=9001\n")
        (tmp_path / "other").write_text("PORT=9003\n")
        monkeypatch.setenv("TRADEBOX_ENV_FILE", str(tmp_path / "other"))
        assert load_settings().port == 9003

    def test_the_file_is_read_literally(self, tmp_path: Path) -> None:
        (tmp_path / ".env").write_bytes(
            b"\xef\xbb\xbf# with a byte order mark\r\n"
            b"export ADMIN_USER = ann\r\n"
            b"ADMIN_PASSWORD='a${HOME}#b'\r\n"
            b'WEBHOOK_SECRET="x y" # comment\r\n'
            b"POSTGRES_DB=someone-elses\r\n"
        )
        settings = load_settings()
        assert settings.admin_user == "ann"
        assert settings.admin_password == SecretStr("a${HOME}#b")
        assert settings.webhook_secret == SecretStr("x y")

    def test_settings_are_read_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        first = get_settings()
        monkeypatch.setenv("PORT", "9004")
        assert get_settings() is first
        assert load_settings().port == 9004

    def test_settings_do_not_change(self) -> None:
        with pytest.raises(ValidationError, match="frozen"):
            load_settings().port = 1  # type: ignore[misc] # that is the point

    def test_other_programs_variables_are_fine(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("BINANCE_API_KEYS", "x")
        assert load_settings().binance_api_key is None


class TestFile:
    def test_lines_that_say_nothing(self, tmp_path: Path) -> None:
        (tmp_path / ".env").write_text("PORT=9001\nthis is no line\nADMIN_USER\n")
        with pytest.raises(ConfigInvalid) as caught:
            load_settings()
        assert [str(error) for error in caught.value.errors] == [
            ".env = .env: line 2 is not of the form NAME=value",
            ".env = .env: line 3 is not of the form NAME=value",
        ]

    def test_a_misspelt_name(self, tmp_path: Path) -> None:
        (tmp_path / ".env").write_text("DB_CONNECTION_STRING=postgresql://u:db-word@h/x\n")
        ((value, reason),) = refused().values()
        assert value == ".env"
        assert reason == "line 1: unknown DB_CONNECTION_STRING, is it DB_CONNECTION_STR?"

    def test_not_text(self, tmp_path: Path) -> None:
        (tmp_path / ".env").write_bytes(b"PORT=\xff\n")
        assert "is not UTF-8 text (byte 5)" in refused()[".env"][1]

    def test_a_folder(self, tmp_path: Path) -> None:
        (tmp_path / ".env").mkdir()
        assert refused()[".env"] == (".env", "cannot be read: Is a directory")

    def test_a_named_file_that_is_not_there(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("TRADEBOX_ENV_FILE", "/nowhere/env")
        assert refused()[".env"] == ("/nowhere/env", "does not exist; correct TRADEBOX_ENV_FILE")

    def test_the_rest_is_judged_too(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        (tmp_path / ".env").write_text("nonsense\nPORT=0\n")
        monkeypatch.setenv("RATE_SHARE", "2")
        assert refused().keys() == {".env", "PORT", "RATE_SHARE"}


# variable: [(value, attribute's value)]
GOOD: dict[str, list[tuple[str, object]]] = {
    "SYMBOLS": [
        ("btcusdt, ETHUSDT", ("BTCUSDT", "ETHUSDT")),
        ("BINANCE:BTCUSDT.P,BTCUSDT", ("BTCUSDT",)),
    ],
    "EXCHANGE": [("Paper", Exchange.PAPER)],
    "MG_MODE": [("Percent", MultiplierMode.PERCENT), ("", None)],
    "FLAT_ACTION": [("CLOSE", FlatAction.CLOSE)],
    "MARGIN_TYPE": [("isolated", MarginType.ISOLATED), ("keep", MarginType.KEEP)],
    "FUNDS_CHECK": [("warn", FundsCheck.WARN)],
    "EXIT_SLIPPAGE": [("0.001", Decimal("0.001")), ("0", Decimal(0))],
    "ON_HEDGE_FAILED": [("close", OnHedgeFailed.CLOSE)],
    "STREAM_TIMEOUT": [("0.5", 0.5)],
    "USER_TIMEOUT": [("60", 60.0)],
    "RATE_SHARE": [("1", Decimal(1))],
    "RETENTION_DAYS": [("0", 0), ("30", 30)],
    "PORT": [(" 8080 ", 8080)],
    "PAPER_URL": [("http://127.0.0.1:9000/", "http://127.0.0.1:9000")],
    "PREFECT_API_URL": [("https://prefect.internal/api", "https://prefect.internal/api")],
    "NOTIFY_LEVEL": [("Everything", NoticeLevel.EVERYTHING)],
    "NOTIFY_TIMEZONE": [("Europe/Berlin", "Europe/Berlin")],
    "NOTIFY_QUIET_HOURS": [("22:00-07:30", Hours(time(22), time(7, 30)))],
    "NOTIFY_SUMMARY_AT": [("07:15", time(7, 15)), ("Off", None), ("", time(8))],
    "NOTIFY_URLS": [("json://h/a json://h/b", SecretStr("json://h/a json://h/b"))],
    "SENTRY_DSN": [("https://key@sentry.internal/3", SecretStr("https://key@sentry.internal/3"))],
    "SENTRY_TRACES": [("0.2", 0.2)],
}


@pytest.mark.parametrize(
    ("name", "value", "meaning"),
    [(name, value, meaning) for name, cases in GOOD.items() for value, meaning in cases],
)
def test_values(monkeypatch: pytest.MonkeyPatch, name: str, value: str, meaning: object) -> None:
    monkeypatch.setenv(name, value)
    assert getattr(load_settings(), name.lower()) == meaning


# variable: [(value, value shown, what the reason says)]
BAD: dict[str, list[tuple[str, str, str]]] = {
    "EXCHANGE": [("bybit", "bybit", "must be 'paper', 'demo' or 'live'")],
    "SYMBOLS": [
        ("BTCUSDT,,ETHUSDT", "BTCUSDT,,ETHUSDT", "an empty item"),
        ("BTC/USDT", "BTC/USDT", "BTC/USDT: must be a symbol"),
    ],
    "MG_MODE": [("both", "both", "must be 'multiplier' or 'percent'")],
    "FLAT_ACTION": [("sell", "sell", "must be 'ignore' or 'close'")],
    "MARGIN_TYPE": [("cross", "CROSS", "must be 'CROSSED', 'ISOLATED' or 'KEEP'")],
    "FUNDS_CHECK": [("no", "no", "must be 'refuse' or 'warn'")],
    "EXIT_SLIPPAGE": [
        ("NaN", "NaN", "finite"),
        ("-0.1", "-0.1", "greater than or equal to 0"),
        ("1", "1", "less than 1"),
        ("0,1", "0,1", "valid decimal"),
    ],
    "ON_HEDGE_FAILED": [("stop", "stop", "must be 'hold' or 'close'")],
    "STREAM_TIMEOUT": [("0", "0", "greater than 0"), ("inf", "inf", ""), ("x", "x", "number")],
    "USER_TIMEOUT": [("3600", "3600", "less than 3600")],
    "RATE_SHARE": [("0", "0", "greater than 0"), ("1.1", "1.1", "less than or equal to 1")],
    "RETENTION_DAYS": [
        ("-1", "-1", "greater than or equal to 0"),
        ("90 days", "90 days", "integer"),
    ],
    "PORT": [("0", "0", "greater"), ("65536", "65536", "less"), ("http", "http", "integer")],
    "LOG_LEVEL": [("loud", "LOUD", "must be 'DEBUG', 'INFO', 'WARNING' or 'ERROR'")],
    "PAPER_URL": [("127.0.0.1:8010", "127.0.0.1:8010", "must be an address such as http://")],
    "NOTIFY_LEVEL": [("all", "all", "must be 'alarms', 'cycles' or 'everything'")],
    "NOTIFY_TIMEZONE": [
        ("Berlin", "Berlin", "is no time zone"),
        ("/etc/passwd", "/etc/passwd", "is no time zone"),
    ],
    "NOTIFY_QUIET_HOURS": [("22:00", "22:00", "such as 22:00-07:00")],
    "NOTIFY_SUMMARY_AT": [("8", "8", "no time of day")],
    "NOTIFY_URLS": [
        ("json://h foo://notify-word", "(hidden)", "address 2 (foo://…) is not understood"),
        ("notify-word", "(hidden)", "is not understood"),
    ],
    "SENTRY_DSN": [("https://sentry-word.internal/3", "(hidden)", "as Sentry shows it")],
    "SENTRY_TRACES": [("2", "2", "less than or equal to 1")],
    "PREFECT_API_URL": [
        ("http://", "http://", "must be an address"),
        ("ftp://me:prefect-word@h", "(hidden)", "must be an address"),
    ],
    "ADMIN_PASSWORD": [("=19=65536,t=3,p=4", "(hidden)", "between single quotes")],
    "SESSION_SECRET": [("session-word", "(hidden)", "at least 32 characters")],
    "DB_CONNECTION_STR": [
        ("mysql://u:db-word@h/x", "(hidden)", "must be a postgresql:// or a sqlite:/// address"),
        ("postgresql://u:db-word@h:port/x", "(hidden)", "percent-encoded"),
        ("tradebox.sqlite3", "(hidden)", "cannot be read; write"),
        ("sqlite://", "(hidden)", "must name a file: the processes share it"),
        ("sqlite:///:memory:", "(hidden)", "must name a file"),
    ],
}


@pytest.mark.parametrize(
    ("name", "value", "shown", "reason"),
    [(name, *case) for name, cases in BAD.items() for case in cases],
)
def test_bad_values(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, shown: str, reason: str
) -> None:
    monkeypatch.setenv(name, value)
    errors = refused()
    assert errors.keys() == {name}
    assert errors[name][0] == shown
    assert reason in errors[name][1]


class TestExchanges:
    def test_live_lists_all_that_it_needs(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("EXCHANGE", "live")
        errors = refused()
        assert errors.keys() == LIVE.keys() - {"EXCHANGE"}
        assert {value for value, _ in errors.values()} == {"(not set)"}

    @pytest.mark.parametrize("missing", sorted(LIVE.keys() - {"EXCHANGE"}))
    def test_live_with_one_missing(self, monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
        set_all(monkeypatch, {name: value for name, value in LIVE.items() if name != missing})
        assert refused().keys() == {missing}

    @pytest.mark.parametrize(
        ("name", "value", "shown"),
        [("WEBHOOK_SECRET", "fifteen-letters", "(hidden)"), ("LIVE_TRADING", "yes", "yes")],
    )
    def test_live_with_one_not_good_enough(
        self, monkeypatch: pytest.MonkeyPatch, name: str, value: str, shown: str
    ) -> None:
        set_all(monkeypatch, LIVE | {name: value})
        errors = refused()
        assert errors.keys() == {name}
        assert errors[name][0] == shown

    def test_what_is_missing_comes_with_what_is_wrong(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        set_all(monkeypatch, {"EXCHANGE": "live", "PORT": "x", "SYMBOLS": ","})
        assert refused().keys() == LIVE.keys() - {"EXCHANGE"} | {"PORT", "SYMBOLS"}

    def test_live(self, monkeypatch: pytest.MonkeyPatch) -> None:
        set_all(monkeypatch, LIVE)
        settings = load_settings()
        assert settings.is_live
        assert settings.rest_url == "https://fapi.binance.com"
        assert settings.stream_url == "wss://fstream.binance.com"
        assert settings.api_key == SecretStr("key-of-mine")
        assert settings.api_secret == SecretStr("secret-of-mine")

    def test_demo_needs_its_keys(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("EXCHANGE", "demo")
        assert refused().keys() == {"BINANCE_API_KEY", "BINANCE_API_SECRET"}
        set_all(monkeypatch, {"BINANCE_API_KEY": "k", "BINANCE_API_SECRET": "s"})
        settings = load_settings()
        assert not settings.is_live
        assert settings.rest_url == "https://demo-fapi.binance.com"
        assert settings.stream_url == "wss://fstream.binancefuture.com"

    def test_paper_never_uses_the_real_keys(self, monkeypatch: pytest.MonkeyPatch) -> None:
        set_all(monkeypatch, LIVE | {"EXCHANGE": "paper", "PAPER_URL": "https://paper.internal"})
        settings = load_settings()
        assert settings.api_key == SecretStr("paper-key")
        assert settings.rest_url == "https://paper.internal"
        assert settings.stream_url == "wss://paper.internal"

    def test_paper_over_plain_http(self) -> None:
        assert load_settings().stream_url == "ws://127.0.0.1:8010"


DATABASES = {  # given: (asynchronous, synchronous)
    "postgresql://u:p@h:5432/x": (
        "postgresql+asyncpg://u:p@h:5432/x",
        "postgresql+psycopg2://u:p@h:5432/x",
    ),
    "postgres://u:p%40%2F@h/x": (
        "postgresql+asyncpg://u:p%40%2F@h/x",
        "postgresql+psycopg2://u:p%40%2F@h/x",
    ),
    "postgresql+asyncpg://h/x?ssl=require": (
        "postgresql+asyncpg://h/x?ssl=require",
        "postgresql+psycopg2://h/x?sslmode=require",
    ),
    "postgresql+psycopg2://h/x?sslmode=require": (
        "postgresql+asyncpg://h/x?ssl=require",
        "postgresql+psycopg2://h/x?sslmode=require",
    ),
    "sqlite:///data/x.sqlite3": ("sqlite+aiosqlite:///data/x.sqlite3", "sqlite:///data/x.sqlite3"),
    "sqlite+aiosqlite:////var/x.db": ("sqlite+aiosqlite:////var/x.db", "sqlite:////var/x.db"),
}


class TestDatabase:
    @pytest.mark.parametrize(("given", "urls"), DATABASES.items(), ids=DATABASES.keys())
    def test_drivers(
        self, monkeypatch: pytest.MonkeyPatch, given: str, urls: tuple[str, str]
    ) -> None:
        monkeypatch.setenv("DB_CONNECTION_STR", given)
        settings = load_settings()
        assert (settings.async_url, settings.sync_url) == urls

    def test_the_file(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert load_settings().sqlite_path == Path("data/tradebox.sqlite3")
        monkeypatch.setenv("DB_CONNECTION_STR", "postgresql://h/x")
        assert load_settings().sqlite_path is None

    def test_the_address_in_logs(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("DB_CONNECTION_STR", LIVE["DB_CONNECTION_STR"])
        assert load_settings().shown_url == "postgresql://trader:***@db.internal/tradebox"


class TestSecretsStaySecret:
    def test_in_the_settings_text(self, monkeypatch: pytest.MonkeyPatch) -> None:
        set_all(monkeypatch, LIVE)
        settings = load_settings()
        shown = f"{settings!r} {settings} {settings.model_dump()} {settings.model_dump_json()}"
        assert not [secret for secret in SECRETS if secret in shown]

    @pytest.mark.parametrize("broken", ["PORT", "LIVE_TRADING", "DB_CONNECTION_STR"])
    def test_in_errors_and_their_tracebacks(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, broken: str
    ) -> None:
        bad_url = "postgresql://u:db-word@h:not-a-port-db-word/x"
        bad = {"PORT": "x", "LIVE_TRADING": "", "DB_CONNECTION_STR": bad_url}
        (tmp_path / ".env").write_text("secret-of-mine operator-word\n")
        set_all(monkeypatch, LIVE | {broken: bad[broken]})
        with pytest.raises(ConfigInvalid) as caught:
            load_settings()
        shown = "".join(traceback.format_exception(caught.value)) + repr(caught.value.errors)
        assert broken in shown
        assert not [secret for secret in SECRETS if secret in shown]

    def test_in_pydantic_s_own_error(self, monkeypatch: pytest.MonkeyPatch) -> None:
        set_all(monkeypatch, LIVE | {"WEBHOOK_SECRET": "short-word", "PORT": "x"})
        with pytest.raises(ValidationError) as caught:
            Settings()
        assert "short-word" not in str(caught.value)


class TestLimits:
    def test_none_is_set_by_default(self) -> None:
        settings = load_settings()
        assert settings.guards == NO_GUARDS
        assert settings.policy.min_liquidation_distance is None

    def test_they_are_read(self, monkeypatch: pytest.MonkeyPatch) -> None:
        given = {
            "MAX_TOTAL_NOTIONAL": "25000.5",
            "MAX_OPEN_CYCLES": "4",
            "MAX_DAILY_LOSS": "120",
            "SYMBOL_COOLDOWN": "90",
            "MIN_LIQUIDATION_DISTANCE": "7.5",
        }
        set_all(monkeypatch, given)
        settings = load_settings()
        assert settings.guards == Guards(
            max_total_notional=Decimal("25000.5"),
            max_open_cycles=4,
            max_daily_loss=Decimal(120),
            symbol_cooldown_ms=90_000,
        )
        assert settings.policy.min_liquidation_distance == Decimal("7.5")

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("MAX_TOTAL_NOTIONAL", "0"),
            ("MAX_OPEN_CYCLES", "0"),
            ("MAX_OPEN_CYCLES", "1.5"),
            ("MAX_DAILY_LOSS", "-1"),
            ("SYMBOL_COOLDOWN", "-1"),
            ("MIN_LIQUIDATION_DISTANCE", "100"),
            ("MIN_LIQUIDATION_DISTANCE", "NaN"),
        ],
    )
    def test_what_is_none_is_refused(
        self, monkeypatch: pytest.MonkeyPatch, name: str, value: str
    ) -> None:
        monkeypatch.setenv(name, value)
        assert list(refused()) == [name]


class TestExample:
    """`.env.example` documents every variable with its default and starts as it is."""

    path = Path(config.__file__).with_name(".env.example")

    def test_every_variable_is_there(self) -> None:
        names = list(dotenv_values(self.path))
        assert sorted(names) == sorted(name.upper() for name in Settings.model_fields)
        assert len(names) == len(set(names))

    def test_every_variable_is_explained(self) -> None:
        blocks = self.path.read_text().split("\n\n")
        groups = [block for block in blocks if any("=" in x for x in block.splitlines())]
        assert len(groups) > 10
        assert all(block.startswith("#") for block in groups)

    def test_it_says_the_defaults(self, monkeypatch: pytest.MonkeyPatch) -> None:
        defaults = load_settings()
        monkeypatch.setenv("TRADEBOX_ENV_FILE", str(self.path))
        assert load_settings() == defaults


def test_the_list_of_symbols_of_a_command_line() -> None:
    assert parse_symbols("btcusdt,ETHUSDT , btcusdt") == ("BTCUSDT", "ETHUSDT")
    with pytest.raises(ValueError, match="an empty item: must be a symbol"):
        parse_symbols("")


def test_demo_has_a_database_of_its_own_for_whatever_is_started(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EXCHANGE", "demo")
    monkeypatch.setenv("BINANCE_API_KEY", "k" * 16)
    monkeypatch.setenv("BINANCE_API_SECRET", "s" * 16)
    monkeypatch.setenv("DB_CONNECTION_STR", "")
    assert load_settings().sqlite_path == Path("data/demo.sqlite3")


def test_the_day_is_not_summed_up_in_quiet_hours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_QUIET_HOURS", "22:00-09:00")
    why = "08:00 lies in NOTIFY_QUIET_HOURS 22:00-09:00; take another time, or off"
    assert refused() == {"NOTIFY_SUMMARY_AT": ("08:00:00", why)}
    monkeypatch.setenv("NOTIFY_SUMMARY_AT", "09:00")
    assert load_settings().notify_summary_at == time(9)
    monkeypatch.setenv("NOTIFY_SUMMARY_AT", "off")
    assert load_settings().notify_summary_at is None


def test_the_version_is_the_project_s() -> None:
    project = Path(config.__file__).with_name("pyproject.toml").read_text("utf-8")
    assert tomllib.loads(project)["project"]["version"] == config.VERSION
