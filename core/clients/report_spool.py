"""Reports on disk until they are delivered: in order, bounded, one SQLite file for one process.

A process that is killed leaves its reports behind; the next one of its name takes them over.
"""

import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import msgspec
import structlog

from core.ports import RunReport

_SAME_NAME_AT_MOST: Final = 32  # processes in one folder
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS report (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    run_id TEXT NOT NULL,
    is_end INTEGER NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    body BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS report_of_run ON report (run_id, is_end);
"""

_log = structlog.get_logger(__name__)


class ReportSpool:
    """The reports that wait. For one thread; every method may raise sqlite3.Error."""

    def __init__(self, folder: Path, name: str, *, limit: int) -> None:
        """Open the first file of this name that no other process has.

        Args:
            folder: is made if it is not there.
            name: of the kind of process.
            limit: reports kept; beyond it the oldest go.
        """
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._limit = limit
        self._file = _taken(folder, name)
        self._count = int(self._file.execute("SELECT count(*) FROM report").fetchone()[0])

    def __len__(self) -> int:
        """Return how many wait."""
        return self._count

    def add(self, runs: Sequence[RunReport]) -> int:
        """Keep reports; return how many old ones had to go.

        The start of a run whose end is known is not kept: the end tells it all.
        """
        with self._file:
            self._file.execute("BEGIN IMMEDIATE")
            ended = {run.run_id for run in runs if run.ended_at_ms is not None}
            self._forget_starts(ended)
            kept = [run for run in runs if run.ended_at_ms is not None or run.run_id not in ended]
            self._file.executemany(
                "INSERT INTO report (run_id, is_end, body) VALUES (?, ?, ?)",
                [
                    (run.run_id, run.ended_at_ms is not None, msgspec.json.encode(run))
                    for run in kept
                ],
            )
            self._count = self._counted()
            dropped = max(0, self._count - self._limit)
            if dropped:
                oldest = "SELECT id FROM report ORDER BY id LIMIT ?"
                self._file.execute(f"DELETE FROM report WHERE id IN ({oldest})", (dropped,))
                self._count -= dropped
        return dropped

    def oldest(self) -> tuple[int, RunReport] | None:
        """Return the report that is to be delivered next, and its number."""
        first = "SELECT id, body FROM report ORDER BY id LIMIT 1"
        while (found := self._file.execute(first).fetchone()) is not None:
            try:
                return found[0], msgspec.json.decode(found[1], type=RunReport)
            except msgspec.DecodeError as error:  # of a version that wrote them otherwise
                _log.warning("report not understood, dropped", error=str(error))
                self.done(found[0])
        return None

    def done(self, number: int) -> None:
        """Forget a report."""
        self._count -= self._file.execute("DELETE FROM report WHERE id = ?", (number,)).rowcount

    def failed(self, number: int) -> int:
        """Count an attempt that the report may be to blame for; return how many there were."""
        counted = "UPDATE report SET attempts = attempts + 1 WHERE id = ? RETURNING attempts"
        return int(self._file.execute(counted, (number,)).fetchone()[0])

    def close(self) -> None:
        """Leave the file to the next process."""
        self._file.close()

    def _forget_starts(self, run_ids: Iterable[str]) -> None:
        self._file.executemany(
            "DELETE FROM report WHERE run_id = ? AND NOT is_end", [(run_id,) for run_id in run_ids]
        )

    def _counted(self) -> int:
        return int(self._file.execute("SELECT count(*) FROM report").fetchone()[0])


def _taken(folder: Path, name: str) -> sqlite3.Connection:
    for number in range(1, _SAME_NAME_AT_MOST + 1):
        path = folder / (f"{name}.sqlite3" if number == 1 else f"{name}-{number}.sqlite3")
        try:
            return _opened(path)
        except sqlite3.OperationalError as error:
            if "locked" not in str(error):
                raise
        except sqlite3.DatabaseError as error:  # a disk that was full, a machine that lost power
            damaged = path.with_suffix(".damaged")
            _log.warning("spool damaged, begun anew", file=str(path), error=str(error))
            path.replace(damaged)
            return _opened(path)
    raise sqlite3.OperationalError(f"{folder}: every spool {name} is in use")


def _opened(path: Path) -> sqlite3.Connection:
    path.touch(mode=0o600)
    file = sqlite3.connect(path, timeout=0, isolation_level=None)
    try:
        # The lock is held until the process ends, however it ends.
        file.execute("PRAGMA locking_mode=EXCLUSIVE")
        file.execute("PRAGMA journal_mode=WAL")
        file.execute("PRAGMA synchronous=NORMAL")
        file.execute("BEGIN EXCLUSIVE")
        file.execute("COMMIT")
        file.executescript(_SCHEMA)
    except sqlite3.Error:
        file.close()
        raise
    return file
