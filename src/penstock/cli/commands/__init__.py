"""The commands; a module put here with ``command()`` is one."""
