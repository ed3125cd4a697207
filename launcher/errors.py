"""What ends the launcher before its time: one line for the person who started it."""

from typing import Final

import aiohttp

from core.clients.unreachable import no_connection

EXIT_FAILED = 1  # something did not work
EXIT_USAGE = 2  # something was asked for that cannot be


# A process of ours is not there, or not yet.
AWAY: Final = (aiohttp.ClientError, TimeoutError, OSError)


def told(error: Exception) -> str:
    """Return why there was no answer, in words: a time-out has none of its own."""
    if isinstance(error, aiohttp.ClientConnectorError):
        return no_connection(error)
    return str(error) or type(error).__name__


class LaunchError(Exception):
    """The text is one line; `code` is the exit code."""

    def __init__(self, text: str, *, code: int = EXIT_FAILED) -> None:
        self.code = code
        super().__init__(text)


class UsageError(LaunchError):
    """A variable or an option that cannot be used as it is."""

    def __init__(self, text: str) -> None:
        super().__init__(text, code=EXIT_USAGE)
