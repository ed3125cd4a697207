"""Secrets of alerts: made here, shown once, kept as digests.

A secret has 256 bits of chance, so that a plain digest cannot be turned back; nothing slower is
needed, and every alert is looked at while its sender waits.
"""

import hashlib
import secrets
from collections.abc import Iterable
from typing import Final

from core.domain.webhook import AlertSecret

PREFIX: Final = "tb_"  # so that people, and programs that look for leaks, know it when they see it
NAME_LENGTH_LIMIT: Final = 64
_BYTES: Final = 32


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
