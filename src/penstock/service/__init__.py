"""Use cases over the ports: what API, CLI and workers do with a broker."""
