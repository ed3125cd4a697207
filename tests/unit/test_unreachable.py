"""What is said where there was no connection: to whom and why, and nothing of the request."""

import socket
import ssl

import aiohttp
import pytest
from aiohttp.client_reqrep import ConnectionKey

from core.clients.unreachable import no_connection
from launcher.errors import told

ADDRESS = ConnectionKey("fapi.example.com", 443, True, True, None, None, None)
CAUSES: dict[str, tuple[Exception, str]] = {
    "refused": (ConnectionRefusedError(111, "Connect call failed ('1.2.3.4', 443)"), "refused"),
    "no such name": (socket.gaierror(-2, "Name or service not known"), "Name or service not known"),
    "a wrong certificate": (ssl.SSLError(1, "certificate verify failed"), "certificate verify"),
    "several addresses": (OSError("Multiple exceptions: …"), "OSError"),
}


def lost(cause: Exception) -> aiohttp.ClientConnectorError:
    """Return the error as aiohttp raises it."""
    os_error = cause if isinstance(cause, OSError) else OSError()
    with pytest.raises(aiohttp.ClientConnectorError) as raised:
        raise aiohttp.ClientConnectorError(ADDRESS, os_error) from cause
    return raised.value


@pytest.mark.parametrize(("cause", "why"), CAUSES.values(), ids=CAUSES.keys())
def test_the_host_and_the_reason_are_named(cause: Exception, why: str) -> None:
    text = no_connection(lost(cause))
    assert text.startswith("no connection to fapi.example.com:443 (")
    assert why in text
    assert "Connect call failed" not in text


def test_the_launcher_says_the_same_and_is_never_without_a_word() -> None:
    refused = lost(CAUSES["refused"][0])
    assert told(refused) == no_connection(refused)
    assert told(TimeoutError()) == "TimeoutError"
    assert told(OSError("as it is")) == "as it is"
