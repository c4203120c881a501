"""Where attempts run: processes that can be killed, forked from one that has the tasks imported."""
