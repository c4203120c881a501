"""The broker for many machines: Redis 6.2 or newer, or Valkey; alone, behind Sentinel, or as a cluster."""

from penstock.brokers.redis.broker import RedisBroker, connect
from penstock.brokers.redis.metering import meter

__all__ = ["RedisBroker", "connect", "meter"]
