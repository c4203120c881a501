"""The writing verbs as steps of a transaction. Each applies what ``core.lifecycle`` decided.

A step reads the rows it guards, writes them, notes the changed depths and the bells to ring, and
appends the events; the caller commits all of it or nothing.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from importlib.resources import files
from typing import Any

import msgspec

from penstock.brokers.sqlite import answers, depth, lines, turns
from penstock.brokers.sqlite.reads import anything_lapsed
from penstock.brokers.sqlite.rows import decode_attempts, decode_spec, job_by_id
from penstock.brokers.sqlite.writer import Transaction
from penstock.core import lifecycle, past
from penstock.core.errors import ErrorCode, PenstockError
from penstock.core.job import Job, State, WorkerInfo
from penstock.core.lifecycle import Claim, Settlement, Verdict
from penstock.ports import EventKind, Held, Orders

SCHEMA_VERSION = 1

JOBS = "jobs"
EVENTS = "events"

_EVENTS_PER_MS = 1000
"""More than are ever written, and 2^53 is not reached before the year 2255."""

encode = msgspec.json.Encoder().encode
NO_DATA = b"{}"


def prepare(tx: Transaction, *, in_order: bool) -> None:
    """Make the tables of a new file; refuse one whose tables this version does not know.

    ``in_order`` says that the file was closed as it should be.
    """
    (found,) = tx.connection.execute("PRAGMA user_version").fetchone()
    if found > SCHEMA_VERSION:
        message = (
            f"the broker's file has schema {found}, made by a newer Penstock; this one knows {SCHEMA_VERSION}"
        )
        raise PenstockError(ErrorCode.INVALID_REQUEST, message)
    script = files(__package__).joinpath("schema.sql").read_text()
    code = [line for line in script.splitlines() if not line.startswith("--")]
    for statement in "\n".join(code).split(";"):  # executescript would commit the transaction
        tx.connection.execute(statement)
    _add_missing(tx, "crashes", "INTEGER NOT NULL DEFAULT 0")
    _add_missing(tx, "handbacks", "INTEGER NOT NULL DEFAULT 0")
    _add_missing(tx, "waiters", "INTEGER NOT NULL DEFAULT 1")
    _add_missing(tx, "cached", "INTEGER NOT NULL DEFAULT 0")
    _add_missing(tx, "line", "TEXT NOT NULL DEFAULT ''")
    lines.prepare(tx.connection)
    if not in_order:
        _number_events_afresh(tx)
    tx.connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def _number_events_afresh(tx: Transaction) -> None:
    """Have the next event's number be larger than any that a follower can have seen.

    A power cut takes the last events that were not waited for. Their numbers must not be given again: a
    follower that had stored them, elsewhere, would pass over what happens next.
    """
    execute, first = tx.connection.execute, tx.now * _EVENTS_PER_MS
    execute(
        "INSERT INTO sqlite_sequence (name, seq) SELECT ?, 0"
        " WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = ?)",
        (EVENTS, EVENTS),
    )
    execute("UPDATE sqlite_sequence SET seq = max(seq, ?) WHERE name = ?", (first, EVENTS))


def _add_missing(tx: Transaction, column: str, kind: str) -> None:
    """Give an older file a column of jobs; older processes go on beside it, as they name their columns."""
    known = {row[1] for row in tx.connection.execute("PRAGMA table_info(jobs)")}
    if column not in known:
        tx.connection.execute(f"ALTER TABLE jobs ADD COLUMN {column} {kind}")


def claim(  # noqa: PLR0917 - what is left open is one condition more
    tx: Transaction, worker: str, queues: Sequence[str], limit: int, lease_ms: int, only: str = "TRUE"
) -> list[Claim]:
    """Promote what has become due, then take the best of the queues' lines, if they fulfil ``only`` (SQL)."""
    _promote(tx)
    _hold_lease(tx, worker, lease_ms)
    rows = turns.next_jobs(tx, queues, limit, only)
    claims = _take(tx, worker, rows)
    lines.refresh(tx.connection, {(c.spec.queue, lines.text_of(c.spec)) for c in claims})
    tell(
        tx,
        ((c.spec.id, EventKind.RUNNING, encode({"attempt": c.attempt, "worker": worker})) for c in claims),
    )
    for claimed in claims:
        tx.depths[claimed.spec.queue, State.QUEUED] -= 1
        tx.depths[claimed.spec.queue, State.RUNNING] += 1
    return claims


