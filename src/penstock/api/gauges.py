"""Figures of the whole system for ``/metrics``, read from the broker when somebody scrapes."""

from collections.abc import Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from penstock.core.sharing import CacheStats


class CacheCollector:
    """The cache's figures; they belong to all nodes together, so each tells the broker's counts."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._cache: CacheStats | None = None
        registry.register(self)

    def show(self, cache: CacheStats | None) -> None:
        """What to tell from now on; None while nobody knows."""
        self._cache = cache

    def collect(self) -> Iterator[Metric]:
        """Part of a collector."""
        if self._cache is None:
            return
        cache = self._cache
        yield GaugeMetricFamily("penstock_cache_entries", "Answers that can be given now.", cache.entries)
        looks = CounterMetricFamily(
            "penstock_cache_lookups",
            "Submissions that looked for an answer, by what they found.",
            labels=["found"],
        )
        for found, count in (("answer", cache.hits), ("job", cache.joined), ("nothing", cache.misses)):
            looks.add_metric([found], count)
        yield looks
        saved = cache.saved_ms / 1000
        yield CounterMetricFamily("penstock_cache_saved_seconds", "Run time spared by answers.", saved)
