"""Write `.env` for docker compose: `.env.example` with random passwords in it.

    python3 scripts/make_env.py [--profiles paper,prefect]

Needs nothing but Python. An `.env` that is there already is left as it is.
"""

import argparse
import os
import re
import secrets
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROFILES = ("paper", "prefect", "jobs")
FOR_COMPOSE = """\

# --- docker compose ------------------------------------------------------------------------------

# Made by `make env`. What comes along: paper (the paper exchange), prefect (the server that shows
# every flow run), jobs (scheduled work), separated by commas.
COMPOSE_PROFILES={profiles}
COMPOSE_PROJECT_NAME=tradebox

# Of the database in its container. To change it later, change it in the database first.
POSTGRES_PASSWORD={password}
"""


def filled(example: str, values: Mapping[str, str]) -> str:
    """Return the example with these variables set; ValueError if one is not in it."""
    for name, value in values.items():
        example, count = re.subn(rf"(?m)^{name}=.*$", f"{name}={value}", example)
        if count != 1:
            raise ValueError(f"{name} stands {count} times in .env.example")
    return example


def content(example: str, profiles: Sequence[str]) -> str:
    """Return the whole of `.env`, its passwords new."""
    values = {
        name: secrets.token_urlsafe(24)
        for name in ("ADMIN_PASSWORD", "SESSION_SECRET", "WEBHOOK_SECRET")
    }
    if "prefect" in profiles:
        values["PREFECT_API_URL"] = "http://prefect:4200/api"
    more = FOR_COMPOSE.format(profiles=",".join(profiles), password=secrets.token_hex(24))
    return filled(example, values) + more


def main(arguments: Sequence[str]) -> int:
    """Write the file; return the exit code: 0 done, 1 it is there already, 2 a wrong word."""
    parser = argparse.ArgumentParser(description="Write .env for docker compose.")
    parser.add_argument("--profiles", default="paper", help=f"of {', '.join(PROFILES)}")
    profiles = [name for name in parser.parse_args(arguments).profiles.split(",") if name]
    if unknown := sorted(set(profiles) - set(PROFILES)):
        parser.error(
            f"--profiles: no profile {', '.join(unknown)}; there are {', '.join(PROFILES)}"
        )
    path = ROOT / ".env"
    text = content((ROOT / ".env.example").read_text(encoding="utf-8"), profiles)
    try:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        sys.stderr.write(f"{path.name} is there already and stays as it is\n")
        return 1
    with os.fdopen(file, "w", encoding="utf-8") as out:
        out.write(text)
    sys.stdout.write(
        f"{path.name} is written, readable by you alone. The panel's password is ADMIN_PASSWORD in "
        "it, alerts need WEBHOOK_SECRET. Next: docker compose up -d\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
