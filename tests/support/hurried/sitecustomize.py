"""Shortens what a stopping worker waits for a broker that is away. Python imports it by itself from its path.

The product knows nothing of it: only nodes that a test started with this folder on their PYTHONPATH.
"""

import sys

SETTLE_S = 1.0

if sys.orig_argv[1:4] == ["-m", "penstock", "worker"]:
    from penstock.worker import supervisor

    supervisor.SETTLE_S = SETTLE_S
