"""Migrations of the tables of history; Alembic runs them, nobody imports them."""
