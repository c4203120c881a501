"""The spool: what is kept outlives its worker, is given to one finder, and never harms the worker."""

import asyncio
import contextlib
import errno
import os
import stat

import msgspec
import pytest
from structlog.testing import capture_logs

from penstock.core.errors import broker_unavailable
from penstock.core.job import JobError, JobSpec
from penstock.core.lifecycle import Claim, Failed, Succeeded
from penstock.core.verdict import settlement
from penstock.spool.folder import FolderSpool, survey
from penstock.spool.records import pack, unpack
from penstock.worker import safe
from penstock.worker.leftovers import Leftovers
from penstock.worker.safe import Safe
from support.wait import eventually

MUCH = 2**20


def outcome(token, result=b'{"a": [1, 2]}'):
    claim = Claim(spec=JobSpec(id=f"j{token}", task="t"), token=token, attempt=1)
    return settlement(claim, Succeeded(msgspec.Raw(result)), 0.5)


def spool(folder, worker="n/1", broker="b", limit=MUCH):
    return FolderSpool(folder / "spool", broker, worker, limit)


def files(folder):
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def found(finder):
    """What a finder gets; it removes all."""
    settlements = []
    for leftover in finder.leftovers():
        settlements += leftover.settlements
        leftover.remove()
    return settlements


def test_a_file_that_is_not_understood_is_put_aside(tmp_path):
    ours = spool(tmp_path)
    ours.keep([outcome(1)])
    ours.close()
    (path,) = (tmp_path / "spool").iterdir()
    path.write_bytes(path.read_bytes() + b'{"state":"of a newer release"}\n')
    assert [each.token for each in found(spool(tmp_path, "n/2"))] == [1]
    assert found(spool(tmp_path, "n/2")) == []
    assert files(tmp_path) == [f"{path.stem}.unreadable"]


@pytest.mark.parametrize("result", [b'{"a": [1, 2]}', b'{\n  "a": "line\\nbreak"\n}', b"null"])
def test_an_outcome_reads_as_it_was_written(result):
    one = outcome(7, result)
    failed = settlement(
        Claim(spec=JobSpec(id="f", task="t"), token=8, attempt=1), Failed(JobError("TASK_ERROR", "m")), 0.5
    )
    (read, other), spoilt = unpack(pack(one) + pack(failed))
    assert spoilt == 0
    assert (read.job_id, read.token, read.verdict) == (one.job_id, 7, one.verdict)
    assert msgspec.json.decode(read.result) == msgspec.json.decode(result)
    assert other == failed


def test_a_torn_last_line_and_lines_of_another_kind_are_left_out():
    data = pack(outcome(1)) + b'{"other":1}\n' + b"\xff\xfe\n" + pack(outcome(2)) + pack(outcome(3))[:-5]
    settlements, spoilt = unpack(data)
    assert [each.token for each in settlements] == [1, 2]
    assert spoilt == 2


def test_a_future_field_is_passed_over():
    line = pack(outcome(1)).replace(b'{"job_id"', b'{"colour":"red","job_id"')
    assert [each.token for each in unpack(line)[0]] == [1]


def test_the_folder_is_not_even_made_until_something_is_kept(tmp_path):
    ours = spool(tmp_path)
    assert found(ours) == []
    ours.clear()
    ours.close()
    assert list(tmp_path.iterdir()) == []


def test_only_the_owner_can_read_it(tmp_path):
    spool(tmp_path).keep([outcome(1)])
    (path,) = (tmp_path / "spool").iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_what_a_living_worker_keeps_is_not_for_others(tmp_path):
    ours, theirs = spool(tmp_path), spool(tmp_path, "n/2")
    ours.keep([outcome(1)])
    assert found(theirs) == []
    ours.keep([outcome(2)])
    ours.close()
    assert [each.token for each in found(theirs)] == [1, 2]
    assert found(theirs) == []
    assert files(tmp_path) == []


def test_what_is_not_removed_is_found_again_and_by_one_at_a_time(tmp_path):
    ours, first, second = (spool(tmp_path, f"n/{n}") for n in (1, 2, 3))
    ours.keep([outcome(1)])
    ours.close()
    with contextlib.closing(first.leftovers()) as finding:
        next(finding)
        assert found(second) == []
    assert len(found(second)) == 1


def test_another_brokers_outcomes_are_left_alone(tmp_path):
    ours = spool(tmp_path, broker="one")
    ours.keep([outcome(1)])
    ours.close()
    assert found(spool(tmp_path, "n/2", broker="other")) == []
    assert survey(tmp_path / "spool", "other") == []
    (seen,) = survey(tmp_path / "spool", "one")
    assert (seen.outcomes, seen.owned) == (1, False)


