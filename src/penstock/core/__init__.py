"""Values and rules without I/O: what a job is, what may happen to it, and what a task promises."""
