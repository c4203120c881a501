from hypothesis import given
from hypothesis import strategies as st

from penstock.core.job import JobProgress, JobSpec, Limits
from penstock.core.lifecycle import Claim
from penstock.worker.holding import MAX_LINES, Holding


def holding(**limits):
    spec = JobSpec(id="j1", task="t", limits=Limits(**limits))
    return Holding(Claim(spec=spec, token=7, attempt=2), 0.0)


def test_the_child_is_told_what_it_needs():
    run = holding(timeout_ms=1_500, threads=2).run()
    assert (run.job_id, run.token, run.attempt, run.task) == ("j1", 7, 2, "t")
    assert (run.params, run.timeout_ms, run.threads) == (b"{}", 1_500, 2)


def test_only_the_newest_progress_is_reported_and_only_once():
    held = holding()
    held.note(JobProgress(0.1, "first"))
    held.note(JobProgress(0.2, "second"))
    report = held.report()
    assert report.progress == JobProgress(0.2, "second")
    held.reported(report)
    assert held.report().progress is None


def test_what_comes_while_a_report_is_on_its_way_is_kept():
    held = holding()
    held.note(JobProgress(0.1))
    held.add_line("one")
    report = held.report()
    held.note(JobProgress(0.2))
    held.add_line("two")
    held.reported(report)
    assert held.report().progress == JobProgress(0.2)
    assert held.report().lines == ("two",)


def test_equal_lines_are_not_taken_for_one_another():
    held = holding()
    held.add_line(".")
    report = held.report()
    held.add_line(".")
    held.reported(report)
    assert held.report().lines == (".",)


def test_a_flood_between_a_report_and_its_arrival_loses_only_its_beginning():
    held = holding()
    for number in range(40):
        held.add_line(f"early {number}")
    report = held.report()
    for number in range(30):
        held.add_line(f"late {number}")
    held.reported(report)
    assert held.report().lines == tuple(f"late {number}" for number in range(30))


def test_a_report_that_did_not_arrive_is_made_again():
    held = holding()
    held.add_line("one")
    assert held.report() == held.report()


def test_a_flood_keeps_its_end():
    held = holding()
    for number in range(MAX_LINES * 3):
        held.add_line(str(number))
    assert held.report().lines == tuple(map(str, range(MAX_LINES * 2, MAX_LINES * 3)))


@given(st.lists(st.sampled_from(["line", "report", "arrived", "lost"]), max_size=300))
def test_no_line_is_published_twice_and_only_a_flood_loses_any(script):
    """Reports arrive or get lost while lines keep coming."""
    held, said, published, on_its_way = holding(), [], [], None
    for move in script:
        if move == "line":
            said.append(str(len(said)))
            held.add_line(said[-1])
        elif move == "report":
            on_its_way = held.report()
        elif on_its_way is not None:
            if move == "arrived":
                published += on_its_way.lines
                held.reported(on_its_way)
            on_its_way = None
    published += held.report().lines
    assert len(published) == len(set(published))
    assert published == sorted(published, key=int)
    if len(said) <= MAX_LINES:
        assert published == said
