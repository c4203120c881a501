"""How ``lua/submit.lua`` answered what it did not simply keep."""

from typing import Any

from penstock.brokers.redis.digits import id_texts
from penstock.brokers.redis.records import read_jobs
from penstock.brokers.redis.sharing import read_full
from penstock.ports import Admission, Receipt

_ADMISSIONS = {
    ord("a"): Admission.ACCEPTED,
    ord("r"): Admission.REPEATED,
    ord("h"): Admission.CACHED,
    ord("j"): Admission.JOINED,
    ord("x"): Admission.REFUSED,
}


def read_answers(  # noqa: PLR0917 - the answer of a script, in its order
    now: int, kinds: bytes, ids: bytes, parts: list[Any], refused: list[int], full: list[Any]
) -> list[Receipt]:
    """How ``lua/submit.lua`` answered the jobs that were not kept as they came."""
    places = iter(refused)
    reasons = [read_full(found, now) for found in full]
    answers = zip(map(_ADMISSIONS.__getitem__, kinds), read_jobs(id_texts(ids), parts), strict=True)
    return [
        Receipt(admission=admission, job=None, full=reasons[next(places) - 1])
        if admission is Admission.REFUSED
        else Receipt(admission=admission, job=job)
        for admission, job in answers
    ]
