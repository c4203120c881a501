"""How often a client may ask: a rate that holds over time, and a burst that may come at once."""

import math
import re

import msgspec

from penstock.core.errors import ErrorCode, PenstockError

_RATE = re.compile(r"(?P<count>[1-9][0-9]{0,5})/(?P<unit>s|m|h)")
_SECONDS = {"s": 1, "m": 60, "h": 3_600}

USUAL_RATE = "10/s"


class Rate(msgspec.Struct, frozen=True):
    """``most`` requests in any span of ``window_s`` seconds."""

    most: int
    window_s: int


def rate_of(text: str, burst: int) -> Rate:
    """The rate of ``10/s``, ``600/m`` or ``1000/h`` with a burst of so many requests.

    A burst of 20 at 10/s is 20 in any two seconds: as many at once, and over time no more than the rate. A
    burst that is no whole number of seconds is rounded up to one, so that the rate is kept exactly.
    Raises INVALID_REQUEST for text that is none.
    """
    found = _RATE.fullmatch(text)
    if found is None:
        raise PenstockError(ErrorCode.INVALID_REQUEST, f"{text!r} is no rate like 10/s, 600/m or 1000/h")
    count, per_s = int(found["count"]), _SECONDS[found["unit"]]
    window_s = max(1, math.ceil(burst * per_s / count))
    return Rate(max(1, window_s * count // per_s), window_s)
