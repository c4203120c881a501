"""How fast history may catch up: it takes what the machine has to spare, and hardly anything else."""

import psutil

SPARE_PERCENT = 25.0
"""Above this share of idle CPU time, nobody is held up by whoever works on."""

REST_BUSY = 24.0
"""Seconds of rest for one of work where CPUs are short: 4 % of one of them."""

REST_SPARE = 0.3
LONGEST_REST_S = 3.0


def rest_after(worked_s: float) -> float:
    """Seconds to rest after so many seconds of work."""
    spare = psutil.cpu_times_percent().idle > SPARE_PERCENT
    return min(LONGEST_REST_S, worked_s * (REST_SPARE if spare else REST_BUSY))