def _promote(tx: Transaction) -> None:
    rows = tx.connection.execute(
        "UPDATE jobs SET state = 'queued' WHERE n IN"
        " (SELECT n FROM jobs WHERE state = 'scheduled' AND due_at <= ? ORDER BY due_at LIMIT 1000)"
        " RETURNING id, queue, line, attempt",
        (tx.now,),
    ).fetchall()
    tell(tx, ((job_id, EventKind.QUEUED, encode({"attempt": used})) for job_id, _, _, used in rows))
    lines.refresh(tx.connection, {(queue, line) for _, queue, line, _ in rows})
    for _, queue, *_ in rows:
        tx.depths[queue, State.SCHEDULED] -= 1
        tx.depths[queue, State.QUEUED] += 1


# A job that was split goes on with when it began and how far it has come, see `lifecycle.start`.
_SPLIT = "EXISTS (SELECT 1 FROM families WHERE parent = jobs.id AND known)"
# Only of a job that may be split, ?5, is that asked.
_TAKE = f"""
UPDATE jobs SET state = 'running', attempt = ?1, token = ?2, worker = ?3, finished_at = NULL, error = NULL,
  started_at = CASE WHEN ?5 AND {_SPLIT} THEN started_at ELSE ?4 END,
  fraction = CASE WHEN ?5 AND {_SPLIT} THEN fraction END,
  message = CASE WHEN ?5 AND {_SPLIT} THEN message END
WHERE n = ?6
"""  # noqa: S608 - a constant
_TAKE_OVER = f"""
UPDATE jobs SET token = ?, worker = ?, started_at = CASE WHEN {_SPLIT} THEN started_at ELSE ? END WHERE n = ?
"""  # noqa: S608 - a constant


def _take(tx: Transaction, worker: str, rows: Sequence[tuple[Any, ...]]) -> list[Claim]:
    tokens = _new_tokens(tx, len(rows))
    claims = [
        Claim(
            spec=decode_spec(body),
            token=token,
            attempt=attempt + 1,
            losses=losses,
            crashes=crashes,
            handbacks=handbacks,
        )
        for token, (_, attempt, losses, crashes, handbacks, body) in zip(tokens, rows, strict=True)
    ]
    tx.connection.executemany(
        _TAKE,
        [
            (claimed.attempt, claimed.token, worker, tx.now, claimed.spec.merge_block, row[0])
            for claimed, row in zip(claims, rows, strict=True)
        ],
    )
    return claims


def _new_tokens(tx: Transaction, count: int) -> range:
    if not count:
        return range(0)
    (last,) = tx.connection.execute("UPDATE tokens SET last = last + ? RETURNING last", (count,)).fetchone()
    return range(last - count + 1, last + 1)


def _hold_lease(tx: Transaction, worker: str, lease_ms: int, info: bytes | None = None) -> None:
    tx.connection.execute(
        "INSERT INTO workers (id, info, lease_until, seen_at) VALUES (?, ?, ?, ?)"
        " ON CONFLICT (id) DO UPDATE SET info = coalesce(excluded.info, info),"
        " lease_until = excluded.lease_until, seen_at = excluded.seen_at",
        (worker, info, tx.now + lease_ms, tx.now),
    )


def renew(tx: Transaction, worker: WorkerInfo, held: Sequence[Held], lease_ms: int) -> Orders:
    """Extend the lease, publish reports, and compare what the worker holds with what is so."""
    _hold_lease(tx, worker.id, lease_ms, encode(worker))
    current = {
        token: (job_id, bool(cancel), started_at)
        for job_id, token, cancel, started_at in tx.connection.execute(
            "SELECT id, token, cancel, started_at FROM jobs WHERE state = 'running' AND worker = ?",
            (worker.id,),
        )
    }
    for report in held:
        if report.token in current and current[report.token][0] == report.job_id:
            _publish(tx, report)
    holding = {report.token for report in held}
    # A claim whose answer never arrived belongs to a live worker that does not know of it.
    strays = [
        (token,)
        for token, (_, _, started_at) in current.items()
        if token not in holding and started_at < tx.now - lease_ms
    ]
    tx.connection.executemany("UPDATE jobs SET worker = '' WHERE state = 'running' AND token = ?", strays)
    return Orders(
        cancel=frozenset(token for token, (_, cancel, _) in current.items() if cancel),
        lost=frozenset(holding - current.keys()),
        lapsed=bool(strays) or anything_lapsed(tx.connection, tx.now),
    )


