"""Outcomes on a machine's own disk, for as long as the broker cannot take them."""
