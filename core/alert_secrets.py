"""Secrets of alerts: made here, shown once, kept as digests.

A secret has 256 bits of chance, so that a plain digest cannot be turned back; nothing slower is
needed, and every alert is looked at while its sender waits.
"""

import hashlib
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from core.clients.alert_store import AlertStore
from core.domain.webhook import AlertSecret

PREFIX: Final = "tb_"  # so that people, and programs that look for leaks, know it when they see it
NAME_LENGTH_LIMIT: Final = 64
_BYTES: Final = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class NewSecret:
    """A secret that was just made; its text is nowhere else."""

    secret_id: int
    name: str
    text: str = field(repr=False)


async def make_secret(
    store: AlertStore, name: str, *, may_close_all: bool, created_by: str, created_at_ms: int
) -> NewSecret:
    """Make a secret for the source `name` (see `secret_name`), and keep its digest."""
    text = new_secret()
    secret_id = await store.add_secret(
        name,
        digest_of(text),
        may_close_all=may_close_all,
        created_by=created_by,
        created_at_ms=created_at_ms,
    )
    return NewSecret(secret_id=secret_id, name=name, text=text)


def secret_name(text: str) -> str:
    """Return the name of a source, as it is kept; ValueError if it is none."""
    name = text.strip()
    if not name.isprintable() or not 0 < len(name) <= NAME_LENGTH_LIMIT:
        raise ValueError(f"must be a name of at most {NAME_LENGTH_LIMIT} letters")
    return name


def new_secret() -> str:
    """Return a secret nobody has seen; fit for a path and for JSON."""
    return PREFIX + secrets.token_urlsafe(_BYTES)


def digest_of(secret: str) -> str:
    """Return what is stored of a secret."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def fitting(secret: str, known: Iterable[AlertSecret]) -> AlertSecret | None:
    """Return the valid secret that this is; every one is compared, each in constant time."""
    digest, found = digest_of(secret), None
    for each in known:
        if secrets.compare_digest(each.digest, digest) and each.revoked_at_ms is None:
            found = each
    return found


def is_same(secret: str, wanted: str) -> bool:
    """Return whether two secrets are the same, in constant time whatever their lengths."""
    return secrets.compare_digest(digest_of(secret), digest_of(wanted))
