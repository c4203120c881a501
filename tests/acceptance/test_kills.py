"""Deaths at the worst moment: what was accepted is kept, and ends exactly once."""

import pytest

pytestmark = pytest.mark.slow


def test_node(make_node):
    node = make_node()
    job = node.client.submit("noop", {"n": 3}, wait_s=10)
    assert job.result == 3
    print(node.pids("api"), node.pids("worker"), node.pids("zygote"), node.pids("slot"))
    assert node.stop() == 0
