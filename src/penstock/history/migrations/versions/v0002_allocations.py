"""The rows of habitat allocations."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "penstock_allocations",
        sa.Column("namespace", sa.String(100), primary_key=True),
        sa.Column("job_id", sa.String(100), primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("demand", sa.Text, nullable=False),
        sa.Column("bank", sa.String(100), nullable=False),
        sa.Column("supply", sa.Text, nullable=False),
        sa.Column("companion", sa.Text),
        sa.Column("kind", sa.String(20), nullable=False),
        sa.Column("tier", sa.String(20), nullable=False),
        sa.Column("units", sa.Double, nullable=False),
        sa.Column("unit_price", sa.Double, nullable=False),
        sa.Column("cost", sa.Double, nullable=False),
        sa.Column("price_source", sa.Text, nullable=False),
        sa.Column("contract_size", sa.String(20), nullable=False),
        sa.Column("data_version", sa.String(100), nullable=False),
    )
    op.create_index("penstock_allocations_bank", "penstock_allocations", ["namespace", "bank"])
