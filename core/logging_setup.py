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

HIDDEN: Final = "***"
_SHORTEST_SECRET: Final = 4  # anything shorter would be found inside ordinary words
_SECRET_NAMES: Final = re.compile(r"secret|password|token|signature|api_?key|authorization|cookie")
# In addresses: what signs a request, and the password before the host.
_SECRET_PARTS: Final = re.compile(r"(?<=signature=)[^&\s]+|(?<=:)[^:/@\s]+(?=@)")
_FRAMES_SHOWN: Final = 8
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
    for chatty in ("aiosqlite", "alembic", "asyncio", "httpx", "sqlalchemy", "uvicorn"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


def secret_texts(settings: BaseModel) -> list[str]:
    """Return every secret of the settings; of an address, its password."""
    values = [getattr(settings, name) for name in type(settings).model_fields]
    texts = [value.get_secret_value() for value in values if isinstance(value, SecretStr)]
    passwords = [urlsplit(text).password for text in texts if "://" in text]
    return [
        *(text for text in texts if "://" not in text),
        *(form for word in passwords if word for form in (word, unquote(word))),
    ]


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
