"""`make run`: the paper exchange, the API and the monitor as three processes, and a first trade.

`python run.py --help` lists the variables. What can be wrong is looked at before anything is
started; Ctrl-C or SIGTERM stops everything. Exit codes: 0 stopped, 1 failed, 2 a wrong value.
"""

import signal
import sys


def _leave(number: int, _frame: object) -> None:
    """End without a word: nothing has been started yet."""
    raise SystemExit(0)


if __name__ == "__main__":
    # The imports below take a second; a Ctrl-C in between is no error.
    for one in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(one, _leave)

    from launcher.main import main

    sys.exit(main(sys.argv[1:]))
