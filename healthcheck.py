"""For HEALTHCHECK: exit with 0 if an address answers with success, else with 1 and a line why.

python healthcheck.py http://127.0.0.1:8009/health/live
"""

import sys
import urllib.error
import urllib.request

ANSWER_WITHIN_S = 4.0


def main(arguments: list[str]) -> int:
    """Ask the address that is the only argument; return the exit code."""
    if len(arguments) != 1 or not arguments[0].startswith(("http://", "https://")):
        sys.stderr.write("usage: python healthcheck.py http://HOST:PORT/PATH\n")
        return 2
    try:
        with urllib.request.urlopen(arguments[0], timeout=ANSWER_WITHIN_S):
            return 0
    except (urllib.error.URLError, OSError) as error:
        sys.stderr.write(f"{arguments[0]}: {error}\n")
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
