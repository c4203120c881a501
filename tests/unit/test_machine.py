"""The share of the machine that control groups leave, read from files laid out as the kernel does."""

import os

import psutil
import pytest

from penstock import machine

ALL = len(os.sched_getaffinity(0))


@pytest.fixture
def lay(monkeypatch, tmp_path):
    """Lays out the groups that this process seems to be in."""

    def lay_out(own, files):
        own_groups = tmp_path / "own"
        own_groups.write_text(own)
        for name, text in files.items():
            path = tmp_path / "cgroup" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text + "\n")
        monkeypatch.setattr(machine, "CGROUPS", tmp_path / "cgroup")
        monkeypatch.setattr(machine, "OWN_GROUPS", own_groups)
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(8))

    return lay_out


@pytest.mark.parametrize(
    ("told", "cpus"),
    [
        ("max 100000", 8),
        ("200000 100000", 2),
        ("150000 100000", 2),
        ("10000 100000", 1),
        ("900000 100000", 8),
    ],
)
def test_a_share_of_time_is_rounded_up_to_cpus(lay, told, cpus):
    lay("0::/\n", {"cpu.max": told})
    assert machine.available_cpus() == cpus


def older(quota):
    return {"cpu/cpu.cfs_quota_us": quota, "cpu/cpu.cfs_period_us": "100000"}


@pytest.mark.parametrize(("quota", "cpus"), [("-1", 8), ("250000", 3), ("50000", 1)])
def test_the_older_groups_are_read_too(lay, quota, cpus):
    lay("4:memory:/\n3:cpu,cpuacct:/\n", older(quota))
    assert machine.available_cpus() == cpus


def test_the_smallest_share_of_all_that_a_group_is_in_counts(lay):
    lay("0::/a.slice/b.service\n", {"a.slice/cpu.max": "300000 100000"})
    assert machine.available_cpus() == 3
    lay("0::/a.slice/b.service\n", {"a.slice/b.service/cpu.max": "200000 100000"})
    assert machine.available_cpus() == 2


def test_a_group_that_a_container_does_not_see_is_its_outermost(lay):
    lay("3:cpu:/docker/4f\n", older("400000"))
    assert machine.available_cpus() == 4


def test_without_groups_it_is_what_the_process_may_run_on(monkeypatch, tmp_path):
    monkeypatch.setattr(machine, "OWN_GROUPS", tmp_path / "none")
    assert machine.available_cpus() == ALL
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        assert machine.available_cpus() == 1
    finally:
        os.sched_setaffinity(0, before)


def test_memory_is_what_the_tightest_group_leaves(lay):
    lay("0::/\n", {"memory.max": "max"})
    assert machine.available_memory() == psutil.virtual_memory().total
    lay("0::/inner\n", {"memory.max": str(2**30), "inner/memory.max": str(2**29)})
    assert machine.available_memory() == 2**29
    lay("4:memory:/inner\n", {"memory/memory.limit_in_bytes": str(2**28)})
    assert machine.available_memory() == 2**28
