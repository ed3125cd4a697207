"""Ports for the programs that tests start."""

import random
import socket
from typing import Final

# Below those that Linux gives to connections by itself: none of them goes to somebody else between
# our look and the program's start.
_FROM, _TO = 15_000, 32_000
_dice: Final = random.SystemRandom()
_given: Final[set[int]] = set()


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody listens on; never the same one twice."""
    while True:
        port = _dice.randrange(_FROM, _TO)
        if port not in _given and _is_free(port):
            _given.add(port)
            return port


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
