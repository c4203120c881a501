"""The optimiser's page: run by Streamlit's own test bench, and once in a real browser, on a real node."""

import os
import subprocess
import sys
from collections.abc import Iterator

import httpx
import pytest
from playwright.sync_api import expect, sync_playwright
from streamlit.testing.v1 import AppTest

from penstock.cli.commands.page import SCRIPT
from support.node import Node
from support.ports import unused_port
from support.programs import chromium_program
from support.wait import until

pytestmark = pytest.mark.slow

BUTTON = "Find the cheapest purchase"
FOUND = "The cheapest purchase"
QUIET = ("background-networking", "component-update", "sync", "quic", "gpu", "dev-shm-usage")
HOST = "127.0.0.2"
"""Loopback, but not the address that the page has by default."""


@pytest.fixture(scope="module")
def node(tmp_path_factory) -> Iterator[Node]:
    started = Node(tmp_path_factory.mktemp("node"), slots=1)
    try:
        yield started.start()
    finally:
        started.kill()


@pytest.fixture
def paused(node) -> Iterator[Node]:
    """A node whose jobs wait, and which knows no answers."""
    httpx.post(f"{node.url}/cache/clear-all", timeout=30).raise_for_status()
    httpx.post(f"{node.url}/queues/default/pause", timeout=30).raise_for_status()
    yield node
    resume(node)


def resume(node):
    httpx.post(f"{node.url}/queues/default/resume", timeout=30).raise_for_status()


def open_page():
    page = AppTest.from_file(str(SCRIPT), default_timeout=60).run()
    assert not page.exception
    return page


def press(page):
    page.button[0].click().run()
    assert not page.exception
    return page


def subheaders(page):
    return [each.value for each in page.subheader]


def ended(page):
    """Run it as its fragment does, until there is a result or an error."""
    until(lambda: FOUND in subheaders(page.run()) or page.error, what="the job has ended")
    assert not page.exception
    return page


def test_alone_it_finds_a_purchase(monkeypatch):
    monkeypatch.delenv("PENSTOCK_URL", raising=False)
    monkeypatch.delenv("PENSTOCK_REFERENCE_URL", raising=False)
    page = open_page()
    assert "Without a node" in " ".join(each.value for each in page.caption)
    page.selectbox[0].set_value("Bristol").run()
    assert "job" not in page.session_state, "sent before the button was pressed"
    ended(press(page))
    table = page.dataframe[1].value  # the first is the form's
    assert list(table["Demand"]) == ["Lowland meadow", "Mixed scrub"]
    totals = {each.label: each.value for each in page.metric}
    whole = float(totals["Cost of the units"].replace("£", "").replace(",", ""))
    assert whole == pytest.approx(table["Cost"].sum())
    assert totals["Fee"] == "£500"
    assert any(each.value.endswith("finished") for each in page.caption)


def test_on_a_node_it_shows_each_state_and_never_waits(paused, monkeypatch):
    monkeypatch.setenv("PENSTOCK_URL", paused.url)
    page = press(open_page())
    for _ in range(2):
        assert FOUND not in subheaders(page.run())
        assert "waiting for a worker" in [each.value for each in page.caption]
        assert page.button[0].label == BUTTON
    resume(paused)
    ended(page)
    assert any(each.value.startswith("queued") for each in page.caption)
    again = ended(press(page))
    assert "This answer was known already." in " ".join(each.value for each in again.caption)


def test_a_node_that_is_away_is_told_and_the_page_can_do_without(monkeypatch):
    monkeypatch.setenv("PENSTOCK_URL", f"http://127.0.0.1:{unused_port()}")
    page = press(open_page())
    assert "NODE_UNREACHABLE" in page.error[0].value
    page.radio[0].set_value("in this page").run()
    assert FOUND in subheaders(ended(press(page)))


def test_in_a_real_browser(paused):
    port = unused_port()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PENSTOCK_")}
    environment["PENSTOCK_HOST"] = HOST
    words = [sys.executable, "-m", "penstock", "page", "--port", str(port), "--url", paused.url]
    serving = subprocess.Popen(words, env=environment, cwd=paused.folder, stdout=subprocess.DEVNULL)
    try:
        with sync_playwright() as playwright:
            flags = [f"--disable-{each}" for each in QUIET] + ["--no-sandbox"]
            browser = playwright.chromium.launch(executable_path=chromium_program(), args=flags)
            page = browser.new_page()
            until(lambda: answers(port), what="the page is served")
            page.goto(f"http://{HOST}:{port}")
            page.get_by_role("button", name=BUTTON).click()
            expect(page.get_by_text("waiting for a worker")).to_be_visible(timeout=60_000)
            resume(paused)
            expect(page.get_by_text(FOUND)).to_be_visible(timeout=60_000)
            with page.expect_download() as saved:
                page.get_by_role("button", name="Table as CSV").click()
            assert saved.value.path().read_text().startswith("Demand,Bank,Supply")
            browser.close()
    finally:
        serving.terminate()
        assert serving.wait(60) is not None


def answers(port):
    try:
        return httpx.get(f"http://{HOST}:{port}/_stcore/health", timeout=30).status_code == 200
    except httpx.TransportError:
        return False
