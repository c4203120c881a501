"""Penstock and the Python task queues over Redis, measured side by side on one machine.

``python -m peers`` (``make bench-peers``) runs every measurement of ``measurements/`` with every
contestant of ``contestants/``. Both are found by where they are: adding one is adding a file.
"""