def _publish(tx: Transaction, report: Held) -> None:
    if report.progress is not None:
        fraction, message = report.progress.fraction, report.progress.message
        tx.connection.execute(
            "UPDATE jobs SET fraction = ?, message = ? WHERE id = ?", (fraction, message, report.job_id)
        )
        tell(tx, [(report.job_id, EventKind.PROGRESS, encode({"fraction": fraction, "message": message}))])
    if report.lines:
        tell(tx, [(report.job_id, EventKind.LOG, encode({"lines": report.lines}))])


def settle(tx: Transaction, settlements: Sequence[Settlement]) -> list[bool]:
    """Store each verdict whose token is current."""
    ended = depth.Ended()
    sharing_now = tx.connection.execute("SELECT 1 FROM flights LIMIT 1").fetchone() is not None
    accepted = [_settle_one(tx, settled, ended, lands=sharing_now) for settled in settlements]
    if ended:
        depth.note_ended(tx, ended)
    return accepted


def _settle_one(tx: Transaction, settled: Settlement, ended: depth.Ended, *, lands: bool) -> bool:
    row = tx.connection.execute(
        "SELECT n, queue, line, rank, due_at, cancel, worker, started_at FROM jobs"
        " WHERE id = ? AND token = ? AND token > 0 AND state = 'running'",
        (settled.job_id, settled.token),
    ).fetchone()
    if row is None:
        return False
    n, queue, line, rank, due_at, cancel, worker, started_at = row
    verdict = settled.if_cancelled if cancel else settled.verdict
    new_due = tx.now + verdict.delay_ms if verdict.state is State.SCHEDULED else due_at
    error = None if verdict.error is None else encode(verdict.error)
    tx.connection.execute(
        "UPDATE jobs SET state = ?, attempt = ?, losses = ?, crashes = ?, handbacks = ?,"
        " token = 0, worker = ?, due_at = ?, rank = ?,"
        " finished_at = ?, error = ? WHERE n = ?",
        (
            verdict.state.value,
            verdict.attempt,
            verdict.losses,
            verdict.crashes,
            verdict.handbacks,
            None if verdict.state is State.RUNNING else worker,  # it waits for its parts
            new_due,
            rank + new_due - due_at,  # a rank is the due time plus the priority's head start
            tx.now if verdict.state.final else None,
            error,
            n,
        ),
    )
    if verdict.state is State.SUCCEEDED:
        store_result(tx, n, settled.result)
    if verdict.state.final:
        ended[queue] += 1
        tx.ended.append(settled.job_id)
        if lands:
            answers.land(tx, n, succeeded=verdict.state is State.SUCCEEDED)
    if settled.ending is not None:
        _remember(tx, n, past.ended(settled.ending, worker or None, started_at, tx.now))
    if verdict.state is State.RUNNING:  # it waits for its parts, and takes up no room of its line
        tx.rings.update({JOBS} if line else ())
        return True
    if verdict.state is State.QUEUED and line:
        lines.refresh(tx.connection, {(queue, line)})
    if line or not verdict.state.final:  # what ends may make room for another one of its line
        tx.rings.add(JOBS)
    _move(tx, queue, State.RUNNING, verdict.state)
    tell(tx, [(settled.job_id, verdict.state, _story(verdict))])
    return True


def _story(verdict: Verdict) -> bytes:
    if verdict.error is not None:
        return encode({"attempt": verdict.attempt, "error": verdict.error})
    return encode({"attempt": verdict.attempt}) if verdict.state is State.QUEUED else NO_DATA


def store_result(tx: Transaction, n: int, result: msgspec.Raw | None) -> None:
    """Keep the answer of the job with this number."""
    if result is not None:
        tx.connection.execute("INSERT OR REPLACE INTO results (n, body) VALUES (?, ?)", (n, bytes(result)))


def _remember(tx: Transaction, n: int, newest: past.Attempt) -> None:
    row = tx.connection.execute("SELECT body FROM attempts WHERE n = ?", (n,)).fetchone()
    kept = past.remember(decode_attempts(row[0]) if row else (), newest)
    tx.connection.execute("INSERT OR REPLACE INTO attempts (n, body) VALUES (?, ?)", (n, encode(kept)))


def cancel(tx: Transaction, job_ids: Sequence[str], *, force: bool) -> list[Job | None]:
    """Apply `lifecycle.cancel` to each job."""
    rule = partial(lifecycle.cancel, force=force)
    changed = {job_id: change(tx, job_id, rule) for job_id in dict.fromkeys(job_ids)}
    return [changed[job_id] for job_id in job_ids]


