"""The operator's password: kept as an argon2id hash, from which nobody gets it back.

argon2-cffi's defaults are the second recommended option of RFC 9106: three passes over 64 MiB. A
check takes a tenth of a second of a processor and that memory: callers let few happen at once, and
none on the event loop.
"""

import re
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError, VerifyMismatchError

_HASHER: Final = PasswordHasher()
_BASE64: Final = "[A-Za-z0-9+/]"
_WHOLE: Final = re.compile(
    rf"\$argon2id\$v=19\$m=\d+,t=\d+,p=\d+\${_BASE64}{{11,}}\${_BASE64}{{22,}}"
)
# Also what a shell leaves of a hash in double quotes: it takes $argon2id, $v and $m for variables.
_PIECE: Final = re.compile(r"\$argon2|=\d+,t=\d+,p=\d+")


def is_hash(text: str) -> bool:
    """Return whether this is a hash, and no password.

    Raises:
        ValueError: it is a piece of one.
    """
    if _WHOLE.fullmatch(text):
        return True
    if _PIECE.search(text):
        raise ValueError(
            "is a piece of an argon2id hash, or another kind of hash; make one with "
            "`python operate.py password`, and in a shell put it between single quotes"
        )
    return False


def hashed(password: str) -> str:
    """Return a new hash of the password, with a salt of its own."""
    return _HASHER.hash(_bytes(password))


def fits(password: str, known_hash: str) -> bool:
    """Return whether the hash is this password's.

    Raises:
        ValueError: the hash cannot be worked with, e.g. because it asks for too much memory.
    """
    try:
        return _HASHER.verify(known_hash, _bytes(password))
    except VerifyMismatchError:
        return False
    except (InvalidHashError, VerificationError) as error:
        raise ValueError(f"the password's hash cannot be checked: {error}") from error


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
