"""Queues that give out no jobs for a while, as steps of a transaction."""

from penstock.brokers.sqlite.verbs import JOBS
from penstock.brokers.sqlite.writer import Transaction


def pause(tx: Transaction, queue: str) -> None:
    """Mark the queue as paused."""
    tx.connection.execute("INSERT OR IGNORE INTO paused (queue) VALUES (?)", (queue,))


def resume(tx: Transaction, queue: str) -> None:
    """Remove the mark."""
    tx.connection.execute("DELETE FROM paused WHERE queue = ?", (queue,))
    tx.rings.add(JOBS)
