"""One experiment per file: ``PROVES``, ``PLAN``, what it can be aimed at, ``run`` and ``promises``."""
