"""``rediss://``: see `penstock.brokers.redis`."""

from penstock.brokers.redis import connect, meter

__all__ = ["connect", "meter"]
