"""The containers' health check against a server that answers well, badly, or not at all."""

import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from healthcheck import main


class _Answers(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/well" else 503)
        self.end_headers()

    def log_message(self, format: str, *arguments: object) -> None:
        """Keep quiet."""


@pytest.fixture
def address() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), _Answers)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_success_is_healthy(address: str) -> None:
    assert main([f"{address}/well"]) == 0


def test_an_error_is_not(address: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([f"{address}/badly"]) == 1
    assert "503" in capsys.readouterr().err


def test_nobody_there_is_not(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        assert main([f"http://127.0.0.1:{probe.getsockname()[1]}/"]) == 1
    assert "refused" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [[], ["ftp://x"], ["http://a", "http://b"]])
def test_a_wrong_call_says_how(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    assert capsys.readouterr().err.startswith("usage:")
