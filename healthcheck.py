"""For HEALTHCHECK: exit with 0 if all is well, else with 1 and a line why.

python healthcheck.py http://127.0.0.1:8009/health/live     # the address answers with success
python healthcheck.py /tmp/watched                          # the file was touched within 30 s
"""

import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

ANSWER_WITHIN_S = 4.0
YOUNG_S = 30.0  # a monitor touches its file every 5 s


def main(arguments: list[str]) -> int:
    """Look at the only argument, an address or a file; return the exit code."""
    if len(arguments) == 1 and arguments[0].startswith(("http://", "https://")):
        error = _of_address(arguments[0])
    elif len(arguments) == 1 and arguments[0].startswith("/"):
        error = _of_file(Path(arguments[0]))
    else:
        sys.stderr.write("usage: python healthcheck.py http://HOST:PORT/PATH or /PATH/OF/A/FILE\n")
        return 2
    if error is not None:
        sys.stderr.write(f"{arguments[0]}: {error}\n")
    return 0 if error is None else 1


def _of_address(address: str) -> str | None:
    try:
        with urllib.request.urlopen(address, timeout=ANSWER_WITHIN_S):
            return None
    except (urllib.error.URLError, OSError) as error:
        return str(error)


def _of_file(file: Path) -> str | None:
    try:
        age_s = time.time() - file.stat().st_mtime
    except OSError as error:
        return error.strerror
    # One from the future was touched before the clock was set back: it says nothing.
    return None if abs(age_s) <= YOUNG_S else f"was last touched {age_s:.0f} s ago"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
