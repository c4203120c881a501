"""Stories told from outside: real nodes, HTTP and signals only.

``make_node`` starts nodes for one test on one broker; ``node`` is one that the tests of a file share.
When a test fails, the logs of the nodes that run are part of its report.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from support.node import Node, live

LOG_TAIL = 20_000

MakeNode = Callable[..., Node]


@pytest.fixture
def make_node(tmp_path: Path) -> Iterator[MakeNode]:
    """``make_node("worker", slots=1, lease="2s")``: see `Node`; every one is gone after the test.

    With ``wait=False`` it is started, and the test calls its `wait_ready` or `wait`.
    """
    made: list[Node] = []

    def make(role: str = "up", *, wait: bool = True, **options: Any) -> Node:
        node = Node(tmp_path, role, **options)
        made.append(node)
        node.launch()
        if wait:
            node.wait_ready()
        return node

    yield make
    for node in made:
        node.kill()


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A whole node with two slots."""
    shared = Node(tmp_path_factory.mktemp("node"))
    try:
        yield shared.start()
    finally:
        shared.kill()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Iterator[None]:
    report = yield
    if report.failed:
        report.sections += [(f"log of {node.name}", node.log[-LOG_TAIL:]) for node in live]
    return report
