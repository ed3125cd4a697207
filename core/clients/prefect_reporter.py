"""Flow and task runs on their way to a Prefect server, beside the trading path.

`report` puts a run into memory and returns. A thread writes what came onto the disk and delivers it
from there, with short time-outs. However dead, slow or frozen the server is, nobody waits for it;
the reports do, up to a bound, also through a crash of this process.

Deliveries may be repeated: runs are created under a key of their own, states are set, not added.
The server refuses states of the past: the true times stand in each state's message.
Endpoints as in Prefect 3.8.8's server/api: flows, flow_runs, task_runs.
"""

import contextlib
import queue
import sqlite3
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import httpx
import structlog

from core.clients.report_spool import ReportSpool
from core.ports import RunReport

MOST_IN_MEMORY: Final = 10_000  # between two writes to the disk
MOST_ON_DISK: Final = 50_000
TIMEOUT_S: Final = 2.0
# A report that is refused is to blame itself, mostly; one that makes the server fail, perhaps.
_REFUSALS_AT_MOST: Final = 3
_FAILURES_AT_MOST: Final = 10
_AWAY: Final = (408, 425, 429, 502, 503, 504)
_PAUSE_S: Final = (0.5, 60.0)  # first, and at most
_TOLD_FROM_PAUSE_S: Final = 4.0  # a busy server on SQLite answers 503 now and then
_KNOWN_RUNS: Final = 2_000
_WRITE_AT_ONCE: Final = 500

_log = structlog.get_logger(__name__)


class _Refused(Exception):
    """The server answered that it does not take this report."""

    def __init__(self, response: httpx.Response) -> None:
        self.status = response.status_code
        super().__init__(f"HTTP {response.status_code}: {response.text[:300]}")


class _Gone(_Refused):
    """The server does not know a run or flow that it knew: its database is another one."""


@dataclass(frozen=True, slots=True)
class Delivered:
    """What became of the reports so far; those of this process's life only."""

    delivered: int = 0
    dropped: int = 0  # refused for good, or older than what fits
    waiting: int = 0


