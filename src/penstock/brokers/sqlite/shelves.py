"""Small documents that all nodes share: a step of a transaction, and a question."""

import sqlite3

from penstock.brokers.sqlite.writer import Transaction


def put(tx: Transaction, shelf: str, name: str, body: bytes | None) -> None:
    """Keep a document, or remove it."""
    if body is None:
        tx.connection.execute("DELETE FROM shelves WHERE shelf = ? AND name = ?", (shelf, name))
    else:
        tx.connection.execute(
            "INSERT OR REPLACE INTO shelves (shelf, name, body) VALUES (?, ?, ?)", (shelf, name, body)
        )


def shelf(db: sqlite3.Connection, name: str) -> dict[str, bytes]:
    """Every document of a shelf."""
    return dict(db.execute("SELECT name, body FROM shelves WHERE shelf = ?", (name,)))


def swap(tx: Transaction, shelf: str, name: str, old: bytes | None, new: bytes | None) -> bool:
    """Put ``new`` in the place of ``old``; False, and nothing, if another document is there."""
    found = tx.connection.execute(
        "SELECT body FROM shelves WHERE shelf = ? AND name = ?", (shelf, name)
    ).fetchone()
    if (found[0] if found else None) != old:
        return False
    put(tx, shelf, name, new)
    return True
