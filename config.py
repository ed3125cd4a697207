"""The installation's configuration: the only reader of the environment and of `.env`.

`get_settings()` gives the values, read once. Whatever is wrong or missing is reported together, in
one `ConfigInvalid`, which never contains a secret. `.env.example` describes every variable.
"""

import difflib
import io
import os
from collections.abc import Iterator
from datetime import time
from decimal import Decimal
from enum import StrEnum
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Final, get_args
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from dotenv.parser import parse_stream
from pydantic import (
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_core import ErrorDetails
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from core.domain.guards import Guards
from core.domain.settings import MultiplierMode, OnHedgeFailed, Policy
from core.errors import ConfigInvalid, FieldError
from core.notice_rules import Hours, NoticeLevel, parse_hours, parse_time
from core.passwords import is_hash
from core.schemas.webhook import parse_symbol
from core.senders import Networks, parse_networks

VERSION: Final = "0.1.0"  # as in pyproject.toml
DEFAULT_DATABASE: Final = "sqlite:///data/tradebox.sqlite3"
# Its own: whatever is started with EXCHANGE=demo must not look into paper's cycles.
DEMO_DATABASE: Final = "sqlite:///data/demo.sqlite3"
LIVE_CONSENT: Final = "real-money"
# In the path of a webhook's address it is all that stands between the internet and the account.
WEBHOOK_SECRET_LENGTH: Final = 16
SESSION_SECRET_LENGTH: Final = 32
ENV_FILE_VARIABLE: Final = "TRADEBOX_ENV_FILE"
NOT_SET: Final = "(not set)"
HIDDEN: Final = "(hidden)"
VALUE_SHOWN: Final = 80

# What may stand before `://` and the drivers that we use for it: (asynchronous, synchronous).
_DRIVERS: Final = {
    "postgresql": ("postgresql+asyncpg", "postgresql+psycopg2"),
    "sqlite": ("sqlite+aiosqlite", "sqlite"),
}


class Exchange(StrEnum):
    """Where orders go."""

    PAPER = "paper"
    DEMO = "demo"
    LIVE = "live"


class FlatAction(StrEnum):
    """What a `positionSide: flat` alert does."""

    IGNORE = "ignore"
    CLOSE = "close"


class MarginType(StrEnum):
    """The margin type that a symbol must have before an entry; KEEP takes it as it is."""

    CROSSED = "CROSSED"
    ISOLATED = "ISOLATED"
    KEEP = "KEEP"


class FundsCheck(StrEnum):
    """What an available balance below deposit + extramarg does to an alert."""

    REFUSE = "refuse"
    WARN = "warn"


class LogLevel(StrEnum):
    """The least important log lines that are shown."""

    DEBUG = "DEBUG"
    INFO = "INFO"
    WARNING = "WARNING"
    ERROR = "ERROR"


_REST_URLS: Final = {
    Exchange.LIVE: "https://fapi.binance.com",
    Exchange.DEMO: "https://demo-fapi.binance.com",
}
# The spot host's: there is no such call for futures, and none on the demo exchange.
_PERMISSIONS_URLS: Final = {Exchange.LIVE: "https://api.binance.com"}
_STREAM_URLS: Final = {
    Exchange.LIVE: "wss://fstream.binance.com",
    Exchange.DEMO: "wss://fstream.binancefuture.com",
}


class Settings(BaseSettings):
    """All variables, named as in the environment but in lower case."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="ignore",  # the environment is full of other programs' variables
        env_ignore_empty=True,
        hide_input_in_errors=True,
        allow_inf_nan=False,
    )

    # First, because the validators below ask which exchange it is.
    exchange: Exchange = Exchange.PAPER
    live_trading: Annotated[str, Field(validate_default=True)] = ""
    binance_api_key: Annotated[SecretStr | None, Field(validate_default=True)] = None
    binance_api_secret: Annotated[SecretStr | None, Field(validate_default=True)] = None
    paper_url: str = "http://127.0.0.1:8010"
    paper_api_key: SecretStr = SecretStr("paper-key")
    paper_api_secret: SecretStr = SecretStr("paper-secret")
    symbols: Annotated[tuple[str, ...], NoDecode] = ("BTCUSDT",)

    # Secret as a whole, because it may carry a password.
    db_connection_str: Annotated[SecretStr | None, Field(validate_default=True)] = None

    mg_mode: MultiplierMode | None = None
    flat_action: FlatAction = FlatAction.IGNORE
    margin_type: MarginType = MarginType.CROSSED
    funds_check: FundsCheck = FundsCheck.REFUSE
    exit_slippage: Annotated[Decimal, Field(ge=0, lt=1)] = Decimal("0.0002")  # a fraction, not %
    on_hedge_failed: OnHedgeFailed = OnHedgeFailed.HOLD

    # Limits over all cycles; not set: none. Quote units, whichever the quote asset is.
    max_total_notional: Annotated[Decimal | None, Field(gt=0)] = None
    max_open_cycles: Annotated[int | None, Field(ge=1)] = None
    max_daily_loss: Annotated[Decimal | None, Field(gt=0)] = None
    symbol_cooldown: Annotated[float, Field(ge=0, le=86400)] = 0  # seconds
    min_liquidation_distance: Annotated[Decimal | None, Field(gt=0, lt=100)] = (
        None  # % of the price
    )

    stream_timeout: Annotated[float, Field(gt=0, le=3600)] = 30  # seconds
    # Seconds; a listenKey lives for an hour after its last keep-alive.
    user_timeout: Annotated[float, Field(gt=0, lt=3600)] = 1800
    rate_share: Annotated[Decimal, Field(gt=0, le=1)] = Decimal("0.5")  # of the request budget

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=1, le=65535)] = 8009
    webhook_secret: Annotated[SecretStr | None, Field(validate_default=True)] = None
    max_signal_age: Annotated[float, Field(ge=0, le=86400)] = 60  # seconds; 0: any age is taken
    duplicate_window: Annotated[float, Field(ge=0, le=86400)] = 60  # seconds; 0: ids only
    alert_rate: Annotated[float, Field(gt=0, le=100_000)] = 20  # a second, of one source
    alert_total_rate: Annotated[float, Field(gt=0, le=100_000)] = 200  # of all strangers together
    alert_sources: Annotated[Networks, NoDecode] = ()  # addresses; none: alerts come from anywhere
    trusted_proxies: Annotated[Networks, NoDecode] = ()
    # A header, and its value, by which a trusted proxy says that the sender showed its certificate.
    client_cert_header: str = ""
    client_cert_value: Annotated[str, Field(validate_default=True)] = ""
    admin_user: str = "admin"
    # As it is, or its argon2id hash. None: the launcher makes one up and shows it once; without a
    # launcher nobody can log in.
    admin_password: Annotated[SecretStr | None, Field(validate_default=True)] = None
    session_secret: SecretStr | None = None  # None: made up at start, which ends all sessions

    retention_days: Annotated[int, Field(ge=0, le=36_500)] = 90  # 0: everything is kept

    # Addresses of Apprise's, each with its token; not set: nobody is told anything.
    notify_urls: SecretStr | None = None
    notify_level: NoticeLevel = NoticeLevel.CYCLES
    notify_timezone: str = "UTC"  # of the two below
    notify_quiet_hours: Annotated[Hours | None, NoDecode] = None
    notify_summary_at: Annotated[time | None, NoDecode, Field(validate_default=True)] = time(8)

    sentry_dsn: SecretStr | None = None  # not set: nothing is reported to anybody
    sentry_environment: str = ""  # empty: the exchange's name
    sentry_traces: Annotated[float, Field(ge=0, le=1)] = 0  # share of the flows that are reported

    prefect_api_url: str | None = None
    log_level: LogLevel = LogLevel.INFO

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read the environment only; `.env` comes in through `load_settings`, which checks it."""
        return init_settings, env_settings

    @property
    def is_live(self) -> bool:
        """Return whether real money is traded."""
        return self.exchange is Exchange.LIVE

    @property
    def rest_url(self) -> str:
        """Return the exchange's REST address, without a path."""
        return _REST_URLS.get(self.exchange, self.paper_url)

    @property
    def permissions_url(self) -> str | None:
        """Return where the API key's permissions are read; None: this exchange does not tell."""
        return _PERMISSIONS_URLS.get(self.exchange)

    @property
    def client_certificate(self) -> tuple[str, str] | None:
        """Return header and value that a proxy vouches for the sender with; None: not asked for."""
        header = self.client_cert_header
        return (header, self.client_cert_value) if header else None

    @property
    def stream_url(self) -> str:
        """Return the exchange's websocket address, without a path."""
        paper = "ws" + self.paper_url.removeprefix("http")  # https becomes wss
        return _STREAM_URLS.get(self.exchange, paper)

    @property
    def api_key(self) -> SecretStr:
        """Return the key for the exchange in use."""
        if self.exchange is Exchange.PAPER:
            return self.paper_api_key
        assert self.binance_api_key is not None, "demanded by _demand"
        return self.binance_api_key

    @property
    def api_secret(self) -> SecretStr:
        """Return the secret for the exchange in use."""
        if self.exchange is Exchange.PAPER:
            return self.paper_api_secret
        assert self.binance_api_secret is not None, "demanded by _demand"
        return self.binance_api_secret

    @property
    def async_url(self) -> str:
        """Return the database's address for SQLAlchemy's asynchronous engine."""
        url = self._database_url()
        if "sslmode" in url.query:  # libpq's name; asyncpg calls it ssl
            query = {"ssl" if key == "sslmode" else key: value for key, value in url.query.items()}
            url = url.set(query=query)
        return self._rendered(url, driver=0)

    @property
    def sync_url(self) -> str:
        """Return the database's address for SQLAlchemy's synchronous engine."""
        url = self._database_url()
        if "ssl" in url.query and url.get_backend_name() == "postgresql":
            query = {"sslmode" if key == "ssl" else key: value for key, value in url.query.items()}
            url = url.set(query=query)
        return self._rendered(url, driver=1)

    @property
    def shown_url(self) -> str:
        """Return the database's address for logs, its password hidden."""
        return self._database_url().render_as_string(hide_password=True)

    @property
    def sqlite_path(self) -> Path | None:
        """Return the SQLite file; None with PostgreSQL."""
        url = self._database_url()
        return Path(url.database or "") if url.get_backend_name() == "sqlite" else None

    @property
    def policy(self) -> Policy:
        """Return what each new cycle copies from the installation."""
        return Policy(
            exit_slippage=self.exit_slippage,
            on_hedge_failed=self.on_hedge_failed,
            min_liquidation_distance=self.min_liquidation_distance,
        )

    @property
    def guards(self) -> Guards:
        """Return the limits that new cycles must keep."""
        return Guards(
            max_total_notional=self.max_total_notional,
            max_open_cycles=self.max_open_cycles,
            max_daily_loss=self.max_daily_loss,
            symbol_cooldown_ms=int(self.symbol_cooldown * 1000),
        )

    def _database_url(self) -> URL:
        given = self.db_connection_str
        default = DEMO_DATABASE if self.exchange is Exchange.DEMO else DEFAULT_DATABASE
        return make_url(given.get_secret_value() if given else default)

    def _rendered(self, url: URL, *, driver: int) -> str:
        name = _DRIVERS[url.get_backend_name()][driver]
        return url.set(drivername=name).render_as_string(hide_password=False)

    @field_validator("*", mode="before")
    @classmethod
    def _strip(cls, value: object) -> object:
        return value.strip() if isinstance(value, str) else value

    @field_validator(
        "exchange",
        "flat_action",
        "funds_check",
        "on_hedge_failed",
        "mg_mode",
        "notify_level",
        mode="before",
    )
    @classmethod
    def _lower(cls, value: object) -> object:
        return value.lower() if isinstance(value, str) else value

    @field_validator("margin_type", "log_level", mode="before")
    @classmethod
    def _upper(cls, value: object) -> object:
        return value.upper() if isinstance(value, str) else value

    @field_validator("symbols", mode="before")
    @classmethod
    def _split_symbols(cls, value: object) -> object:
        return parse_symbols(value) if isinstance(value, str) else value

    @field_validator("alert_sources", "trusted_proxies", mode="before")
    @classmethod
    def _split_networks(cls, value: object) -> object:
        return parse_networks(value) if isinstance(value, str) else value

    @field_validator("notify_quiet_hours", mode="before")
    @classmethod
    def _split_hours(cls, value: object) -> object:
        return parse_hours(value) if isinstance(value, str) else value

    @field_validator("notify_summary_at", mode="before")
    @classmethod
    def _read_time(cls, value: object) -> object:
        if isinstance(value, str):
            return None if value.lower() == "off" else parse_time(value)
        return value

    @field_validator("notify_summary_at")
    @classmethod
    def _demand_loud_hour(cls, value: time | None, info: ValidationInfo) -> time | None:
        quiet = info.data.get("notify_quiet_hours")
        if value is not None and quiet is not None and value in quiet:
            raise ValueError(
                f"{value:%H:%M} lies in NOTIFY_QUIET_HOURS {quiet}; take another time, or off"
            )
        return value

    @field_validator("notify_timezone")
    @classmethod
    def _check_zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError("is no time zone; write it as Europe/Berlin") from None
        return value

    @field_validator("notify_urls")
    @classmethod
    def _check_channels(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            # Not at the top: it takes seconds, and most installations have no channel.
            from core.clients.notice_channels import open_channels

            open_channels(value.get_secret_value())
        return value

    @field_validator("sentry_dsn")
    @classmethod
    def _check_dsn(cls, value: SecretStr | None) -> SecretStr | None:
        parts = urlsplit(value.get_secret_value()) if value is not None else None
        if parts is not None and not (
            parts.scheme in ("http", "https")
            and parts.username
            and parts.hostname
            and parts.path.rpartition("/")[2].isdigit()
        ):
            raise ValueError("must be a DSN as Sentry shows it: https://key@host/number")
        return value

    @field_validator("client_cert_value")
    @classmethod
    def _demand_proxy(cls, value: str, info: ValidationInfo) -> str:
        header = info.data.get("client_cert_header", "")
        if bool(header) != bool(value):
            raise ValueError("CLIENT_CERT_HEADER and CLIENT_CERT_VALUE belong together")
        if header and not info.data.get("trusted_proxies"):
            raise ValueError("needs TRUSTED_PROXIES: anyone else could send the header himself")
        return value

    @field_validator("paper_url", "prefect_api_url")
    @classmethod
    def _check_url(cls, value: str | None) -> str | None:
        if value is None:
            return None
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise ValueError("must be an address such as http://127.0.0.1:8010")
        return value.rstrip("/")

    @field_validator("db_connection_str")
    @classmethod
    def _check_database(cls, value: SecretStr | None) -> SecretStr | None:
        return None if value is None else SecretStr(_normalised_url(value.get_secret_value()))

    @field_validator("binance_api_key", "binance_api_secret")
    @classmethod
    def _demand_key(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        exchange = info.data.get("exchange", Exchange.PAPER)
        if not value and exchange is not Exchange.PAPER:
            kind = "demo trading" if exchange is Exchange.DEMO else "your account"
            raise ValueError(
                f"needed with EXCHANGE={exchange}; make an API key for {kind} at Binance"
            )
        return value

    @field_validator("live_trading")
    @classmethod
    def _demand_consent(cls, value: str, info: ValidationInfo) -> str:
        if info.data.get("exchange") is Exchange.LIVE and value != LIVE_CONSENT:
            raise ValueError(f"set it to {LIVE_CONSENT} if EXCHANGE=live is really meant")
        return value

    @field_validator("webhook_secret")
    @classmethod
    def _demand_webhook_secret(
        cls, value: SecretStr | None, info: ValidationInfo
    ) -> SecretStr | None:
        if info.data.get("exchange") is Exchange.LIVE and (
            not value or len(value) < WEBHOOK_SECRET_LENGTH
        ):
            raise ValueError(
                f"needed with EXCHANGE=live, at least {WEBHOOK_SECRET_LENGTH} characters; "
                "put the same into your alerts"
            )
        return value

    @field_validator("admin_password")
    @classmethod
    def _demand_password(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        if info.data.get("exchange") is Exchange.LIVE and not value:
            raise ValueError("needed with EXCHANGE=live; it guards the panel")
        if value is not None:
            is_hash(value.get_secret_value())  # which refuses a piece of one
        return value

    @field_validator("session_secret")
    @classmethod
    def _demand_long_secret(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and len(value) < SESSION_SECRET_LENGTH:
            raise ValueError(
                f"at least {SESSION_SECRET_LENGTH} characters: whoever sees the login page has "
                "something signed with it; take the output of `openssl rand -hex 32`"
            )
        return value

    @field_validator("db_connection_str")
    @classmethod
    def _demand_database(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        if info.data.get("exchange") is Exchange.LIVE and not value:
            raise ValueError(
                "needed with EXCHANGE=live; name the database, e.g. postgresql://user:password@host/db"
            )
        return value


@lru_cache(maxsize=1)
def get_settings() -> Settings:
    """Return the configuration, read once; raise `ConfigInvalid` with all its errors."""
    return load_settings()


def load_settings() -> Settings:
    """Return the configuration as it is now: the environment, then `.env`, then the defaults.

    `.env` is looked for in the working directory, or where TRADEBOX_ENV_FILE says.
    """
    named = os.environ.get(ENV_FILE_VARIABLE)
    errors: list[FieldError] = []
    values = _read_env_file(env_file(), must_exist=bool(named), errors=errors)
    unset = {name: value for name, value in values.items() if not _is_in_environment(name)}
    try:
        settings = Settings(**unset)
    except ValidationError as error:
        errors += [_explained(details) for details in error.errors()]
    if errors:
        # The causes carry values, secrets among them: they stay out of the traceback.
        raise ConfigInvalid(errors) from None
    return settings


def env_file() -> Path:
    """Return the file that variables are read from, whether it exists or not."""
    return Path(os.environ.get(ENV_FILE_VARIABLE) or ".env")


def parse_symbols(text: str) -> tuple[str, ...]:
    """Return the symbols of a comma-separated list, each once; ValueError names a bad one."""
    symbols: dict[str, None] = {}
    for item in text.split(","):
        try:
            symbols[parse_symbol(item)] = None
        except ValueError as error:
            raise ValueError(f"{item.strip() or 'an empty item'}: {error}") from None
    return tuple(symbols)


def variable_names() -> tuple[str, ...]:
    """Return every variable that is read, as written in the environment."""
    return (*(name.upper() for name in Settings.model_fields), ENV_FILE_VARIABLE)


def _read_env_file(path: Path, *, must_exist: bool, errors: list[FieldError]) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        if must_exist:
            errors.append(_file_error(path, f"does not exist; correct {ENV_FILE_VARIABLE}"))
        return {}
    except OSError as error:
        errors.append(_file_error(path, f"cannot be read: {error.strerror}"))
        return {}
    except UnicodeDecodeError as error:
        errors.append(_file_error(path, f"is not UTF-8 text (byte {error.start})"))
        return {}
    return dict(_env_pairs(text, path, errors))


def _env_pairs(text: str, path: Path, errors: list[FieldError]) -> Iterator[tuple[str, str]]:
    known = variable_names()
    for binding in parse_stream(io.StringIO(text)):
        line = f"line {binding.original.line}"
        if binding.error or (binding.key is not None and binding.value is None):
            errors.append(_file_error(path, f"{line} is not of the form NAME=value"))
        elif binding.key is None or not binding.value:
            continue  # a comment, a blank line, or a variable that is left to its default
        elif binding.key in known:
            yield binding.key.lower(), binding.value
        elif near := difflib.get_close_matches(binding.key, known, n=1, cutoff=0.85):
            errors.append(_file_error(path, f"{line}: unknown {binding.key}, is it {near[0]}?"))


def _is_in_environment(name: str) -> bool:
    return any(key.lower() == name and value for key, value in os.environ.items())


def _file_error(path: Path, reason: str) -> FieldError:
    return FieldError(field=".env", value=str(path), reason=reason)


def _explained(details: ErrorDetails) -> FieldError:
    name = str(details["loc"][0])
    reason = details["msg"].removeprefix("Value error, ").replace("Input should be", "must be")
    given = details["input"]
    if given is None or given == "":
        shown = NOT_SET
    elif _is_secret(name) or "@" in str(given):  # an address may carry a password too
        shown = HIDDEN
    else:
        shown = str(given)[:VALUE_SHOWN]
    return FieldError(field=name.upper(), value=shown, reason=reason)


def _is_secret(name: str) -> bool:
    annotation = Settings.model_fields[name].annotation
    return annotation is SecretStr or SecretStr in get_args(annotation)


def _normalised_url(text: str) -> str:
    try:
        url = make_url(text)
        backend = "postgresql" if url.drivername == "postgres" else url.get_backend_name()
    except (ArgumentError, ValueError):
        # Their messages may quote a piece of the password.
        raise ValueError(
            "cannot be read; write postgresql://user:password@host:5432/name (special characters "
            "of the password percent-encoded) or sqlite:///path/to/file.sqlite3"
        ) from None
    if backend not in _DRIVERS:
        raise ValueError("must be a postgresql:// or a sqlite:/// address")
    if backend == "sqlite" and url.database in (None, "", ":memory:"):
        raise ValueError("must name a file: the processes share it")
    return url.set(drivername=backend).render_as_string(hide_password=False)
