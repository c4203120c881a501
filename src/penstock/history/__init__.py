"""History in SQL: one adapter for SQLite and PostgreSQL. ``store.SqlHistory`` keeps `ports.History`."""
