"""The guides' Python for ready-made tasks does what it says, on a node as anybody would start it."""

import re
from pathlib import Path

import pytest

from support.node import Node

GUIDES = Path(__file__).parents[2] / "docs" / "guides"
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
READY_MADE = '"credit_loss"'
SMALLER = {"range(5_000)": "range(20)", "50_000_000": "1_000_000", '"repeats": 100': '"repeats": 3'}
"""Sizes that make a point of Penstock's, and none of the snippet's."""

pytestmark = pytest.mark.slow


def snippets():
    for guide in ("python-client.md", "chains-and-sets.md"):
        for number, block in enumerate(BLOCK.findall((GUIDES / guide).read_text())):
            if READY_MADE in block and "with Client()" in block:
                yield pytest.param(block, id=f"{guide}-{number}")


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    node = Node(tmp_path_factory.mktemp("guides"))
    try:
        yield node.start()
    finally:
        node.kill()


@pytest.mark.parametrize("code", list(snippets()))
def test_a_snippet_runs(code, node, monkeypatch, capsys):
    monkeypatch.setenv("PENSTOCK_URL", node.url)
    for told, enough in SMALLER.items():
        code = code.replace(told, enough)
    exec(compile(code, "guide", "exec"), {"__name__": "guide"})
    assert capsys.readouterr().out


def test_there_are_snippets():
    assert len(list(snippets())) >= 5
