"""Keep the processes that tests start from outliving the tests, even if those are killed."""

import shutil
import sys


def ends_with_us(by: str = "KILL") -> list[str]:
    """Return what to put before a command; it then gets the signal `by` when we end."""
    setpriv = shutil.which("setpriv") if sys.platform == "linux" else None
    return [setpriv, "--pdeathsig", by] if setpriv else []
