"""The worker: a supervisor that claims, renews and settles, and slots that hold killable children."""
