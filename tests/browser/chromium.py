"""Find a Chromium for the browser tests, or install one: `python tests/browser/chromium.py`.

Looked for, in this order: CHROMIUM_PATH, the one that Playwright keeps for itself, names on PATH.
Installed, in this order: Debian's package (as root, with apt), Playwright's download.
"""

import ctypes
import os
import shutil
import subprocess
import sys
from pathlib import Path

NAMES = (
    "chromium-headless-shell",
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
)
FLAGS = (
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # The pages are our own and complete: what they ask of any other host is a mistake to be seen.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
)
# Playwright's driver needs libatomic1; without a font the screenshots are empty boxes.
PACKAGES = ("libatomic1", "fonts-dejavu-core")
BROWSER_PACKAGES = ("chromium-headless-shell", "chromium")  # the smaller one first
DOWNLOAD = (sys.executable, "-m", "playwright", "install", "--only-shell", "chromium")
DOWNLOAD_TIMEOUT_S = 300


def on_this_machine() -> str | None:
    """Return the browser that CHROMIUM_PATH or PATH names, if any."""
    given = os.environ.get("CHROMIUM_PATH")
    if given:
        return given
    return next((found for name in NAMES if (found := shutil.which(name))), None)


def advice() -> str:
    """Return the command that makes the browser tests run here."""
    if shutil.which("apt-get"):
        return f"sudo apt-get install {BROWSER_PACKAGES[0]} {' '.join(PACKAGES)}"
    return ".venv/bin/python -m playwright install --only-shell chromium"


def main() -> int:
    """Install what is missing; exit 1 only where REQUIRE_BROWSER makes a browser compulsory."""
    if os.geteuid() == 0 and shutil.which("apt-get"):
        ready = _install_packages()
    else:
        ready = _has_libatomic() and (on_this_machine() is not None or _download())
    if ready:
        return 0
    print(f"no browser: the browser tests need one, see to it with: {advice()}", file=sys.stderr)
    return 1 if os.environ.get("REQUIRE_BROWSER") == "1" else 0


def _install_packages() -> bool:
    have_browser = on_this_machine() is not None
    if have_browser and _has_libatomic():
        return True
    print("installing a browser for the browser tests ...", flush=True)
    if not _apt("update"):
        return False
    if have_browser:
        return _apt("install", *PACKAGES)
    return any(_apt("install", browser, *PACKAGES) for browser in BROWSER_PACKAGES)


def _apt(command: str, *packages: str) -> bool:
    done = subprocess.run(
        [
            "apt-get",
            "-q",
            "-y",
            command,
            *(("--no-install-recommends",) if packages else ()),
            *packages,
        ],
        env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        print(f"apt-get {command} {' '.join(packages)}:\n{done.stderr[-1000:]}", file=sys.stderr)
    return done.returncode == 0


def _download() -> bool:
    """Have Playwright fetch its own browser; done at once if it has it already."""
    try:
        done = subprocess.run(
            DOWNLOAD,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=DOWNLOAD_TIMEOUT_S,
        )
    except subprocess.TimeoutExpired:
        return False
    if done.returncode != 0:
        print((done.stderr or done.stdout)[-1000:], file=sys.stderr)
    return done.returncode == 0


def _has_libatomic() -> bool:
    if sys.platform != "linux":
        return True
    try:
        ctypes.CDLL("libatomic.so.1")
    except OSError:
        return False
    return True


def playwright_has_its_own() -> bool:
    """Tell whether Playwright has downloaded its own headless browser, any version."""
    default = Path.home() / (
        "Library/Caches/ms-playwright" if sys.platform == "darwin" else ".cache/ms-playwright"
    )
    folder = Path(os.environ.get("PLAYWRIGHT_BROWSERS_PATH", default))
    return any(folder.glob("chromium_headless_shell-*/INSTALLATION_COMPLETE"))


if __name__ == "__main__":
    sys.exit(main())
