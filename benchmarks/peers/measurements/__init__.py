"""One file per measurement, each with a constant ``MEASUREMENT``."""