def retry(tx: Transaction, job_ids: Sequence[str]) -> list[Job | None]:
    """Apply `lifecycle.revive` to each job."""
    jobs = [change(tx, job_id, lifecycle.revive) for job_id in job_ids]
    tx.rings.add(JOBS)
    return jobs


def change(tx: Transaction, job_id: str, rule: Callable[[Job, int], Job]) -> Job | None:
    """Apply a rule to a job and tell of its new state; None for an unknown id."""
    before = job_by_id(tx.connection, job_id)
    if before is None:
        return None
    after = rule(before, tx.now)
    if after == before:
        return after
    (n,) = tx.connection.execute(
        "UPDATE jobs SET state = ?, rank = ?, due_at = ?, attempt = ?, losses = ?, crashes = ?,"
        " handbacks = ?, cancel = ?, token = ?, worker = ?, started_at = ?, finished_at = ?, fraction = ?,"
        " message = ?, error = ?, waiters = ? WHERE id = ? RETURNING n",
        (
            after.state.value,
            lifecycle.rank(after.spec.priority, after.due_at),
            after.due_at,
            after.attempt,
            after.losses,
            after.crashes,
            after.handbacks,
            after.cancel_requested,
            after.token,
            "" if after.token and after.worker is None else after.worker,  # see renew: nobody knows of it
            after.started_at,
            after.finished_at,
            after.progress and after.progress.fraction,
            after.progress and after.progress.message,
            after.error and encode(after.error),
            after.waiters,
            job_id,
        ),
    ).fetchone()
    if after.state.final and not before.state.final:
        tx.ended.append(job_id)
        answers.land(tx, n, succeeded=False)
    if after.state is State.QUEUED and before.state.final:
        answers.take_off_again(tx, after)
    if after.state is not before.state:
        _move(tx, after.spec.queue, before.state, after.state)
        lines.refresh(tx.connection, {(after.spec.queue, lines.text_of(after.spec))})
        tell(tx, [(job_id, after.state, NO_DATA if after.error is None else encode({"error": after.error}))])
    return after


def reclaim(tx: Transaction, worker: str, limit: int, lease_ms: int) -> list[Claim]:
    """Move jobs whose worker has no live lease to ``worker``, under new tokens."""
    _hold_lease(tx, worker, lease_ms)
    rows = tx.connection.execute(
        "SELECT jobs.n, attempt, losses, crashes, handbacks, body, worker, started_at"
        " FROM jobs JOIN specs USING (n)"
        " WHERE state = 'running' AND worker NOT IN (SELECT id FROM workers WHERE lease_until >= ?) LIMIT ?",
        (tx.now, limit),
    ).fetchall()
    tokens = _new_tokens(tx, len(rows))
    tx.connection.executemany(
        _TAKE_OVER,
        [(token, worker, tx.now, row[0]) for token, row in zip(tokens, rows, strict=True)],
    )
    tx.connection.execute(
        "DELETE FROM workers WHERE lease_until < ?"
        " AND id NOT IN (SELECT worker FROM jobs WHERE state = 'running' AND worker IS NOT NULL)",
        (tx.now,),
    )
    return [
        Claim(
            spec=decode_spec(body),
            token=token,
            attempt=attempt,
            losses=losses,
            crashes=crashes,
            handbacks=handbacks,
            lost_by=lost_by or "unknown",
            begun_at=begun_at,
        )
        for token, (_, attempt, losses, crashes, handbacks, body, lost_by, begun_at) in zip(
            tokens, rows, strict=True
        )
    ]


def retire(tx: Transaction, worker: str) -> None:
    """Forget the worker's lease."""
    tx.connection.execute("DELETE FROM workers WHERE id = ?", (worker,))


def _move(tx: Transaction, queue: str, before: State, after: State) -> None:
    tx.depths[queue, before] -= 1
    tx.depths[queue, after] += 1


def tell(tx: Transaction, happened: Iterable[tuple[str, str, bytes]]) -> None:
    """Append events: of each the job, the kind and the data as JSON."""
    rows = [(tx.now, job_id, str(kind), data) for job_id, kind, data in happened]
    if rows:
        tx.connection.executemany("INSERT INTO events (at, job_id, kind, data) VALUES (?, ?, ?, ?)", rows)
        tx.rings.add(EVENTS)
