"""The tables, as the newest migration leaves them. Every row belongs to a namespace, as jobs do.

A change here needs a migration in ``migrations/versions``; a test compares the two.
"""

from sqlalchemy import BigInteger, Boolean, Column, Double, Index, Integer, MetaData, String, Table, Text

HEAD = "0002"
"""The newest migration. Revisions are numbers, so that a newer release's can be told from an older one's."""

VERSION_TABLE = "penstock_history_version"

metadata = MetaData()

jobs = Table(
    "penstock_jobs",
    metadata,
    Column("namespace", String(100), primary_key=True),
    Column("id", String(100), primary_key=True),
    Column("state", String(20), nullable=False),
    Column("told_at", BigInteger, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("due_at", BigInteger, nullable=False),
    Column("task", Text, nullable=False),
    Column("version", Text, nullable=False),
    Column("queue", Text, nullable=False),
    Column("priority", String(20), nullable=False),
    Column("client", Text),
    Column("params", Text),
    Column("params_bytes", BigInteger, nullable=False),
    Column("result", Text),
    Column("result_bytes", BigInteger),
    Column("error_code", Text),
    Column("error_message", Text),
    Column("error_detail", Text),
    Column("attempt", Integer, nullable=False),
    Column("max_attempts", Integer, nullable=False),
    Column("losses", Integer, nullable=False),
    Column("crashes", Integer, nullable=False),
    Column("cached", Boolean, nullable=False),
    Column("started_at", BigInteger),
    Column("finished_at", BigInteger),
    Column("initiated_by", Text, nullable=False),
    Column("worker", Text),
    Column("request_id", Text),
    Column("parent_id", Text),
    Column("part", Integer),
)

# One per sort order, and the newest first for what lists are filtered by most.
Index("penstock_jobs_created", jobs.c.namespace, jobs.c.created_at, jobs.c.id)
Index("penstock_jobs_finished", jobs.c.namespace, jobs.c.finished_at, jobs.c.id)
Index("penstock_jobs_task", jobs.c.namespace, jobs.c.task, jobs.c.created_at, jobs.c.id)
Index("penstock_jobs_state", jobs.c.namespace, jobs.c.state, jobs.c.created_at, jobs.c.id)
Index("penstock_jobs_client", jobs.c.namespace, jobs.c.client, jobs.c.created_at, jobs.c.id)
Index("penstock_jobs_told", jobs.c.namespace, jobs.c.told_at)

submissions = Table(
    "penstock_submissions",
    metadata,
    Column("namespace", String(100), primary_key=True),
    Column("job_id", String(100), primary_key=True),
    Column("event", String(100), primary_key=True),
    Column("at", BigInteger, nullable=False),
    Column("admission", String(20), nullable=False),
    Column("client", Text),
    Column("request_id", Text),
)

feeds = Table(
    "penstock_feeds",
    metadata,
    Column("namespace", String(100), primary_key=True),
    Column("holder", Text),
    Column("beat", BigInteger, nullable=False),
    Column("cursor", Text, nullable=False),
    Column("told_at", BigInteger, nullable=False),
    Column("sweep", Text),
)

# Written from the results of one task, see `allocations`; history needs nothing of it itself.
allocations = Table(
    "penstock_allocations",
    metadata,
    Column("namespace", String(100), primary_key=True),
    Column("job_id", String(100), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("demand", Text, nullable=False),
    Column("bank", String(100), nullable=False),
    Column("supply", Text, nullable=False),
    Column("companion", Text),
    Column("kind", String(20), nullable=False),
    Column("tier", String(20), nullable=False),
    Column("units", Double, nullable=False),
    Column("unit_price", Double, nullable=False),
    Column("cost", Double, nullable=False),
    Column("price_source", Text, nullable=False),
    Column("contract_size", String(20), nullable=False),
    Column("data_version", String(100), nullable=False),
)
Index("penstock_allocations_bank", allocations.c.namespace, allocations.c.bank)
