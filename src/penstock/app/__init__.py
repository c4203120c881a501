"""Assembly: the one floor that chooses adapters. Builds a node's API or worker from settings."""
