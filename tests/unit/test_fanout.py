"""What a task that is done in parts declares, what is refused, and how its results are folded."""

# ruff: noqa: ARG005 - what a function takes is what is read here

import pytest
from pydantic import BaseModel

from penstock import DoNotRetry, Progress, task
from penstock.core.catalog import Catalog
from penstock.core.errors import PenstockError


class Span(BaseModel):
    first: int
    end: int


def total(*, block=16):
    """A task that adds numbers up, one by one in parts of ten."""

    @task
    def total(span: Span) -> int:
        return sum(range(span.first, span.end))

    @total.split
    def _(span: Span):
        for first in range(span.first, span.end, 10):
            yield Span(first=first, end=min(first + 10, span.end))

    @total.merge(block=block)
    def _(so_far: int | None, results: list[int]) -> int:
        return (so_far or 0) + sum(results)

    return total


def trace(*, block=2, enough=1_000):
    """A task whose result tells how it was folded."""

    @task
    def trace(count: int, progress: Progress) -> str:
        return trace.in_order(count, progress)

    @trace.split
    def _(count: int):
        return ({"n": n} for n in range(count))

    @trace.part
    def _(n: int, progress: Progress) -> int:
        progress.update(0.5)
        return n

    @trace.merge(block=block, failed="skip")
    def _(so_far: list[str] | None, results: list[int | None]) -> list[str]:
        return [*(so_far or []), "+".join(map(str, results))]

    @trace.estimate
    def _(count: int, partial: list[str]) -> tuple[str, bool]:
        return f"{len(partial)} of {count}", len(partial) >= enough

    @trace.finish
    def _(count: int, partial: list[str]) -> str:
        return f"{count}: {' '.join(partial)}"

    return trace


def test_split_and_merge_are_enough():
    summed = total()
    Catalog([summed])
    span = Span(first=0, end=95)
    assert summed(span) == summed.in_order(span) == sum(range(95))
    parts = [summed.fanout.write_part(part) for part in summed.fanout.parts(span)]
    assert len(parts) == 10
    assert [summed.run_part(part, None) for part in parts][:2] == [b"45", b"145"]


def test_results_are_folded_in_blocks_and_finished():
    assert trace()(5, Progress()) == "5: 0+1 2+3 4"
    assert trace(block=3)(5, Progress()) == "5: 0+1+2 3+4"
    assert trace()(0, Progress()) == "0: "


def test_no_more_is_computed_once_the_estimate_will_do():
    reports = []
    assert trace(enough=2)(9, Progress(reports.append)) == "9: 0+1 2+3"
    assert len(reports) == 4


def test_a_folding_goes_on_from_what_was_written():
    fanout = trace().fanout
    params = trace().read(b'{"count":6}')
    first = fanout.folding(params)
    first.add([0, None])
    then = fanout.folding(params, fanout.write_partial(first.partial), first.merged)
    then.add([2, 3])
    assert (then.merged, then.said, then.reached) == (4, "2 of 6", False)
    assert then.result() == "6: 0+None 2+3"


def test_the_policy_and_the_block_are_kept():
    assert (trace().fanout.block, trace().fanout.skip_failed) == (2, True)
    assert (total().fanout.block, total().fanout.skip_failed) == (16, False)


def test_an_estimate_may_be_a_mere_text():
    summed = total()
    summed.estimate(lambda partial: f"{partial} at least")
    folding = summed.fanout.folding(Span(first=0, end=20))
    folding.add([1])
    assert (folding.said, folding.reached) == ("1 at least", False)


def test_a_part_that_is_none_names_the_field():
    summed = total()
    summed.fanout._functions["split"] = lambda _: [{"first": 0}]
    with pytest.raises(PenstockError, match=r"params.end"):
        list(summed.fanout.parts(Span(first=0, end=1)))


def test_a_part_of_another_version_is_not_retried():
    with pytest.raises(DoNotRetry, match="version of total"):
        total().run_part(b'{"first":"x"}', None)


def declared():
    @task
    def half(span: Span) -> int:
        return 0

    return half


@pytest.mark.parametrize(
    ("what", "function", "says"),
    [
        ("split", lambda other: [], "takes no 'other', only span"),
        ("merge", lambda span, results: 0, "must take so_far and results"),
        ("merge", lambda so_far, results: 0, "needs a type annotation"),
        ("finish", lambda results: 0, "takes no 'results', only partial, span"),
        ("estimate", lambda so_far: "", "takes no 'so_far'"),
        ("part", lambda span: 0, "needs a type annotation"),
    ],
)
def test_a_function_that_cannot_be_called_is_refused_at_once(what, function, says):
    with pytest.raises(TypeError, match=says):
        getattr(declared(), what)(function)


def test_a_second_function_for_the_same_is_refused():
    with pytest.raises(TypeError, match="two functions for split"):
        total().split(lambda span: [])


@pytest.mark.parametrize("wrong", [{"block": 0}, {"block": 1_001}, {"failed": "ignore"}], ids=str)
def test_impossible_folding_is_refused(wrong):
    with pytest.raises(ValueError, match=r"(block|failed) must be"):
        declared().merge(**wrong)


def test_what_is_missing_is_said_when_tasks_are_collected():
    half = declared()
    half.split(lambda span: [])
    with pytest.raises(PenstockError, match="half: done in parts, it needs a function for merge"):
        Catalog([half])

    @half.merge
    def _(so_far: list[int] | None, results: list[int]) -> list[int]:
        return results

    with pytest.raises(PenstockError, match="needs a function for finish"):
        Catalog([half])
    half.finish(lambda partial: 0)
    Catalog([half])
