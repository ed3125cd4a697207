"""Run Poetry against the index and certificates that pip is configured with.

Poetry reads none of pip's configuration, so behind a company's index it finds nothing. This hands
it both, as environment, when it runs: no host is written into the project or its lock file.
Run by the Python of `.tools`, on the `.venv` beside it: `.tools/bin/python scripts/poetry.py lock`.
"""

import os
import sys
from pathlib import Path

from pip._internal.commands import create_command  # pip offers no public way to ask it

ROOT = Path(__file__).resolve().parent.parent


def environment() -> dict[str, str]:
    """Return the environment for Poetry; what the caller set already is kept."""
    pip = create_command("install").parser.get_default_values()  # environment and every pip.conf
    env = dict(os.environ)
    env.setdefault("POETRY_PYPI_MIRROR_URL", pip.index_url)
    if pip.cert:
        env.setdefault("REQUESTS_CA_BUNDLE", pip.cert)
    env["POETRY_KEYRING_ENABLED"] = "false"  # on a machine without a desktop the keyring hangs
    env["POETRY_VIRTUALENVS_IN_PROJECT"] = "true"
    # Poetry prefers whatever environment is active in the caller's shell: make that ours.
    env["VIRTUAL_ENV"] = str(ROOT / ".venv")
    env.pop("CONDA_PREFIX", None)
    env.pop("PYTHONHOME", None)
    env.pop("PYTHONPATH", None)
    return env


if __name__ == "__main__":
    os.chdir(ROOT)
    os.execve(sys.executable, [sys.executable, "-P", "-m", "poetry", *sys.argv[1:]], environment())
