"""How a child splits a job and merges its parts, with a supervisor that is only played."""

from collections import deque

import pytest

from penstock import task
from penstock.core.attempt import (
    MergeDone,
    MergeStep,
    PartsPage,
    Reply,
    ResultsWanted,
    Run,
    SplitDone,
    SplitStep,
)
from penstock.core.job import JobProgress
from penstock.core.progress import DoNotRetry, JobCancelled
from penstock.executors import steps

MADE = []


@task
def squares(count: int) -> int:
    return -1  # done in one piece


@squares.split
def _(count: int):
    for n in range(count):
        MADE.append(n)
        yield {"count": n}


@squares.merge(block=4)
def _(so_far: int | None, results: list[int]) -> int:
    return (so_far or 0) + sum(results)


@squares.estimate
def _(count: int, partial: int) -> tuple[str, bool]:
    return f"sum {partial}", count == 99 and partial >= 20


@task
def plain(count: int) -> int:
    return count


class Player:
    """Plays the supervisor: keeps parts, and gives each one's number as its result."""

    def __init__(self, size=1):
        self.asked = []
        self.kept = []
        self.size = size
        self.most_unanswered = 0
        self._replies = deque()

    def ask(self, request):
        self.asked.append(request)
        match request:
            case PartsPage(params=params):
                self.kept += params
                self._replies.append(Reply(request.token))
            case ResultsWanted(first=first, count=count):
                results = [b" " * (self.size - 1) + b"%d" % n for n in range(first, first + count)]
                self._replies.append(Reply(request.token, tuple(results)))
        self.most_unanswered = max(self.most_unanswered, len(self._replies))

    def reply(self):
        return self._replies.popleft()

    @property
    def open(self):
        return len(self._replies)


def run(count, step=None, token=7):
    return Run("job", token, 1, "squares", b'{"count":%d}' % count, step=step or SplitStep())


def split(count, player=None, of=squares):
    return steps.split(of, run(count), player or Player(), lambda: b"whole")


def merge(step, player=None, count=5):
    notes = []
    answer = steps.merge(squares, run(count, step), step, player or Player(), notes.append)
    return answer, notes


def step(ready, total, merged=0, partial=None, block=4):
    return MergeStep(partial, merged, ready, total, block)


def test_parts_are_handed_out_in_pages_and_every_page_is_heard_of():
    player = Player()
    assert split(1_203, player) == SplitDone(7, 1_203)
    assert [(each.first, len(each.params)) for each in player.asked] == [(0, 500), (500, 500), (1_000, 203)]
    assert player.kept[0] == b'{"count":0}'
    assert player.open == 0


def test_pages_are_made_as_they_are_taken():
    MADE.clear()

    class Stopped(Player):
        def reply(self):
            raise JobCancelled

    with pytest.raises(JobCancelled):
        split(100_000, Stopped())
    assert len(MADE) <= 2 * steps.PAGE_PARTS + 2


def test_large_parts_make_small_pages(monkeypatch):
    monkeypatch.setattr(steps, "PAGE_BYTES", 100)
    player = Player()
    split(100, player)
    assert max(len(each.params) for each in player.asked) <= 10


@pytest.mark.parametrize("count", [0, 1])
def test_what_makes_one_part_is_run_whole(count):
    player = Player()
    assert split(count, player) == b"whole"
    assert player.asked == []


def test_a_task_that_has_no_parts_is_run_whole():
    assert split(100, of=plain) == b"whole"


def test_whole_blocks_are_folded_in_order_and_no_others():
    answer, notes = merge(step(ready=11, total=20))
    assert answer == MergeDone(7, b"28", 8, JobProgress(0.4, "sum 28 after 8 of 20 parts"))
    assert [note.message for note in notes] == ["sum 6 after 4 of 20 parts", "sum 28 after 8 of 20 parts"]


def test_merging_goes_on_where_it_stopped():
    answer, _ = merge(step(ready=16, total=20, merged=8, partial=b"28"))
    assert (answer.partial, answer.upto) == (b"120", 16)


def test_the_last_block_may_be_short_and_ends_it():
    answer, _ = merge(step(ready=18, total=18, merged=16, partial=b"120"))
    assert answer == b"153"


def test_merging_stops_where_the_estimate_will_do():
    answer, _ = merge(step(ready=16, total=200), count=99)
    assert answer == b"28"


def test_the_block_is_the_jobs_and_not_this_versions():
    answer, _ = merge(step(ready=11, total=20, block=10))
    assert answer.upto == 10


def test_results_are_fetched_once_each_in_growing_pages():
    player = Player()
    assert merge(step(ready=5_000, total=5_000), player)[0] == b"%d" % sum(range(5_000))
    counts = [each.count for each in player.asked]
    assert sum(counts) == 5_000
    assert counts[0] == steps.FIRST_RESULTS
    assert max(counts) == steps.PAGE_RESULTS
    assert player.most_unanswered <= 2


def test_large_results_are_fetched_in_small_pages(monkeypatch):
    monkeypatch.setattr(steps, "PAGE_BYTES", 1_000)
    player = Player(size=300)
    merge(step(ready=100, total=100), player)
    assert all(each.count <= 3 for each in player.asked[1:])


def test_a_version_without_parts_cannot_merge():
    wanted = step(ready=4, total=4)
    with pytest.raises(DoNotRetry, match="plain is not done in parts"):
        steps.merge(plain, run(4, wanted), wanted, Player(), print)
