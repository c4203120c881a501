"""The verb ``submit`` as a step of a transaction: what is known answers, what is new is kept or refused."""

from collections import Counter
from collections.abc import Sequence

from msgspec.structs import replace

from penstock.brokers.sqlite import answers, depth, lines
from penstock.brokers.sqlite.rows import encode_spec, job_by_id
from penstock.brokers.sqlite.verbs import JOBS, NO_DATA, encode, store_result, tell
from penstock.brokers.sqlite.writer import Transaction
from penstock.core import lifecycle, sharing
from penstock.core.job import Job, JobSpec, State
from penstock.ports import Admission, EventKind, Receipt


def submit(tx: Transaction, specs: Sequence[JobSpec], max_depth: int) -> list[Receipt]:
    """Insert what is new; answer the rest from what is there, or refuse it where a queue is full."""
    if not specs:
        _try_the_disk(tx)
    room = depth.Room(tx, max_depth)
    counts: Counter[str] = Counter()
    receipts = [_submit_one(tx, spec, room, counts) for spec in specs]
    if counts:
        answers.add_counts(tx, counts)
    if any(receipt.admission is Admission.ACCEPTED for receipt in receipts):
        tx.rings.add(JOBS)
    # What a later one of the batch joined has changed since.
    if not counts["joined"]:
        return receipts
    return [one if one.admission in FRESH else as_it_stands(tx, one) for one in receipts]


def _submit_one(tx: Transaction, spec: JobSpec, room: depth.Room, counts: Counter[str]) -> Receipt:
    known = _by_key(tx, spec)
    if known is not None:
        return known
    full = None if spec.part is not None else room.why_full(spec.queue)
    if (full or sharing.shares(spec)) and _is_known(tx, spec):
        return _answer_again(tx, spec.id, spec)
    looks = sharing.looks(spec)
    if looks and (source := answers.source(tx, spec)):
        counts.update(hits=1, saved_ms=sharing.run_ms(source))
        return insert(tx, sharing.hit(spec, source, tx.now))
    if looks and (other := answers.in_flight(tx, spec)):
        counts["joined"] += 1
        return _join(tx, other, spec)
    if full is not None:
        return Receipt(admission=Admission.REFUSED, job=None, full=full)
    counts.update({"misses": 1} if looks else ())
    receipt = insert(tx, lifecycle.accept(spec, tx.now))
    if receipt.admission is Admission.ACCEPTED:
        lines.learn(tx.connection, spec)
    return receipt


FRESH = frozenset({Admission.ACCEPTED, Admission.CACHED})


def as_it_stands(tx: Transaction, receipt: Receipt) -> Receipt:
    """The receipt with its job read again."""
    if receipt.job is None:
        return receipt
    return replace(receipt, job=job_by_id(tx.connection, receipt.job.id))


def _try_the_disk(tx: Transaction) -> None:
    """Whether a job could be kept only a write can tell, and SQLite leaves out one that changes nothing."""
    for change in (1, -1):
        tx.connection.execute("UPDATE depths SET jobs = jobs + ?", (change,))


def _by_key(tx: Transaction, spec: JobSpec) -> Receipt | None:
    if spec.idempotency_key is None:
        return None
    client, key = spec.client or "", spec.idempotency_key
    row = tx.connection.execute(
        "SELECT id FROM jobs"
        " WHERE coalesce(client, '') = ? AND idempotency_key IS NOT NULL AND idempotency_key = ?",
        (client, key),
    ).fetchone()
    found = answers.keyed(tx.connection, client, key) if row is None else row[0]
    return None if found is None else _answer_again(tx, found, spec)


def _is_known(tx: Transaction, spec: JobSpec) -> bool:
    return tx.connection.execute("SELECT 1 FROM jobs WHERE id = ?", (spec.id,)).fetchone() is not None


def _answer_again(tx: Transaction, job_id: str, spec: JobSpec) -> Receipt:
    job = job_by_id(tx.connection, job_id)
    same = job is not None and job.spec.fingerprint == spec.fingerprint
    return Receipt(admission=Admission.REPEATED if same else Admission.CONFLICT, job=job)


def insert(tx: Transaction, job: Job) -> Receipt:
    """Keep one job, unless its id is known."""
    spec, execute = job.spec, tx.connection.execute
    line, rank = lines.text_of(spec), lifecycle.rank(spec.priority, job.due_at)
    inserted = execute(
        "INSERT INTO jobs (id, state, queue, task, rank, created_at, due_at, client, idempotency_key,"
        " fingerprint, line, worker, started_at, finished_at, cached)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING",
        (
            spec.id,
            job.state.value,
            spec.queue,
            spec.task,
            rank,
            job.created_at,
            job.due_at,
            spec.client,
            spec.idempotency_key,
            spec.fingerprint,
            line,
            job.worker,
            job.started_at,
            job.finished_at,
            job.cached,
        ),
    )
    if not inserted.rowcount:  # a submission whose answer got lost, sent again
        return _answer_again(tx, spec.id, spec)
    n = inserted.lastrowid or 0
    execute("INSERT INTO specs (n, body) VALUES (?, ?)", (n, encode_spec(spec)))
    tx.depths[spec.queue, job.state] += 1
    if job.cached:
        store_result(tx, n, job.result)
        tell(tx, [(job.id, job.state, encode(sharing.HIT_STORY))])
        return Receipt(admission=Admission.CACHED, job=job)
    answers.take_off(tx, n, spec)
    if line and job.state is State.QUEUED:
        lines.arrived(tx.connection, spec.queue, line, rank)
    tell(tx, [(job.id, job.state, NO_DATA if spec.part is None else encode({"part": spec.part}))])
    return Receipt(admission=Admission.ACCEPTED, job=job)


def _join(tx: Transaction, other: Job, spec: JobSpec) -> Receipt:
    if answers.join(tx, other, spec):
        tell(tx, [(other.id, EventKind.JOINED, encode(sharing.join_story(spec)))])
        answers.keep_key(tx, other, spec)
    return Receipt(admission=Admission.JOINED, job=job_by_id(tx.connection, other.id))
