"""History in SQL, on SQLite or PostgreSQL: ``store.SqlHistory`` keeps the contract of ``history_port``."""
