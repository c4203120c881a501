"""`penstock schedules` and jobs for later on the command line, on the broker's own file."""

import json

import pytest
from typer.testing import CliRunner

from penstock.cli.main import app
from support.node import HAZARDOUS

pytestmark = pytest.mark.slow

USAGE, NOT_FOUND = 2, 4


@pytest.fixture
def penstock(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PENSTOCK_TASKS", str(HAZARDOUS))
    monkeypatch.setenv("PENSTOCK_BROKER_URL", "sqlite:///own/penstock.db?synchronous=normal")

    def run(*words, code=0):
        result = CliRunner().invoke(app, list(words))
        assert result.exit_code == code, result.output
        return result.stdout

    return run


def test_a_schedule_from_its_beginning_to_its_end(penstock):
    made = ("add", "s", "nap", "--cron", "0 2 * * *", "--timezone", "Europe/Berlin", "--missed", "skip")
    shown = json.loads(penstock("schedules", *made, "--param", "seconds=2", "--param", "mark=x y", "--json"))
    assert (shown["params"], shown["missed"]) == ({"seconds": 2.0, "mark": "x y", "release": ""}, "skip")
    assert "0 2 * * *" in penstock("schedules", "list")
    assert "Europe/Berlin" in penstock("schedules", "show", "s")
    assert json.loads(penstock("schedules", "pause", "s", "--json"))["paused"] is True
    assert "paused" in penstock("schedules", "list")
    job = json.loads(penstock("schedules", "run", "s", "--json"))
    assert (job["task"], job["params"]["mark"]) == ("nap", "x y")
    assert json.loads(penstock("schedules", "resume", "s", "--json"))["paused"] is False
    assert "removed s" in penstock("schedules", "remove", "s")
    penstock("schedules", "show", "s", code=NOT_FOUND)
    assert json.loads(penstock("schedules", "list", "--json")) == []


def test_a_text_stays_one_whatever_it_looks_like(penstock):
    made = ("add", "s", "nap", "--cron", "@daily", "--param", "seconds=2", "--param", "mark=12345")
    shown = json.loads(penstock("schedules", *made, "--param", 'release="7"', "--json"))
    assert shown["params"] == {"seconds": 2.0, "mark": "12345", "release": "7"}


def test_what_is_wrong_is_said_and_a_definition_can_be_replaced(penstock):
    penstock("schedules", "add", "s", "nap", "--cron", "0 25 * * *", code=USAGE)
    penstock("schedules", "add", "s", "nap", "--cron", "0 2 * * *", "--param", "seconds", code=USAGE)
    penstock("schedules", "add", "s", "nope", "--cron", "0 2 * * *", code=NOT_FOUND)
    for cron in ("0 2 * * *", "0 3 * * *"):
        penstock("schedules", "add", "s", "nap", "--cron", cron, "--replace")
    penstock("schedules", "add", "s", "nap", "--cron", "0 4 * * *", code=1)
    assert "0 3 * * *" in penstock("schedules", "show", "s")


def test_a_job_for_later_and_one_after_it(penstock):
    first = json.loads(penstock("submit", "noop", "--run-at", "2020-01-01T00:00:00Z", "--json"))
    words = ("submit", "noop", "--after", first["id"], "--after-failure", "run", "--json")
    second = json.loads(penstock(*words))
    assert (second["after"], second["waits"]) == ([first["id"]], True)
    penstock("submit", "noop", "--after", "nobody", code=USAGE)
