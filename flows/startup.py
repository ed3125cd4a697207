"""What is looked at before the API serves: who else can read its files, what its key may do."""

import asyncio
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog

from core.clients.key_permissions import Key, read_permissions
from core.errors import ExchangeUnavailable, RequestRefused

READ_AGAIN_AFTER_S: Final = 60.0
_OTHERS_READ: Final = stat.S_IRGRP | stat.S_IROTH
_OTHERS_WRITE: Final = stat.S_IWGRP | stat.S_IWOTH
_SQLITE_PARTS: Final = ("", "-wal", "-shm")

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something about a file that should not be so."""

    path: Path
    text: str
    is_danger: bool  # with real money, nothing is served while it is so

    def __str__(self) -> str:
        """Return the one line that a person reads."""
        return f"{self.path} {self.text}"


def file_findings(*, env_file: Path, sqlite_file: Path | None) -> list[Finding]:
    """Return which other users of this machine can read secrets, or change what is traded."""
    findings = [*_findings(env_file, is_secret=True)]
    if sqlite_file is not None:
        for part in _SQLITE_PARTS:
            path = sqlite_file.with_name(sqlite_file.name + part)
            findings += _findings(path, is_secret=False)
    return findings


def _findings(path: Path, *, is_secret: bool) -> Iterator[Finding]:
    try:
        status = path.stat()
    except OSError:
        return  # not there, or not ours to look at: whoever opens it says so
    if not stat.S_ISREG(status.st_mode):
        return
    remedy = f"chmod {600 if is_secret else 640} {path}"
    if status.st_mode & _OTHERS_WRITE:
        text = f"can be changed by other users of this machine: {remedy}"
        yield Finding(path=path, text=text, is_danger=True)
    elif is_secret and status.st_mode & _OTHERS_READ:
        text = f"holds secrets, and other users of this machine can read it: {remedy}"
        yield Finding(path=path, text=text, is_danger=True)
    elif status.st_mode & stat.S_IROTH:
        text = f"can be read by every user of this machine: {remedy}"
        yield Finding(path=path, text=text, is_danger=False)


def tell(findings: Sequence[Finding], *, is_live: bool) -> list[Finding]:
    """Log what was found; return what keeps the process from serving."""
    dangers = [finding for finding in findings if finding.is_danger and is_live]
    for finding in findings:
        if finding not in dangers and (finding.is_danger or is_live):
            _log.warning("file not protected", file=str(finding.path), remedy=finding.text)
    return dangers


async def key_danger(base_url: str, key: Key, *, now_ms: int) -> str | None:
    """Return why this key must not be used; None: it may be. Raises ExchangeUnavailable."""
    try:
        permissions = await read_permissions(base_url, key, now_ms=now_ms)
    except RequestRefused as error:
        _log.warning("API key's permissions not shown", error=str(error))
        return None  # orders will tell; a key that can do nothing is no danger
    if permissions.enable_withdrawals:
        return "the API key can withdraw: switch withdrawals off for it at the exchange"
    if not permissions.ip_restrict:
        _log.warning("API key works from any address; restrict it to this machine's")
    else:
        _log.info("API key cannot withdraw, and works from listed addresses only")
    return None


async def watch_key(
    base_url: str,
    key: Key,
    *,
    now_ms: Callable[[], int],
    on_danger: Callable[[str], None],
    again_after_s: float = READ_AGAIN_AFTER_S,
) -> None:
    """Ask for the key's permissions until the exchange has told them."""
    while True:
        try:
            danger = await key_danger(base_url, key, now_ms=now_ms())
        except ExchangeUnavailable as error:
            _log.warning("API key's permissions not known yet", error=str(error))
            await asyncio.sleep(again_after_s)
            continue
        if danger is not None:
            on_danger(danger)
        return
