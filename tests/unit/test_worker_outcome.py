import signal

import msgspec
import pytest

from penstock.core.attempt import Done, Fault
from penstock.core.errors import FailureCode
from penstock.core.job import JobError
from penstock.core.lifecycle import Cancelled, Failed, HandedBack, Lost, Succeeded
from penstock.worker.outcome import died, said
from penstock.worker_ports import Exit

MIB = 2**20


def test_what_a_child_says_is_taken_as_it_is():
    assert said(Done(1, b'{"a":1}')) == Succeeded(msgspec.Raw(b'{"a":1}'))
    assert said(Fault(1, FailureCode.CANCELLED, "cancelled", "")) == Cancelled()
    fault = Fault(1, FailureCode.TASK_ERROR, "ValueError: no", "Traceback", permanent=True)
    assert said(fault) == Failed(JobError("TASK_ERROR", "ValueError: no", "Traceback"), permanent=True)


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (-signal.SIGSEGV, "SIGSEGV (Segmentation fault)"),
        (-signal.SIGKILL, "SIGKILL (Killed)"),
        (-40, "signal 40"),
        (0, "the process exited with status 0 before the task returned"),
        (3, "the process exited with status 3 before the task returned"),
    ],
)
def test_a_death_is_a_crash_with_its_cause(status, message):
    outcome = died(Exit(status=status, max_rss=10 * MIB), 100 * MIB)
    assert outcome == Failed(JobError(FailureCode.CRASHED, message), crashed=True)


def test_a_kill_beyond_the_memory_limit_is_out_of_memory():
    outcome = died(Exit(status=-signal.SIGKILL, max_rss=150 * MIB), 100 * MIB)
    assert outcome == Failed(JobError(FailureCode.OUT_OF_MEMORY, "150 MiB > limit 100 MiB"), crashed=True)


def test_another_signal_beyond_the_memory_limit_is_a_crash():
    outcome = died(Exit(status=-signal.SIGSEGV, max_rss=150 * MIB), 100 * MIB)
    assert outcome.error.code == FailureCode.CRASHED


def test_a_child_that_vanished_with_its_zygote_is_not_charged():
    assert isinstance(died(Exit(status=None), 100 * MIB), Lost)


def test_a_task_that_is_unknown_here_is_handed_back_and_not_failed():
    answer = Fault(1, "TASK_UNKNOWN", "there is no task 'new'; known tasks: add", "")
    assert said(answer) == HandedBack(JobError("TASK_UNKNOWN", answer.message))
