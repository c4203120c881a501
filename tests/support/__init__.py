"""What tests of several kinds share: a real node, a worker in process, tasks that misbehave, waiting."""
