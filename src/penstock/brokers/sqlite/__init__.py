"""The embedded broker: one SQLite file, any number of processes on one machine, nothing to install."""

from penstock.brokers.sqlite.broker import SqliteBroker, connect

__all__ = ["SqliteBroker", "connect"]
