"""Holds the lock file given as argument until standard input is closed."""

import fcntl
import sys
from pathlib import Path

with Path(sys.argv[1]).open("a", encoding="ascii") as lock:
    fcntl.flock(lock, fcntl.LOCK_EX)
    sys.stdout.write("held\n")
    sys.stdout.flush()
    sys.stdin.read()
