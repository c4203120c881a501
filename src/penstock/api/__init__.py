"""The HTTP edge: translates requests to the desk and answers to JSON. No rule lives here."""
