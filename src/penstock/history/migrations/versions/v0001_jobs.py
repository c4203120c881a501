"""Jobs, submissions and the place in the feed."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the first tables."""
    _jobs()
    op.create_table(
        "penstock_submissions",
        sa.Column("namespace", sa.String(100), primary_key=True),
        sa.Column("job_id", sa.String(100), primary_key=True),
        sa.Column("event", sa.String(100), primary_key=True),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("admission", sa.String(20), nullable=False),
        sa.Column("client", sa.Text),
        sa.Column("request_id", sa.Text),
    )
    op.create_table(
        "penstock_feeds",
        sa.Column("namespace", sa.String(100), primary_key=True),
        sa.Column("holder", sa.Text),
        sa.Column("beat", sa.BigInteger, nullable=False),
        sa.Column("cursor", sa.Text, nullable=False),
        sa.Column("told_at", sa.BigInteger, nullable=False),
        sa.Column("sweep", sa.Text),
    )


def _jobs() -> None:
    op.create_table(
        "penstock_jobs",
        sa.Column("namespace", sa.String(100), primary_key=True),
        sa.Column("id", sa.String(100), primary_key=True),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("told_at", sa.BigInteger, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("due_at", sa.BigInteger, nullable=False),
        sa.Column("task", sa.Text, nullable=False),
        sa.Column("version", sa.Text, nullable=False),
        sa.Column("queue", sa.Text, nullable=False),
        sa.Column("priority", sa.String(20), nullable=False),
        sa.Column("client", sa.Text),
        sa.Column("params", sa.Text),
        sa.Column("params_bytes", sa.BigInteger, nullable=False),
        sa.Column("result", sa.Text),
        sa.Column("result_bytes", sa.BigInteger),
        sa.Column("error_code", sa.Text),
        sa.Column("error_message", sa.Text),
        sa.Column("error_detail", sa.Text),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("max_attempts", sa.Integer, nullable=False),
        sa.Column("losses", sa.Integer, nullable=False),
        sa.Column("crashes", sa.Integer, nullable=False),
        sa.Column("cached", sa.Boolean, nullable=False),
        sa.Column("started_at", sa.BigInteger),
        sa.Column("finished_at", sa.BigInteger),
        sa.Column("initiated_by", sa.Text, nullable=False),
        sa.Column("worker", sa.Text),
        sa.Column("request_id", sa.Text),
        sa.Column("parent_id", sa.Text),
        sa.Column("part", sa.Integer),
    )
    for name, columns in {
        "created": ["created_at", "id"],
        "finished": ["finished_at", "id"],
        "task": ["task", "created_at", "id"],
        "state": ["state", "created_at", "id"],
        "client": ["client", "created_at", "id"],
        "told": ["told_at"],
    }.items():
        op.create_index(f"penstock_jobs_{name}", "penstock_jobs", ["namespace", *columns])
