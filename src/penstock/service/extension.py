"""How a finished simulation is extended: by a convention between a task's parameters and its result.

The result has a ``manifest`` that holds whatever of the old run a larger one can keep, and the parameters
have an optional ``extend`` that takes one. So the new job stands on its own, whatever becomes of the old one.
"""

from typing import Any

import msgspec

from penstock.core.job import Job

EXTEND = "extend"
"""The parameter."""

MANIFEST = "manifest"
"""The field of the result."""


def manifest_of(job: Job) -> Any:
    """The manifest in a job's result; None if there is none."""
    if job.result is None:
        return None
    result = msgspec.json.decode(job.result)
    return result.get(MANIFEST) if isinstance(result, dict) else None
