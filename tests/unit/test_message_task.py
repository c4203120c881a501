"""The task `message` called as a function: what it writes, says, and makes of the environment."""

import logging
import re
from pathlib import Path

import pytest

from penstock import PenstockError, Progress
from penstock.tasks.messages import message
from penstock.tasks.messages.line import read
from penstock.tasks.messages.output import CannotWriteError
from penstock.tasks.messages.task import DEFAULT_PATH

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def path(monkeypatch, tmp_path):
    for name in ("PROCESSING_DELAY_MS", "PENSTOCK_LOG_MESSAGES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OUTPUT_PATH", str(tmp_path / "processed.log"))
    # A tool that another test ran in this process may have switched off every logger there was.
    monkeypatch.setattr(logging.getLogger("penstock.tasks.messages"), "disabled", False)
    return tmp_path / "processed.log"


def test_what_is_answered_stands_in_the_file(path):
    written = message("hello", Progress(job_id="a"))
    assert path.read_text() == f"{written.line}\n"
    assert read(written.line) == (written.written_at, "hello")


def test_a_second_attempt_answers_the_same(path):
    first = message("hello", Progress(job_id="a"))
    assert message("hello", Progress(job_id="a", attempt=2)) == first
    assert len(path.read_text().splitlines()) == 1


def test_without_penstock_every_call_is_a_message(path):
    message("hello", Progress())
    message("hello", Progress())
    assert len(path.read_text().splitlines()) == 2


def said(caplog, text, **progress):
    caplog.clear()
    with caplog.at_level(logging.INFO):
        message(text, Progress(**progress))
    return caplog.messages


def test_it_says_how_long_a_message_is_and_not_what(caplog):
    assert said(caplog, "secret", job_id="a") == [
        "dequeued message: 6 characters, job a",
        "processed message: 6 characters, job a",
    ]
    assert said(caplog, "secret", job_id="a", attempt=2)[1].endswith("(written by an earlier attempt)")
    assert "secret" not in caplog.text


@pytest.mark.parametrize(("switch", "shown"), [("1", True), ("0", False), ("", False), ("yes", False)])
def test_it_says_what_a_message_is_only_if_that_is_switched_on(caplog, monkeypatch, switch, shown):
    monkeypatch.setenv("PENSTOCK_LOG_MESSAGES", switch)
    lines = said(caplog, "secret\nsecond", job_id="a")
    assert [line.partition(": ")[0] for line in lines] == ["dequeued message", "processed message"]
    assert all((r"secret\nsecond" in line) is shown for line in lines), "one line, as in the file"


@pytest.mark.parametrize(("given", "seconds"), [("250", 0.25), ("0", 0.0), ("", 0.0)])
def test_the_delay(monkeypatch, given, seconds):
    slept = []
    monkeypatch.setenv("PROCESSING_DELAY_MS", given)
    monkeypatch.setattr("time.sleep", slept.append)
    message("hello", Progress(job_id="a"))
    assert slept == [seconds]


@pytest.mark.parametrize("given", ["soon", "-1", "1.5", "10s"])
def test_a_delay_that_is_none_is_named_and_nothing_is_written(monkeypatch, path, given):
    monkeypatch.setenv("PROCESSING_DELAY_MS", given)
    with pytest.raises(ValueError, match="PROCESSING_DELAY_MS"):
        message("hello", Progress(job_id="a"))
    assert not path.exists()


def test_a_place_that_cannot_be_written_is_named(monkeypatch, path):
    path.write_text("")
    monkeypatch.setenv("OUTPUT_PATH", str(path / "deep" / "below.log"))
    with pytest.raises(CannotWriteError, match=r"below\.log: Not a directory; OUTPUT_PATH names the file"):
        message("hello", Progress(job_id="a"))


def test_its_declaration():
    assert message.queue == "messages"
    assert message.limits.max_attempts == 11
    assert message.parse({"message": "a"}) == b'{"message":"a"}'
    with pytest.raises(PenstockError, match=r"params\.message"):
        message.parse({"message": ""})


def test_the_guide_names_every_variable_that_the_task_reads(monkeypatch):
    guide = (ROOT / "docs" / "guides" / "message-pipeline.md").read_text()
    source = (ROOT / "src" / "penstock" / "tasks" / "messages" / "task.py").read_text()
    read_there = set(re.findall(r'environ\.get\("(\w+)"', source))
    documented = set(re.findall(r"^\| `(\w+)` \|", guide, re.MULTILINE))
    assert documented == read_there | {"HTTP_ADDR"}
    assert f"| `OUTPUT_PATH` | `{DEFAULT_PATH}` |" in guide
    settings = (ROOT / "docs" / "reference" / "settings.md").read_text()
    assert all(f"| `{name}` |" in settings for name in read_there)
