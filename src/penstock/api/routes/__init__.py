"""One module per subject, each with ``router(office)``; a module put here is served."""
