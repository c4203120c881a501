"""Tasks are found by looking at modules; nothing registers itself."""

import sys
import textwrap

import pytest

from penstock.core.catalog import Catalog, load
from penstock.core.errors import ErrorCode, PenstockError
from penstock.core.task import task
from penstock.tasks.credit import credit_loss, lifetime_ecl


@task
def one() -> int:
    return 1


@task(name="other")
def two() -> int:
    return 2


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Writes a module of the test's own; import path and imported modules are put back."""
    load([])  # what cannot be imported twice stays imported
    monkeypatch.setattr(sys, "path", sys.path.copy())
    monkeypatch.setattr(sys, "modules", sys.modules.copy())
    monkeypatch.chdir(tmp_path)

    def write(name, text):
        path = tmp_path / f"{name}.py"
        path.write_text(textwrap.dedent(text))
        return path

    return write


MODELS = """
    from penstock import task

    @task
    def mine(n: int = 1) -> int:
        return n

    @task(name="renamed")
    def _hidden() -> int:
        return 2

    same = mine
    NOT_A_TASK = 7
"""


def refusal(modules):
    with pytest.raises(PenstockError) as refused:
        load(modules)
    return refused.value


def test_catalog_is_a_mapping_in_the_order_of_names():
    catalog = Catalog([two, one])
    assert (list(catalog), len(catalog)) == (["one", "other"], 2)
    assert catalog["other"] is two
    assert catalog.find("one") is one
    assert "two" not in catalog


def test_unknown_task_is_told_with_the_names_there_are():
    with pytest.raises(PenstockError) as refused:
        Catalog([one, two]).find("three")
    assert (refused.value.code, refused.value.details) == (ErrorCode.TASK_UNKNOWN, {"task": "three"})
    assert "one, other" in refused.value.message
    with pytest.raises(PenstockError, match="none"):
        Catalog([]).find("three")


def test_one_task_under_two_names_of_a_module_is_one_task():
    assert len(Catalog([one, one])) == 1


def test_two_tasks_of_one_name_are_a_conflict():
    @task(name="one")
    def impostor() -> int:
        return 3

    with pytest.raises(PenstockError, match="'one'") as refused:
        Catalog([one, impostor])
    assert refused.value.code is ErrorCode.CONFLICT


def test_ready_made_tasks_are_always_there():
    catalog = load([])
    assert catalog["credit_loss"] is credit_loss
    assert catalog["lifetime_ecl"] is lifetime_ecl
    assert {
        "add",
        "european_option",
        "optimal_portfolio",
        "portfolio_var",
        "stress_test",
        "habitat_allocation",
    } <= set(catalog)


@pytest.mark.parametrize("form", ["file", "absolute file", "name"])
def test_tasks_of_a_module(module, form):
    path = module("catalog_models", MODELS)
    wanted = {"file": path.name, "absolute file": str(path), "name": "catalog_models"}[form]
    catalog = load([wanted])
    assert {"mine", "renamed"} <= set(catalog)
    assert catalog["mine"].function.__module__ == "catalog_models"


def test_module_may_import_its_neighbour(module):
    module("catalog_neighbour", "NAME = 'neighbourly'")
    path = module(
        "catalog_importing",
        """
        from catalog_neighbour import NAME
        from penstock import task

        @task(name=NAME)
        def f() -> int:
            return 1
        """,
    )
    assert "neighbourly" in load([str(path)])


def test_same_module_twice_is_no_conflict(module):
    path = module("catalog_twice", MODELS)
    assert "mine" in load([str(path), "catalog_twice"])


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("import no_such_library_at_all", "no_such_library_at_all"),
        ("1 / 0", "ZeroDivisionError"),
        ("def broken(:", "SyntaxError"),
        ("from penstock import task\n@task\ndef f(x) -> int: ...", "'x' needs a type annotation"),
    ],
)
def test_module_that_cannot_be_imported_is_named_with_the_reason(module, text, reason):
    name = f"catalog_broken_{abs(hash(text))}"
    path = module(name, text)
    error = refusal([str(path)])
    assert error.code is ErrorCode.INVALID_REQUEST
    assert name in error.message
    assert reason in error.message


@pytest.mark.parametrize("name", ["no_such_module_at_all", "no_such_file_at_all.py", "./nowhere/models.py"])
def test_module_that_is_not_there_is_named(module, name):
    error = refusal([name])
    assert error.code is ErrorCode.INVALID_REQUEST
    assert name in error.message


def test_task_of_the_users_that_is_named_like_a_ready_made_one_is_a_conflict(module):
    path = module(
        "catalog_clash",
        """
        from penstock import task

        @task
        def credit_loss() -> int:
            return 1
        """,
    )
    error = refusal([str(path)])
    assert error.code is ErrorCode.CONFLICT
    assert "catalog_clash" in error.message


def test_an_error_of_a_module_is_told_with_its_line(module):
    module("beside", "import json\n\njson.loads('[')\n")
    path = module("broken", "import math\n\nimport beside\n")
    with pytest.raises(PenstockError, match=r"JSONDecodeError: .* \(beside.py, line 3\)$"):
        load([str(path)])


def test_a_file_that_is_not_there_is_named(module):
    with pytest.raises(PenstockError, match=r"^there is no file 'nowhere.py' with tasks$"):
        load(["nowhere.py"])
