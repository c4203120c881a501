"""How fast history catches up: it takes what the machine has to spare, and else a small share of one CPU."""

import psutil

SPARE_PERCENT = 25.0
"""Above this share of idle CPU time, nobody is held up by whoever works on."""

REST_BUSY = 11.5
"""Seconds of rest for one of CPU time where CPUs are short: 8 % of one of them."""

REST_SPARE = 0.3
LONGEST_REST_S = 3.0


def rest_after(cpu_s: float, *, urgent: bool) -> float:
    """Seconds to rest after so many of CPU time; ``urgent`` when to be late would be to miss something."""
    spare = psutil.cpu_times_percent().idle > SPARE_PERCENT
    return min(LONGEST_REST_S, cpu_s * (REST_SPARE if spare or urgent else REST_BUSY))
