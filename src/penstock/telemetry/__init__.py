"""Metrics and logs, kept at the seams: adapters and rules contain no line of it."""
