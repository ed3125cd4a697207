"""Whom there was no connection to, and why, in words."""

import os
import socket
import ssl

import aiohttp


def no_connection(error: aiohttp.ClientConnectorError) -> str:
    """Return host, port and reason; nothing of the path or the query, which holds a signature."""
    return f"no connection to {error.host}:{error.port} ({_reason(error)})"


def _reason(error: aiohttp.ClientConnectorError) -> str:
    cause = error.__cause__
    if not isinstance(cause, OSError):
        return type(error).__name__
    if cause.errno and not isinstance(cause, socket.gaierror | ssl.SSLError):
        return os.strerror(cause.errno)  # asyncio's own words repeat the address
    return cause.strerror or type(cause).__name__
