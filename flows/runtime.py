"""Prefect's flows and tasks, run inline: on the caller's event loop, without its orchestration.

`flow` and `task` give real `prefect.Flow` / `prefect.Task` objects whose call is the plain
coroutine call: no server, no threads, no retries of Prefect's. `submit` starts a task beside its
caller on the same loop. What ran is told to a `Reporter`, which returns at once; by default nobody
listens.
"""

import asyncio
import contextlib
import os
import time
from collections.abc import Callable, Coroutine
from contextvars import ContextVar
from pathlib import Path
from types import FunctionType
from typing import Any, Final, Generic, ParamSpec, TypeVar
from uuid import uuid4

# Read by Prefect when it is imported. It must not count its users; its folder, of which it makes
# the last part only, is not to be in anybody's home.
os.environ.setdefault("DO_NOT_TRACK", "1")
os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
os.environ.setdefault(
    "PREFECT_HOME", str(Path(__file__).resolve().parent.parent / "data" / "prefect")
)
with contextlib.suppress(OSError):  # it does without a folder, and says so
    Path(os.environ["PREFECT_HOME"]).mkdir(mode=0o700, parents=True, exist_ok=True)

from prefect.cache_policies import NO_CACHE
from prefect.flows import Flow
from prefect.tasks import Task

from core.ports import Reporter, RunReport

P = ParamSpec("P")
R = TypeVar("R")
Async = Callable[P, Coroutine[Any, Any, R]]

RUNNING: Final = "Running"
COMPLETED: Final = "Completed"
FAILED: Final = "Failed"


class SilentReporter:
    """Takes no note of anything."""

    def report(self, run: RunReport) -> None:
        """Forget it."""


_SILENT: Final = SilentReporter()
_reporter: Reporter = _SILENT


def report_to(reporter: Reporter | None) -> None:
    """Tell every run from now on to `reporter`; None: to nobody. For entry points and tests."""
    global _reporter
    _reporter = _SILENT if reporter is None else reporter


def tag(*tags: str) -> None:
    """Add tags to the flow run around the caller, as they become known; they show at its end."""
    run = _current.get()
    if run is not None:
        run.tags = tuple(dict.fromkeys((*run.tags, *tags)))


class InlineFlow(Flow[P, Coroutine[Any, Any, R]], Generic[P, R]):
    """A Prefect flow whose run is the coroutine itself."""

    fn: Async[P, R]

    def __init__(self, fn: Async[P, R], tags_of: Callable[P, tuple[str, ...]]) -> None:
        # Our arguments are values of the domain; checking them is the type checker's work.
        super().__init__(_bare(fn), name=fn.__name__, validate_parameters=False, retries=0)
        self.fn = fn
        self._tags_of = tags_of

    def __call__(  # type: ignore[override]  # Prefect's overloads also return states
        self, *args: P.args, **kwargs: P.kwargs
    ) -> Coroutine[Any, Any, R]:
        """Return the coroutine; the run lasts until the tasks that it submitted have ended."""
        return self._run(*args, **kwargs)

    async def _run(self, *args: P.args, **kwargs: P.kwargs) -> R:
        parent = _current.get()
        tags = self._tags_of(*args, **kwargs)
        run = _FlowRun(self.name, tags, None if parent is None else parent.run_id)
        before = _current.set(run)
        try:
            return await self.fn(*args, **kwargs)
        except BaseException as error:
            run.failed(error)
            raise
        finally:
            _current.reset(before)
            run.part_ended()


