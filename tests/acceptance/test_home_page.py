"""The page at ``/`` in a browser: the form, the key, the tables, a cancel."""

import pytest

from penstock import Client
from penstock.core.keys import Role, entry, mint
from support.programs import program
from support.wait import until

playwright = pytest.importorskip("playwright.sync_api")
expect = playwright.expect

pytestmark = pytest.mark.slow

WITHIN_MS = 60_000
PLAIN = [
    "--no-sandbox",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
]


@pytest.fixture
def browser():
    chromium = program("chromium", "apt-get install chromium")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=chromium, args=PLAIN)
        yield browser
        browser.close()


@pytest.fixture
def page(browser):
    page = browser.new_page()
    page.set_default_timeout(WITHIN_MS)
    expect.set_options(timeout=WITHIN_MS)
    return page


def a_queue_without_a_worker_is_told(node, key, queues):
    with Client(node.url, api_key=key) as client:
        client.submit("add", {"a": 1, "b": 2}, queue="nowhere")
    expect(queues).to_contain_text("nowhere, no worker")
    expect(queues).not_to_contain_text("default, no worker")


def test_two_numbers_are_added_and_everything_is_seen(make_node, page):
    text, key = mint("somebody", Role.SUBMIT)
    node = make_node(slots=1, api_keys=entry(key))
    wrong = []
    page.on("console", lambda said: wrong.append(said.text) if "401" not in said.text else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.goto(node.url)
    page.get_by_label("This node asks for an API key").fill(text)
    page.get_by_role("button", name="Use it").click()
    expect(page.get_by_role("status")).to_have_text("ok")
    expect(page.locator("#door")).to_be_hidden()

    page.get_by_label("First number").fill("40")
    page.get_by_label("Second number").fill("2")
    page.get_by_label("Effort, CPU seconds").fill("0.1")
    page.get_by_role("button", name="Start Background Task").click()
    expect(page.locator("#answer-state")).to_have_text("complete")
    expect(page.locator("#answer-value")).to_have_text("42")
    for name in ("initiated", "checked", "handled"):
        expect(page.locator(f"#{name}")).to_have_text(node.name)

    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    rows = page.locator("#jobs tr")
    expect(rows.first).to_contain_text("succeeded")
    rows.first.get_by_role("button", name="add").click()
    expect(page.get_by_role("dialog")).to_contain_text('"cost_s": 0.1')
    page.get_by_role("button", name="Close").click()
    expect(page.get_by_role("dialog")).to_be_hidden()

    # What is seen only while it runs must be there for as long as it takes to look.
    page.get_by_label("Effort, CPU seconds").fill("50")
    page.get_by_role("button", name="Start Background Task").click()
    expect(page.locator("#answer-state")).to_have_text("running")
    expect(page.locator("#answer-said")).to_contain_text("of 50 s of CPU time")
    expect(rows.first).to_contain_text("of 50 s of CPU time")
    expect(page.locator("#tiles")).to_contain_text("1 of 1")
    page.get_by_role("combobox", name="State", exact=True).select_option("running")
    expect(rows).to_have_count(1)
    page.get_by_role("button", name="Cancel add").click()
    expect(page.locator("#answer-state")).to_have_text("cancelled")
    expect(rows).to_have_count(0)
    expect(page.locator("#workers")).to_contain_text(node.name)
    expect(page.locator("#queues")).to_contain_text("default")
    a_queue_without_a_worker_is_told(node, text, page.locator("#queues"))

    page.get_by_role("button", name="Direct Add").click()
    expect(page.locator("#answer-state")).to_have_text("complete")
    expect(page.locator("#answer-value")).to_have_text("42")
    expect(page.locator("#handled")).to_have_text(node.name)

    page.set_viewport_size({"width": 400, "height": 900})
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert wrong == []
    node.process.terminate()
    expect(page.get_by_role("alert")).to_contain_text("its jobs are kept", ignore_case=True)
    until(lambda: node.process.poll() is not None)
