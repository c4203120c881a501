"""The cache and the depth limits from the command line, on a broker of its own without a node."""

import json

import pytest
from typer.testing import CliRunner

from penstock.cli.main import app

pytestmark = pytest.mark.slow

LOSS = ("submit", "credit_loss", "--load", "1000")


@pytest.fixture
def penstock(monkeypatch, tmp_path):
    """``penstock("cache", "stats")``: the exit code and what was printed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PENSTOCK_BROKER_URL", "sqlite:///own/penstock.db?synchronous=normal")

    def run(*words):
        result = CliRunner().invoke(app, [str(word) for word in words])
        assert isinstance(result.exception, SystemExit | None), result.exception
        return result.exit_code, result.stdout + result.stderr

    return run


@pytest.fixture
def told(penstock):
    """The JSON that a command prints which goes well."""

    def run(*words):
        code, out = penstock(*words, "--json")
        assert code == 0, out
        return json.loads(out)

    return run


def test_equal_submissions_share_a_job_unless_several_runs_are_asked_for(penstock, told):
    first, second = told(*LOSS), told(*LOSS)
    assert (second["id"], second["joined"], second["waiters"]) == (first["id"], True, 2)
    assert penstock(*LOSS)[1].split()[-1] == "joined"
    runs = told(*LOSS, "--count", 3)
    assert (len({job["id"] for job in runs}), {job["joined"] for job in runs}) == (3, {False})
    shared = told(*LOSS, "--count", 3, "--cache", "use")
    assert {job["id"] for job in shared} == {first["id"]}
    assert told(*LOSS, "--cache", "bypass")["joined"] is False
    assert penstock(*LOSS, "--cache", "perhaps")[0] == 2


def test_a_shared_job_is_left_or_stopped_by_force(told):
    job = told(*LOSS, "--count", 3, "--cache", "use")[0]
    (left,) = told("cancel", job["id"])
    assert (left["state"], left["waiters"]) == ("queued", 2)
    (stopped,) = told("cancel", job["id"], "--force")
    assert stopped["state"] == "cancelled"


def test_what_the_cache_spared_and_how_it_forgets(penstock, told):
    job = told(*LOSS, "--count", 2, "--cache", "use")[0]
    figures = told("cache", "stats")
    assert (figures["misses"], figures["joined"], figures["hits"]) == (1, 1, 0)
    assert "hit rate" in penstock("cache", "stats")[1]
    assert told("cache", "remove", job["cache_key"]) == {"removed": 0}
    assert told(*LOSS)["id"] != job["id"]
    assert penstock("cache", "clear") == (0, "answers forgotten: 0\n")
    assert penstock("cache", "remove", "no-key")[0] == 2


def test_a_queue_is_given_a_limit(penstock, told):
    assert told("queues", "limit", "night", 1) == {"name": "night", "max_depth": 1}
    told("submit", "credit_loss", "--load", "1000", "--queue", "night")
    code, out = penstock("submit", "credit_loss", "--load", "2000", "--queue", "night")
    assert (code, "queue 'night' is full: 1 jobs wait, of at most 1" in out) == (3, True)
    (queue,) = told("queues")
    assert (queue["max_depth"], queue["queued"], queue["drain_per_s"]) == (1, 1, 0)
    assert "limit" in penstock("queues")[1]
    assert told("queues", "limit", "night", "default")["max_depth"] is None
    assert told("queues")[0]["max_depth"] == 100_000
    assert penstock("queues", "limit", "night", "many")[0] == 2