class InlineTask(Task[P, Coroutine[Any, Any, R]], Generic[P, R]):
    """A Prefect task whose run is the coroutine itself."""

    fn: Async[P, R]

    def __init__(self, fn: Async[P, R]) -> None:
        super().__init__(
            fn, name=fn.__name__, cache_policy=NO_CACHE, persist_result=False, retries=0
        )

    def __call__(  # type: ignore[override]  # Prefect's overloads also return states
        self, *args: P.args, **kwargs: P.kwargs
    ) -> Coroutine[Any, Any, R]:
        """Return the task's coroutine."""
        return self._run(*args, **kwargs)

    def submit(  # type: ignore[override]  # Prefect's runs on other threads, its future blocks
        self, *args: P.args, **kwargs: P.kwargs
    ) -> asyncio.Task[R]:
        """Start the task beside its caller on the same loop; the caller must keep the handle."""
        run = _current.get()
        started = asyncio.get_running_loop().create_task(self(*args, **kwargs))
        if run is not None:
            run.part_began()
            started.add_done_callback(lambda _: run.part_ended())
        return started

    async def _run(self, *args: P.args, **kwargs: P.kwargs) -> R:
        run = _current.get()
        if run is None or _reporter is _SILENT:
            return await self.fn(*args, **kwargs)
        task_run_id, started_at_ms = str(uuid4()), _now_ms()
        state, message = COMPLETED, ""
        run.tell(task_run_id, self.name, started_at_ms)
        try:
            return await self.fn(*args, **kwargs)
        except BaseException as error:
            state, message = FAILED, _shown(error)
            run.failed(error)
            raise
        finally:
            run.tell(task_run_id, self.name, started_at_ms, state=state, message=message)


def flow(tags_of: Callable[P, tuple[str, ...]]) -> Callable[[Async[P, R]], InlineFlow[P, R]]:
    """Return a decorator that makes a coroutine function a flow.

    `tags_of` gives the tags (symbol, webhook, cycle) from the same arguments.
    """

    def decorate(fn: Async[P, R]) -> InlineFlow[P, R]:
        return InlineFlow(fn, tags_of)

    return decorate


def task(fn: Async[P, R]) -> InlineTask[P, R]:
    """Make a coroutine function a task."""
    return InlineTask(fn)


def _bare(fn: Async[P, R]) -> Async[P, R]:
    """Return a copy without annotations, from which Prefect would build a schema and fail."""
    assert isinstance(fn, FunctionType)
    bare = FunctionType(fn.__code__, fn.__globals__, fn.__name__, fn.__defaults__, fn.__closure__)
    bare.__kwdefaults__ = fn.__kwdefaults__
    bare.__qualname__, bare.__module__, bare.__doc__ = fn.__qualname__, fn.__module__, fn.__doc__
    return bare


class _FlowRun:
    """One run: its body and every task it submitted are parts of it; it ends with the last."""

    def __init__(self, name: str, tags: tuple[str, ...], parent_run_id: str | None) -> None:
        self.run_id = str(uuid4())
        self.tags = tags
        self._name = name
        self._parent_run_id = parent_run_id
        self._parts = 1
        self._started_at_ms = _now_ms()
        self._state, self._message = COMPLETED, ""
        self._report(self.run_id, None, self._parent_run_id, self._started_at_ms, RUNNING, "")

    def part_began(self) -> None:
        self._parts += 1

    def part_ended(self) -> None:
        self._parts -= 1
        if not self._parts:
            ids = (self.run_id, None, self._parent_run_id)
            self._report(*ids, self._started_at_ms, self._state, self._message)

    def failed(self, error: BaseException) -> None:
        self._state, self._message = FAILED, self._message or _shown(error)

    def tell(
        self,
        task_run_id: str,
        task_name: str,
        started_at_ms: int,
        *,
        state: str = RUNNING,
        message: str = "",
    ) -> None:
        """Report a task of this run."""
        self._report(task_run_id, task_name, self.run_id, started_at_ms, state, message)

    def _report(
        self,
        run_id: str,
        task_name: str | None,
        parent_run_id: str | None,
        started_at_ms: int,
        state: str,
        message: str,
    ) -> None:
        if _reporter is _SILENT:
            return
        _reporter.report(
            RunReport(
                run_id=run_id,
                flow_name=self._name,
                task_name=task_name,
                parent_run_id=parent_run_id,
                tags=self.tags,
                started_at_ms=started_at_ms,
                ended_at_ms=None if state == RUNNING else _now_ms(),
                state=state,
                message=message,
            )
        )


_current: ContextVar[_FlowRun | None] = ContextVar("flow_run", default=None)


def _shown(error: BaseException) -> str:
    return "cancelled" if isinstance(error, asyncio.CancelledError) else repr(error)


def _now_ms() -> int:
    # For people who look at runs; nothing is decided by it, so it is this machine's clock.
    return time.time_ns() // 1_000_000
