"""The file of messages: each job's line once, whoever dies wherever, however often it is tried."""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.tasks.messages.journal import Journal
from penstock.tasks.messages.line import read, written
from penstock.tasks.messages.output import CannotWriteError, Output

WRITER = Path(__file__).parents[1] / "support" / "dying_writer.py"
LONGEST_WAY = 400


class Writer:
    """Processes that append, and die where they are told to."""

    def __init__(self):
        self._process = subprocess.Popen(
            [sys.executable, str(WRITER)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def append(self, path, job, die=None, message=None):
        """The line and whether it is new; None if the process died."""
        asked = {"path": str(path), "job": job, "message": message or text_of(job), "die": die}
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def end(self):
        self._process.stdin.close()
        assert self._process.wait(20) == 0
        self._process.stdout.close()


@pytest.fixture(scope="module")
def writer():
    started = Writer()
    yield started
    started.end()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "processed.log"


def text_of(job):
    return f"message ✓ of {job}\nin two lines"


def messages(path):
    """The message of every line; each is whole."""
    text = path.read_text()
    assert text.endswith("\n") or not text
    return [read(line)[1] for line in text.splitlines()]


def test_a_line_for_each_job_and_what_is_answered(path):
    output = Output(path)
    entries = [output.append(str(n), f"text {n}") for n in range(3)]
    assert path.read_text() == "".join(f"{entry.text}\n" for entry in entries)
    assert all(entry.text == written(entry.at, f"text {n}") for n, entry in enumerate(entries))
    assert [entry.at for entry in entries] == sorted(entry.at for entry in entries)


def test_a_job_that_is_attempted_again_gets_the_same_line(path):
    first = Output(path).append("a", "text")
    again = Output(path).append("a", "text")
    assert (first.new, again.new) == (True, False)
    assert (first.at, first.text) == (again.at, again.text)
    assert messages(path) == ["text"]


def test_equal_messages_of_different_jobs_are_different(path):
    output = Output(path)
    for job in "abc":
        output.append(job, "same")
    assert messages(path) == ["same"] * 3


def test_the_promise_and_then_the_line_are_on_the_disk(path, monkeypatch):
    """What survives a power cut follows from this order; the name of a new file must survive it too."""
    output, steps = Output(path), []
    output.append("before", "text")
    path.unlink()
    output._journal._database.set_trace_callback(steps.append)
    for name in ("write", "fdatasync", "fsync"):
        call = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *given, n=name, f=call: (steps.append(n), f(*given))[1])
    for job in "ab":
        output.append(job, "text")
    shown = [step.split()[0] if step[:6] != "PRAGMA" else step for step in steps]
    promised = ["PRAGMA synchronous = full", "BEGIN", "INSERT", "INSERT", "DELETE", "COMMIT"]
    kept = ["PRAGMA synchronous = normal", "BEGIN", "DELETE", "COMMIT"]
    first = ["SELECT", "SELECT", *promised, "write", "fdatasync", "fsync", *kept]
    assert shown == [*first, *(step for step in first if step != "fsync")]


def test_death_at_every_line_of_the_code_loses_and_doubles_nothing(writer, tmp_path):
    """Once with the job itself coming next, once with another one, which finds what was left."""
    finished = 0
    for number in range(1, LONGEST_WAY):
        path = tmp_path / str(number) / "processed.log"
        answer = writer.append(path, "before")
        assert answer[1]
        finished = writer.append(path, "dies", ["line", number])
        if finished:
            break
        jobs = ["dies", "other", "dies"] if number % 2 else ["other", "dies", "other"]
        for job in jobs:
            assert writer.append(path, job)
        expected = [text_of("before"), *(text_of(job) for job in jobs[:2])]
        assert sorted(messages(path)) == sorted(expected), f"died before line {number}"
    assert finished, "the whole way was gone"
    assert number > 50, "each of its lines was seen"


def test_death_at_every_byte_of_a_line(writer, tmp_path):
    length = len(f"{written('2026-01-31T12:00:09.736123456Z', text_of('dies'))}\n".encode())
    for number in range(length + 1):
        path = tmp_path / str(number) / "processed.log"
        writer.append(path, "before")
        assert writer.append(path, "dies", ["bytes", number]) is None
        line, new = writer.append(path, "dies")
        assert not new, "it was promised"
        assert messages(path) == [text_of("before"), text_of("dies")], f"died after {number} bytes"
        assert path.read_text().endswith(f"{line}\n")


deaths = st.one_of(
    st.none(), st.tuples(st.just("line"), st.integers(1, 90)), st.tuples(st.just("bytes"), st.integers(0, 80))
)


@given(steps=st.lists(st.tuples(st.sampled_from("abc"), deaths), max_size=12))
@settings(max_examples=40, deadline=None)
def test_any_order_of_jobs_attempts_and_deaths(writer, steps):
    folder = Path(tempfile.mkdtemp())
    try:
        path = folder / "processed.log"
        lines = {}
        for job, die in [*steps, *((job, None) for job in "abc")]:
            if answer := writer.append(path, job, die):
                assert lines.setdefault(job, answer[0]) == answer[0], "every attempt gets the same answer"
        assert Counter(path.read_text().splitlines()) == Counter(lines.values())
        assert sorted(messages(path)) == sorted(text_of(job) for job in "abc")
    finally:
        shutil.rmtree(folder)


def test_many_processes_at_once(path):
    """Each appends jobs of its own and some that others append too."""
    program = (
        "import sys; from pathlib import Path; from penstock.tasks.messages.output import Output\n"
        "output = Output(Path(sys.argv[1]))\n"
        "for n in range(100): output.append(f'{sys.argv[2]}-{n}', f'{sys.argv[2]} {n}')\n"
        "for n in range(100): output.append(f'shared-{n}', f'shared {n}')\n"
    )
    started = [subprocess.Popen([sys.executable, "-c", program, str(path), name]) for name in "abcd"]
    assert [each.wait(60) for each in started] == [0] * 4
    names = [*"abcd", "shared"]
    assert sorted(messages(path)) == sorted(f"{name} {n}" for name in names for n in range(100))


def test_a_long_message(path):
    Output(path).append("a", "é\n" * 2**19)
    assert messages(path) == ["é\n" * 2**19]


def test_a_file_that_was_there_is_continued_on_a_line_of_its_own(path):
    path.write_text("somebody's text without an end")
    Output(path).append("a", "text")
    first, second = path.read_text().splitlines()
    assert first == "somebody's text without an end"
    assert read(second)[1] == "text"


def test_a_rotated_file_is_begun_anew_and_nothing_comes_twice(path):
    output = Output(path)
    output.append("a", "first")
    path.rename(path.with_name("processed.log.1"))
    output.append("b", "second")
    assert not output.append("a", "first").new
    assert messages(path) == ["second"]
    path.write_text("")  # as copytruncate does
    output.append("c", "third")
    assert messages(path) == ["third"]


@pytest.mark.parametrize("rotated", [False, True])
def test_a_promise_is_kept_in_a_file_that_was_rotated_meanwhile(writer, path, rotated):
    writer.append(path, "before")
    assert writer.append(path, "dies", ["bytes", 0]) is None
    if rotated:
        path.rename(path.with_name("processed.log.1"))
    else:
        path.write_text("")
    assert not writer.append(path, "dies")[1]
    assert messages(path) == [text_of("dies")]


def test_a_folder_is_made_and_one_that_cannot_be_is_named(tmp_path):
    Output(tmp_path / "new" / "deep" / "processed.log").append("a", "text")
    assert messages(tmp_path / "new" / "deep" / "processed.log") == ["text"]
    wrong = tmp_path / "new" / "deep" / "processed.log" / "below" / "file.log"
    with pytest.raises(CannotWriteError, match=r"cannot write to .*file\.log: Not a directory; OUTPUT_PATH"):
        Output(wrong).append("a", "text")


@pytest.fixture
def nobody():
    """A user who may not write everywhere, as root may."""
    me = os.geteuid()
    if me == 0:
        os.seteuid(65_534)
    yield
    os.seteuid(me)


def test_a_folder_without_permission_is_named(tmp_path, nobody):
    if os.geteuid() != 65_534:
        tmp_path.chmod(0o500)
    with pytest.raises(CannotWriteError, match=r"cannot write to .*processed\.log: Permission denied"):
        Output(tmp_path / "processed.log").append("a", "text")


def test_a_full_disk_is_told_and_the_line_comes_later(path, monkeypatch):
    output, write = Output(path), os.write
    output.append("a", "first")

    def full(file, data):
        monkeypatch.setattr(os, "write", no_room)
        return write(file, bytes(data)[:7])

    def no_room(file, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(CannotWriteError, match="No space left on device"):
        output.append("b", "second")
    with pytest.raises(CannotWriteError, match="No space left on device"):
        output.append("c", "third")
    monkeypatch.undo()
    output.append("c", "third")
    assert not output.append("b", "second").new
    assert messages(path) == ["first", "second", "third"]


def test_a_damaged_journal_is_told(path):
    path.with_name("processed.log.journal").write_text("this is no database" * 100)
    with pytest.raises(CannotWriteError, match="not a database"):
        Output(path).append("a", "text")
    assert not path.exists() or not path.read_text(), "rather nothing than something twice"


def test_jobs_of_long_ago_are_forgotten_and_newer_ones_are_not(path):
    output = Output(path)
    output.append("old", "text")
    output.append("new", "text")
    journal = path.with_name("processed.log.journal")
    with sqlite3.connect(journal) as database:
        database.execute("UPDATE written SET at = '2020-01-01T00:00:00.000000000Z' WHERE job = 'old'")
    database.close()
    output.append("another", "text")
    opened = Journal(journal)
    assert opened.when("old") is None
    assert opened.when("new") is not None
    assert opened.when("another") is not None
    opened._database.close()
