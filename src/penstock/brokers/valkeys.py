"""``valkeys://``: see `penstock.brokers.redis`."""

from penstock.brokers.redis import connect

__all__ = ["connect"]
