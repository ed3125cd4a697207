"""Servers that take what programs send out, for tests to look at."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(slots=True)
class Receiver:
    """What came to one server; `answers` lets it answer."""

    port: int = 0
    came: list[tuple[str, bytes]] = field(default_factory=list)  # path, body
    answers: threading.Event = field(default_factory=threading.Event)
    arrived: threading.Condition = field(default_factory=threading.Condition)

    def wait_for(self, count: int, *, within_s: float = 60.0) -> list[tuple[str, bytes]]:
        """Return what came once it is so many; fail if it never is."""
        with self.arrived:
            come = self.arrived.wait_for(lambda: len(self.came) >= count, within_s)
            assert come, f"{len(self.came)} of {count} came"
            return list(self.came)


@contextmanager
def receiving() -> Iterator[Receiver]:
    """Yield a server on this machine that takes every POST; it answers 200 at once."""
    receiver = Receiver()
    receiver.answers.set()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            with receiver.arrived:
                receiver.came.append((self.path, body))
                receiver.arrived.notify_all()
            receiver.answers.wait()
            try:
                self.send_response(200)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"{}")
            except OSError:
                return  # who asked has given up

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    receiver.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield receiver
    finally:
        receiver.answers.set()
        server.shutdown()
        server.server_close()
        thread.join()
