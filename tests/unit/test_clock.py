"""Times as texts and back again."""

from datetime import datetime

from hypothesis import example, given
from hypothesis import strategies as st

from penstock.core.clock import epoch_ms, iso


@given(st.integers(0, 4_000_000_000_000))
@example(2_183_215_439_128)  # times a thousand it is a little less than whole
def test_a_time_that_was_written_is_read_to_the_millisecond(at: int) -> None:
    assert epoch_ms(datetime.fromisoformat(iso(at))) == at