def test_a_cleared_spool_leaves_no_file_and_can_be_used_again(tmp_path):
    ours = spool(tmp_path)
    ours.keep([outcome(1)])
    ours.clear()
    assert files(tmp_path) == []
    ours.keep([outcome(2)])
    (seen,) = survey(tmp_path / "spool", "b")
    assert (seen.outcomes, seen.owned) == (1, True)


def test_what_has_no_room_is_left_out_and_the_rest_kept(tmp_path):
    small, large = outcome(1), outcome(2, b'"' + b"x" * 5_000 + b'"')
    ours = spool(tmp_path, limit=2_000)
    assert ours.keep([large, small]) == 1
    ours.close()
    assert [each.token for each in found(spool(tmp_path, "n/2"))] == [1]


def test_a_disk_that_fills_up_in_the_middle_of_a_line_does_not_spoil_the_next_one(tmp_path, monkeypatch):
    ours, write = spool(tmp_path), os.write
    ours.keep([outcome(1)])
    room = iter([10])

    def full(file, data):
        if (left := next(room, 0)) == 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(file, data[:left])

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", full)
        with pytest.raises(OSError, match="No space"):
            ours.keep([outcome(2)])
    ours.keep([outcome(3)])
    ours.close()
    assert [each.token for each in found(spool(tmp_path, "n/2"))] == [1, 3]


class Broken:
    """A spool on a disk that fails."""

    def keep(self, _settlements):
        raise OSError(errno.ENOSPC, "No space left on device")

    def clear(self):
        return None

    close = clear


@contextlib.asynccontextmanager
async def guarding(guard):
    running = asyncio.create_task(guard.run())
    yield
    running.cancel()
    await asyncio.wait({running})


async def test_nothing_is_written_while_the_broker_answers_in_time(tmp_path, monkeypatch):
    unsettled = [outcome(1)]
    guard = Safe(spool(tmp_path), lambda: unsettled)
    async with guarding(guard):
        for _ in range(100):
            with guard.watching():
                await asyncio.sleep(0)
    await _closed(guard, unsettled)
    assert list(tmp_path.iterdir()) == []


async def _closed(guard, unsettled):
    unsettled.clear()
    await guard.close()


async def test_what_is_late_is_spooled_with_all_that_comes_after_until_it_is_settled(tmp_path, monkeypatch):
    monkeypatch.setattr(safe, "SPOOL_AFTER_S", 0.01)
    unsettled = [outcome(1)]
    guard = Safe(spool(tmp_path), lambda: unsettled)

    def kept():
        return sum(file.outcomes for file in survey(tmp_path / "spool", "b"))

    async with guarding(guard):
        with guard.watching():
            await eventually(lambda: kept() == 1)
            unsettled.append(outcome(2))
            await eventually(lambda: kept() == 2)
            unsettled.clear()
        await eventually(lambda: files(tmp_path) == [])


async def test_what_is_unsettled_when_the_worker_leaves_is_for_the_next_one(tmp_path):
    unsettled = [outcome(1)]
    await Safe(spool(tmp_path), lambda: unsettled).close()
    assert [each.token for each in found(spool(tmp_path, "n/2"))] == [1]


async def test_a_full_disk_is_said_once_and_harms_nothing(monkeypatch):
    monkeypatch.setattr(safe, "SPOOL_AFTER_S", 0.01)
    guard = Safe(Broken(), lambda: [outcome(1)])
    with capture_logs() as written:
        async with guarding(guard):
            with guard.watching():
                await eventually(lambda: written)
                await asyncio.sleep(safe.LOOK_S * 3)  # time in which it must not repeat itself
                assert len(written) == 1
    assert "No space" in written[0]["error"]


class Taking:
    """A broker that settles, and is away for the first few calls."""

    def __init__(self, away=0):
        self.away = away
        self.settled = []

    async def settle(self, settlements):
        if self.away:
            self.away -= 1
            raise broker_unavailable("away")
        self.settled += [each.token for each in settlements]
        return [True for _ in settlements]


async def test_leftovers_are_settled_in_batches_once(tmp_path):
    ours, broker = spool(tmp_path, limit=MUCH), Taking()
    ours.keep([outcome(n) for n in range(1_201)])
    ours.close()
    finding = Leftovers(broker, spool(tmp_path, "n/2"))
    await finding.settle()
    await finding.settle()
    assert broker.settled == list(range(1_201))


async def test_leftovers_stay_when_the_broker_is_away_again(tmp_path):
    ours, broker = spool(tmp_path), Taking(away=1)
    ours.keep([outcome(1)])
    ours.close()
    finding = Leftovers(broker, spool(tmp_path, "n/2"))
    with pytest.raises(Exception, match="away"):
        await finding.settle()
    await finding.settle()
    assert broker.settled == [1]
