"""Logs on standard output: one line per event, a fixed phrase and its fields, without secrets.

    2026-11-22T10:07:20.123Z INFO    alert answered symbol=BTCUSDT webhook=3

Every process calls `set_up_logging` once, first. Both structlog's loggers and the standard
library's (libraries use them) end here. Whatever is registered as a secret is cut out of all texts.
"""

import logging
import re
import sys
import traceback
from collections.abc import Iterable
from typing import Any, Final, TextIO
from urllib.parse import unquote, urlsplit

import structlog
from pydantic import BaseModel, SecretStr
from structlog.typing import EventDict, ExcInfo, Processor

from core.alert_secrets import PREFIX

HIDDEN: Final = "***"
FAILURE: Final = "_failure"
_SHORTEST_SECRET: Final = 4  # anything shorter would be found inside ordinary words
_SECRET_NAMES: Final = re.compile(r"secret|password|token|signature|api_?key|authorization|cookie")
# In addresses: what signs a request, and the password before the host. Anywhere: secrets of alerts
# that we made, of which nothing but digests is known here.
_SECRET_PARTS: Final = re.compile(
    rf"(?<=signature=)[^&\s]+|(?<=:)[^:/@\s]+(?=@)|\b{PREFIX}[A-Za-z0-9_-]{{32,}}"
)
# Addresses whose every part may be a token, and what is too short for one.
_ALL_SECRET: Final = ("notify_urls", "sentry_dsn")
_SHORTEST_TOKEN: Final = 8
_HERE: Final = re.compile(r"localhost|[0-9.]+\.[0-9.]+")  # of every log, and nobody's token
_FRAMES_SHOWN: Final = 8
_CHATTY: Final = (  # their lesser lines hold addresses, or say nothing
    *("aiosqlite", "alembic", "apprise", "asyncio", "httpx"),
    *("sentry_sdk", "sqlalchemy", "urllib3", "uvicorn"),
)
_OWN_KEYS: Final = ("timestamp", "level", "event", "color_message")  # the last is uvicorn's


def set_up_logging(
    level: str, *, secrets: Iterable[str] = (), stream: TextIO | None = None
) -> None:
    """Send every log line of this process to `stream` (standard output).

    Args:
        level: the least important level that is shown: DEBUG, INFO, WARNING or ERROR.
        secrets: texts that must never be shown.
        stream: where lines go.
    """
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="%Y-%m-%dT%H:%M:%S.%f", utc=True),
        _with_failure,
        Redaction(secrets),
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,  # loggers made at import must follow this call
    )
    handler = logging.StreamHandler(stream or sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.ExtraAdder(), *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, render],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for chatty in _CHATTY:
        logging.getLogger(chatty).setLevel(logging.WARNING)


def secret_texts(settings: BaseModel) -> list[str]:
    """Return every secret of the settings; of an address, its password."""
    values = {name: getattr(settings, name) for name in type(settings).model_fields}
    found: list[str] = []
    for name, value in values.items():
        if not isinstance(value, SecretStr):
            continue
        text = value.get_secret_value()
        if "://" not in text:
            found.append(text)
        elif name in _ALL_SECRET:
            found += _long_parts(text)
        else:
            found += _both_forms(urlsplit(text).password)
    return found


def _both_forms(word: str | None) -> list[str]:
    return [word, unquote(word)] if word else []


def _long_parts(addresses: str) -> list[str]:
    """Return what may be a token of such addresses: too much is hidden rather than too little."""
    words = [word for word in re.split(r"[\s,;:/@?&=#]+", addresses) if not _HERE.fullmatch(word)]
    return [form for word in words if len(word) >= _SHORTEST_TOKEN for form in _both_forms(word)]


class Redaction:
    """A processor that hides secrets: fields named like one, and registered texts anywhere."""

    def __init__(self, secrets: Iterable[str]) -> None:
        known = sorted({s for s in secrets if len(s) >= _SHORTEST_SECRET}, key=len, reverse=True)
        self._known = re.compile("|".join(map(re.escape, known))) if known else None

    def __call__(self, logger: Any, method: str, event: EventDict) -> EventDict:
        """Return the event with its secrets hidden."""
        for name, value in event.items():
            if name.startswith("_"):
                continue  # structlog's own, never shown
            if _SECRET_NAMES.search(name.lower()):
                event[name] = HIDDEN
            elif not isinstance(value, bool | int | float | None):
                event[name] = self.hide(str(value))
        return event

    def clean(self, value: Any) -> Any:
        """Return a copy of nested values without secrets: in texts, and under names like one."""
        match value:
            case str():
                return self.hide(value)
            case dict():
                return {
                    name: HIDDEN if _SECRET_NAMES.search(str(name).lower()) else self.clean(inner)
                    for name, inner in value.items()
                }
            case list() | tuple():
                return [self.clean(inner) for inner in value]
            case _:
                return value

    def hide(self, text: str) -> str:
        """Return the text without secrets."""
        text = _SECRET_PARTS.sub(HIDDEN, text)
        return self._known.sub(HIDDEN, text) if self._known else text


def render(logger: Any, method: str, event: EventDict) -> str:
    """Return the event as one line."""
    shown = [f"{event['timestamp'][:23]}Z", f"{str(event['level']).upper():<7}", event["event"]]
    shown += [
        f"{name}={_quoted(value)}"
        for name, value in event.items()
        if name not in _OWN_KEYS and not name.startswith("_")
    ]
    return _on_one_line(" ".join(shown))


def _with_failure(logger: Any, method: str, event: EventDict) -> EventDict:
    """Return the event with its exception as fields: what it is, and where it came from."""
    info = event.pop("exc_info", None)
    error = _exception(info)
    if error is not None:
        frames = traceback.extract_tb(error.__traceback__)[-_FRAMES_SHOWN:]
        event[FAILURE] = error  # for handlers that make more of it than a line
        event["error"] = f"{type(error).__name__}: {error}"
        event["at"] = " > ".join(f"{_short(f.filename)}:{f.lineno}:{f.name}" for f in frames)
    return event


def _exception(info: ExcInfo | BaseException | bool | None) -> BaseException | None:
    if isinstance(info, BaseException):
        return info
    if isinstance(info, tuple):
        return info[1]
    return sys.exc_info()[1] if info else None


def _short(path: str) -> str:
    return "/".join(path.split("/")[-2:])


def _quoted(value: object) -> str:
    text = str(value)
    needs_quotes = not text or any(c.isspace() or c in '"=' for c in text)
    return '"' + text.replace('"', "'") + '"' if needs_quotes else text


def _on_one_line(text: str) -> str:
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
