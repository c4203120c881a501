"""What the key behind a submission says about the job."""

import hashlib

from penstock.core.errors import ErrorCode, PenstockError
from penstock.core.job import Job
from penstock.core.keys import Key, Role


def client_of(named: str | None, by: Key | None) -> str | None:
    """Whose job it is: the key's client. Raises FORBIDDEN for another name that no administrator gives."""
    if by is None or (named is not None and by.role is Role.ADMIN):
        return named
    if named not in {None, by.client}:
        message = f"client: this key submits for {by.client!r}, not for {named!r}"
        raise PenstockError(ErrorCode.FORBIDDEN, message, {"client": by.client})
    return by.client


def may_see(by: Key | None, job: Job) -> bool:
    """Whether there is such a job, to whoever asks with this key."""
    return by is None or not by.confined or job.spec.client == by.client


def kept_apart(fingerprint: str, by: Key | None) -> str:
    """Among whom equal work is the same work: who sees only his own jobs is not handed those of others."""
    if by is None or not by.confined:
        return fingerprint
    return hashlib.sha256(f"{fingerprint} {by.client}".encode()).hexdigest()
