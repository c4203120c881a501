"""Biodiversity net gain: which banks sell the units that a development must buy (``habitat_allocation``)."""

from penstock.tasks.habitat.task import habitat_allocation

__all__ = ["habitat_allocation"]
