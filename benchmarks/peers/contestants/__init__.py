"""One file per contestant, each with a function ``contestant()``; run in the environment of its packages."""
