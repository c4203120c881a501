"""History takes a small share of a busy machine, most of an idle one, and hurries before it is too late."""

from types import SimpleNamespace

import pytest

from penstock.service import pace


@pytest.mark.parametrize(
    ("idle", "urgent", "share"), [(0.0, False, 0.08), (90.0, False, 0.77), (0.0, True, 0.77)]
)
def test_share_of_a_cpu(monkeypatch, idle, urgent, share):
    monkeypatch.setattr(pace.psutil, "cpu_times_percent", lambda: SimpleNamespace(idle=idle))
    rest = pace.rest_after(0.1, urgent=urgent)
    assert 0.1 / (0.1 + rest) == pytest.approx(share, abs=0.01)
    assert pace.rest_after(100.0, urgent=urgent) == pace.LONGEST_REST_S
