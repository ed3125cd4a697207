"""Whoever kills the tests is left without processes of theirs."""

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.integration.e2e.programs import ROOT, until

# Starts a program as the end-to-end tests do, says which process it is, and waits to be killed.
TESTS = """
import sys
from pathlib import Path
from tests.integration.e2e.programs import Program, until

log = Path(sys.argv[1])
code = "import os, signal; print('pid', os.getpid(), flush=True); signal.pause()"
program = Program("a program", ["-c", code], {}, log)
program.start()
until(lambda: program.text.endswith("\\n"), lambda: program.text)
print(program.text, end="", flush=True)
sys.stdin.read()
"""


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="needs setpriv, of util-linux")
def test_a_program_ends_with_the_tests_that_started_it(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", TESTS, str(tmp_path / "log")],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as tests:
        assert tests.stdout is not None
        program = psutil.Process(int(tests.stdout.readline().removeprefix("pid ")))
        assert program.is_running()
        tests.send_signal(signal.SIGTERM)
        assert tests.wait(timeout=10) == -signal.SIGTERM

    def is_gone() -> bool:
        return not program.is_running() or program.status() == psutil.STATUS_ZOMBIE

    try:
        until(is_gone, lambda: f"{program} still runs", within_s=10)
    finally:
        if program.is_running():
            program.kill()
