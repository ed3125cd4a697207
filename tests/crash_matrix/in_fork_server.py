"""Imported by the fork server alone: it, and with it its forks, must not outlive the program."""

import ctypes
import signal

PR_SET_PDEATHSIG = 1

ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
