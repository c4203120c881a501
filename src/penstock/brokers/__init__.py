"""Stores that keep jobs. The module named like a URL's scheme has ``connect(url, options, clock)``."""
