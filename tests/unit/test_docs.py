"""The texts say what is so: links lead somewhere, code compiles, tables name what the code has."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from penstock.api.wire import STATUS
from penstock.app.api import make_api
from penstock.core.catalog import load
from penstock.core.errors import ErrorCode, FailureCode
from penstock.core.job import State
from penstock.settings import Settings

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted(DOCS.rglob("*.md"))]
README_LINES = 120

pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def prose(page: Path) -> str:
    return re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(), flags=re.DOTALL | re.MULTILINE)


def relative_links(page: Path) -> Iterator[tuple[Path, str]]:
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if "://" not in target:
            path, _, anchor = target.partition("#")
            yield (page.parent / path).resolve() if path else page, anchor


def anchors(page: Path) -> set[str]:
    titles = re.findall(r"^#+ (.+)$", prose(page), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pages
def test_relative_links_lead_to_files_and_headings(page):
    for target, anchor in relative_links(page):
        assert target.exists(), target
        assert not anchor or anchor in anchors(target), f"{target} has no heading #{anchor}"


@pages
def test_python_compiles(page):
    for number, code in enumerate(blocks(page, "python")):
        compile(code, f"{page.name}, block {number}", "exec")


@pages
def test_a_page_has_one_title_and_closed_blocks(page):
    assert len(re.findall(r"^# ", prose(page), flags=re.MULTILINE)) == 1
    assert "```" not in prose(page)


def test_every_page_is_listed_in_the_index():
    listed = {target for target, _ in relative_links(DOCS / "README.md")}
    assert set(DOCS.rglob("*.md")) - listed == {DOCS / "README.md"}


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text().splitlines()) <= README_LINES


def test_the_readme_shows_the_whole_example():
    example = (ROOT / "examples" / "own_task.py").read_text()
    assert example in blocks(ROOT / "README.md", "python")


def test_the_example_is_a_task_of_ten_lines():
    source = (ROOT / "examples" / "own_task.py").read_text()
    assert len(source[source.index("@task") :].splitlines()) == 10


def test_the_api_page_names_every_route():
    page = (DOCS / "reference" / "http-api.md").read_text()
    catalog = load(())
    document = make_api(Settings(), catalog).app.openapi()
    for path, methods in document["paths"].items():
        shown = path.replace("{job_id}", "{id}")
        for task in catalog:
            shown = shown.replace(f"/tasks/{task}/", "/tasks/{name}/")
        for method in methods:
            assert f"`{method.upper()} {shown}`" in page


def test_the_api_page_names_every_state_and_failure():
    page = (DOCS / "reference" / "http-api.md").read_text()
    for name in (*State, *FailureCode):
        assert f"`{name}`" in page


def test_the_api_page_has_the_status_of_every_error():
    page = (DOCS / "reference" / "http-api.md").read_text()
    told = {}
    for codes, statuses in re.findall(r"^\| (`[A-Z_`, ]+`) \| ([0-9, ]+) \|", page, flags=re.MULTILINE):
        told |= dict(zip(re.findall(r"[A-Z_]+", codes), map(int, statuses.split(", ")), strict=True))
    assert told == {code.value: status for code, status in STATUS.items()}
    assert f"`{ErrorCode.NODE_UNREACHABLE}`" in page
