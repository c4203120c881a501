"""The proof kit: runs that break a real deployment on purpose and count what became of every message.

One file per experiment in ``trials``, found by being there; the rest is what they share. Called by
``penstock experiment`` only.
"""