class PrefectReporter:
    """A `Reporter` for the Prefect server at `url` (with its /api). Start it, and close it."""

    def __init__(
        self,
        url: str,
        *,
        spool: Path,
        name: str,
        hide: Callable[[str], str] = lambda text: text,
        most_on_disk: int = MOST_ON_DISK,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        """Prepare; nothing is opened before `start`.

        Args:
            url: of the server's API, e.g. http://127.0.0.1:4200/api.
            spool: the folder of the reports that wait.
            name: of this kind of process, e.g. monitor.
            hide: takes secrets out of a text.
            most_on_disk: reports that wait at most; the oldest give way.
            transport: another way to the server, for tests.
        """
        self._url = url
        self._hide = hide
        self._spool_at = (spool, name, most_on_disk)
        self._transport = transport
        self._queue: queue.Queue[RunReport | None] = queue.Queue(MOST_IN_MEMORY)
        self._overflown = 0
        self._delivered = 0
        self._dropped = 0
        self._waiting = 0
        self._closing_at: float | None = None
        self._thread = threading.Thread(target=self._run, name="prefect reports", daemon=True)

    def start(self) -> None:
        """Deliver from now on, what an earlier process left first."""
        self._thread.start()

    def report(self, run: RunReport) -> None:
        """Take note of a start or an end; returns at once and never raises."""
        try:
            self._queue.put_nowait(run)
        except queue.Full:
            self._overflown += 1

    def close(self, within_s: float = 0.5) -> None:
        """Write everything onto the disk, and try to deliver it for that long.

        Takes one more time-out where the server is frozen just then.
        """
        self._closing_at = time.monotonic() + within_s
        with contextlib.suppress(queue.Full):  # then the thread is at work, and looks at the time
            self._queue.put_nowait(None)
        self._thread.join(within_s + TIMEOUT_S + 0.5)

    @property
    def figures(self) -> Delivered:
        """Return what was delivered, what was dropped, what waits."""
        return Delivered(
            delivered=self._delivered,
            dropped=self._dropped + self._overflown,
            waiting=self._waiting,
        )

    # --- The thread ---

    def _run(self) -> None:
        try:
            spool = ReportSpool(self._spool_at[0], self._spool_at[1], limit=self._spool_at[2])
        except (OSError, sqlite3.Error) as error:
            _log.error("runs are not reported: no spool", error=str(error))
            return
        client = httpx.Client(base_url=self._url, timeout=TIMEOUT_S, transport=self._transport)
        server = _Server(client)
        try:
            self._work(spool, server)
        except sqlite3.Error as error:
            _log.error("runs are not reported any more: spool", error=str(error))
        finally:
            client.close()
            spool.close()

    def _work(self, spool: ReportSpool, server: "_Server") -> None:
        pause, retry_at, is_told = _PAUSE_S[0], 0.0, False
        while True:
            is_due = len(spool) > 0 and time.monotonic() >= retry_at
            self._take_in(spool, wait_s=self._wait_s(spool, retry_at))
            if self._closing_at is not None and (not len(spool) or self._is_time_up()):
                return
            if not is_due:
                continue
            error = self._deliver_oldest(spool, server)
            if error is None:
                if is_told:
                    _log.info("prefect server answers again", waiting=len(spool))
                pause, retry_at, is_told = _PAUSE_S[0], 0.0, False
                continue
            if not is_told and pause >= _TOLD_FROM_PAUSE_S:
                _log.warning("prefect server away, reports wait", error=error, waiting=len(spool))
                is_told = True
            retry_at = time.monotonic() + pause
            pause = min(pause * 2, _PAUSE_S[1])

    def _wait_s(self, spool: ReportSpool, retry_at: float) -> float:
        if not len(spool):
            return 3600.0
        wait_s = max(0.0, retry_at - time.monotonic())
        if self._closing_at is not None:
            wait_s = min(wait_s, max(0.0, self._closing_at - time.monotonic()))
        return wait_s

    def _is_time_up(self) -> bool:
        return self._closing_at is not None and time.monotonic() >= self._closing_at

    def _take_in(self, spool: ReportSpool, *, wait_s: float) -> None:
        """Write what has come onto the disk; wait for something to come, if there is time."""
        taken: list[RunReport | None] = []
        try:
            taken.append(self._queue.get(timeout=wait_s) if wait_s else self._queue.get_nowait())
            while len(taken) < _WRITE_AT_ONCE:
                taken.append(self._queue.get_nowait())
        except queue.Empty:
            pass
        runs = [replace(r, message=self._hide(r.message)) for r in taken if r is not None]
        if runs:
            self._drop(spool.add(runs), "the spool is full")
        self._waiting = len(spool)

    def _drop(self, count: int, why: str) -> None:
        if count:
            self._dropped += count
            _log.warning("reports of runs dropped", count=count, reason=why)

    def _deliver_oldest(self, spool: ReportSpool, server: "_Server") -> str | None:
        """Deliver one report, or drop it; return why the server did not take it, to wait."""
        found = spool.oldest()
        if found is None:
            return None
        number, run = found
        try:
            server.take(run)
        except _Refused as error:
            attempts = spool.failed(number)
            if attempts < (_REFUSALS_AT_MOST if error.status < 500 else _FAILURES_AT_MOST):
                return str(error)
            self._drop(1, str(error))
            spool.done(number)
            return None
        except (httpx.HTTPError, ValueError, LookupError, TypeError) as error:
            return repr(error)  # no answer, or none of Prefect's: somebody else listens there
        spool.done(number)
        self._delivered += 1
        self._waiting = len(spool)
        return None


class _Server:
    """Prefect's API, as far as runs are reported to it."""

    def __init__(self, client: httpx.Client) -> None:
        self._client = client
        self._flows: dict[str, str] = {}
        self._flow_runs: OrderedDict[str, str] = OrderedDict()  # ours: theirs

    def take(self, run: RunReport) -> None:
        """Tell one report. Raises _Refused, or what httpx raises where there is no answer."""
        try:
            self._take(run)
        except _Gone:  # begin with nothing known
            self._flows.clear()
            self._flow_runs.clear()
            self._take(run)

    def _take(self, run: RunReport) -> None:
        if run.task_name is not None:
            self._take_task(run, run.task_name)
            return
        theirs = self._flow_run(run, run.run_id, run.started_at_ms)
        if run.ended_at_ms is not None:
            # Some tags, the cycle's for one, are known at the end only.
            self._send("PATCH", f"flow_runs/{theirs}", {"tags": list(run.tags)})
            self._set_state(f"flow_runs/{theirs}", run)

    def _take_task(self, run: RunReport, task_name: str) -> None:
        assert run.parent_run_id is not None, "a task runs in a flow"
        flow_run = self._flow_run(run, run.parent_run_id, run.started_at_ms)
        created = self._send(
            "POST",
            "task_runs/",
            {
                "name": task_name,
                "flow_run_id": flow_run,
                "task_key": f"{run.flow_name}.{task_name}",
                "dynamic_key": run.run_id,
                "tags": list(run.tags),
                "state": _state(run, is_end=False),
            },
        )
        if run.ended_at_ms is not None:
            self._set_state(f"task_runs/{created['id']}", run)

    def _flow_run(self, run: RunReport, ours: str, started_at_ms: int) -> str:
        """Return the server's id of a flow run, which is created if it is not there."""
        theirs = self._flow_runs.get(ours)
        if theirs is None:
            created = self._send(
                "POST",
                "flow_runs/",
                {
                    "flow_id": self._flow(run.flow_name),
                    "name": _name(run, started_at_ms),
                    "idempotency_key": ours,
                    "tags": list(run.tags),
                    "state": _state(run, is_end=False),
                },
            )
            theirs = self._flow_runs[ours] = str(created["id"])
            if len(self._flow_runs) > _KNOWN_RUNS:
                self._flow_runs.popitem(last=False)
        return theirs

    def _flow(self, name: str) -> str:
        if name not in self._flows:
            self._flows[name] = str(self._send("POST", "flows/", {"name": name})["id"])
        return self._flows[name]

    def _set_state(self, path: str, run: RunReport) -> None:
        self._send("POST", f"{path}/set_state", {"state": _state(run, is_end=True), "force": True})

    def _send(self, method: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
        response = self._client.request(method, f"/{path}", json=body)
        if response.status_code in _AWAY:
            raise httpx.HTTPStatusError(
                f"HTTP {response.status_code}", request=response.request, response=response
            )
        if response.is_success:
            answer: dict[str, Any] = response.json() if response.content else {}
            return answer
        names_something_known = path.startswith(("flow_runs", "task_runs"))
        is_gone = response.status_code in (404, 409) and names_something_known
        raise _Gone(response) if is_gone else _Refused(response)


def _state(run: RunReport, *, is_end: bool) -> dict[str, str]:
    name = run.state if is_end else "Running"
    message = f"started {_moment(run.started_at_ms)}"
    if is_end and run.ended_at_ms is not None:
        took = run.ended_at_ms - run.started_at_ms
        message += f", ended {_moment(run.ended_at_ms)}, took {took} ms"
    if is_end and run.message:
        message += f": {run.message}"
    return {"type": name.upper(), "name": name, "message": message}


def _name(run: RunReport, started_at_ms: int) -> str:
    """Return what a flow run is called in lists: its symbol and when it began."""
    symbols = [tag.removeprefix("symbol:") for tag in run.tags if tag.startswith("symbol:")]
    return " ".join((*symbols, _moment(started_at_ms)))


def _moment(at_ms: int) -> str:
    moment = datetime.fromtimestamp(at_ms / 1000, tz=UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
