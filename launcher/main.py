"""From the words of `make run` to a run, and to its exit code.

0: stopped; 1: something failed; 2: a value cannot be used.
"""

import asyncio
import signal
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from types import FrameType

from config import load_settings
from core.errors import ConfigInvalid
from launcher.children import ChildEnded, Children
from launcher.errors import EXIT_USAGE, LaunchError
from launcher.options import Plan, make_plan, parse_options
from launcher.prepare import OperatorPassword, operator_password, prepared
from launcher.screen import Screen
from launcher.session import Session


class Stop:
    """What a signal does: it ends the process while nothing has been started, later the run.

    It stays in place to the very end: a second signal while all is stopped must not end that.
    """

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._event: asyncio.Event | None = None

    def listen(self) -> None:
        """Take the signals."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._on_signal)

    def begin(self) -> asyncio.Event:
        """Return what is set from now on, in the running loop."""
        self._loop, self._event = asyncio.get_running_loop(), asyncio.Event()
        return self._event

    def ask(self) -> None:
        """Stop the run, from any thread."""
        if self._loop is not None and self._event is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._event.set)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        if self._loop is None:
            raise SystemExit(0)
        self.ask()


def main(arguments: Sequence[str]) -> int:
    """Run until told to stop; return the exit code."""
    stop = Stop()
    stop.listen()
    try:
        options = parse_options(arguments)
        plan = make_plan(options, load_settings(), now=datetime.now(UTC))
        with prepared(plan):
            return asyncio.run(_serve(plan, stop, operator_password(plan)))
    except ConfigInvalid as error:
        only = error.errors[0] if len(error.errors) == 1 else None
        sys.stderr.write(f"{error}\n" if only is None else f"tradebox: {only}\n")
        return EXIT_USAGE
    except LaunchError as error:
        sys.stderr.write(f"tradebox: {error}\n")
        return error.code


async def _serve(plan: Plan, stop: Stop, password: OperatorPassword) -> int:
    """Start the processes and wait for a signal, or for something to go wrong."""
    stopped, screen = stop.begin(), Screen(on_gone=stop.ask)
    session = Session(plan, screen, password)
    code = 0
    try:
        async with Children(screen) as children:
            try:
                await _until_stopped(session, children, stopped)
                screen.say("stopping")
            except LaunchError as error:
                screen.say(str(error))
                screen.show(error.tail if isinstance(error, ChildEnded) else ())
                code = error.code
        screen.say("stopped")
    finally:
        screen.close()
    return code


async def _until_stopped(session: Session, children: Children, stopped: asyncio.Event) -> None:
    """Return when told to stop; raise LaunchError when a process or the run itself fails."""
    running = asyncio.create_task(session.run(children), name="run")
    stopping = asyncio.create_task(stopped.wait(), name="stop")
    ending = asyncio.create_task(children.first_end(), name="first end")
    tasks = (running, stopping, ending)
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        if not stopping.done() and not ending.done():
            # What failed may be the consequence of a process that is just ending: that says more.
            await asyncio.wait((stopping, ending), timeout=1, return_when=asyncio.FIRST_COMPLETED)
        if stopping.done():
            return
        if ending.done():
            raise ending.result().ended()
        await running
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
