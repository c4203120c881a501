"""Runs a real deployment through a storm of faults drawn from a seed, and counts what became of every job.

`plan` draws, `deployment` is what suffers, `inject` makes it suffer, `clients` bring the work, `audit`
counts, `ledger` is what it counts in, and `run` puts them together. ``python -m support.faults --help``.
"""
