"""Equal questions have one key however they are written, and no two different ones share any."""

import json
import unicodedata
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from penstock.core.composed import composed
from penstock.core.errors import PenstockError
from penstock.core.fingerprint import fingerprint
from penstock.core.task import task


@task(cache=True)
def whatever(value: Any) -> int:
    return 0


@task(cache=True)
def number(value: float) -> float:
    return value


@task
def plain(value: str) -> str:
    return value


def key(value: Any, of: Any = whatever) -> str:
    return fingerprint(of.name, of.version, of.parse({"value": value}), of.data_version())


# Letters with accents, in either form, are what this is about; so are characters that look alike and are not.
text = st.text(st.sampled_from("aeé\u0301\u0300ÅÅΩΩﬁfi1. "), max_size=4) | st.text(max_size=4)
numbers = st.integers(-(2**60), 2**60) | st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    st.none() | st.booleans() | numbers | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=8,
)


def same(one: Any, other: Any) -> bool:
    """Whether a task would be asked the same: equal, and truth values are no numbers."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[name], other[name]) for name in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, str) and isinstance(other, str):
        return unicodedata.normalize("NFC", one) == unicodedata.normalize("NFC", other)
    return bool(one == other) and isinstance(one, str) == isinstance(other, str)


def keyed(value: Any) -> str:
    try:
        return key(value)
    except PenstockError:
        assume(False)
        raise


def rewritten(value: Any, draw: Any) -> Any:
    """The same question, written in another way: order, Unicode form, number form."""
    if isinstance(value, dict):
        names = draw(st.permutations(list(value)))
        return {rewritten(name, draw): rewritten(value[name], draw) for name in names}
    if isinstance(value, list):
        return [rewritten(item, draw) for item in value]
    if isinstance(value, str):
        return unicodedata.normalize(draw(st.sampled_from(["NFC", "NFD"])), value)
    if isinstance(value, int) and not isinstance(value, bool) and float(value) == value:
        return draw(st.sampled_from([value, float(value)]))
    return value


@given(value=values, data=st.data())
def test_a_question_has_one_key_however_it_is_written(value, data):
    assert keyed(value) == keyed(rewritten(value, data.draw))


@given(value=values, indent=st.sampled_from([None, 2]), ascii_only=st.booleans())
def test_json_may_be_spaced_and_escaped_in_any_way(value, indent, ascii_only):
    assert keyed(value) == keyed(json.loads(json.dumps(value, indent=indent, ensure_ascii=ascii_only)))


@given(one=values, other=values)
def test_different_questions_never_share_a_key(one, other):
    composed_one, composed_other = keyed(one), keyed(other)
    assert (composed_one == composed_other) == same(one, other)


@given(value=values)
def test_equal_keys_mean_that_the_task_is_given_the_same(value):
    kept = whatever.parse({"value": value}) if keyed(value) else b""
    assert whatever.parse(json.loads(kept)) == kept
    assert unicodedata.is_normalized("NFC", kept.decode())


@pytest.mark.parametrize("written", ["1", "1.0", "1e0", "10e-1", "100E-2"])
def test_a_number_has_one_key_however_it_is_written(written):
    assert key(json.loads(written), number) == key(1, number)
    assert key(json.loads(written)) == key(1)


def test_versions_data_and_task_are_part_of_the_key():
    params = b'{"value":1}'
    keys = {
        fingerprint(*parts)
        for parts in [
            ("t", "1", params),
            ("t", "2", params),
            ("u", "1", params),
            ("t", "1", params, "2026-01"),
            ("t", "12026-01", params),
            ("t1", "", params),
        ]
    }
    assert len(keys) == 6


def test_the_data_version_is_asked_for_at_each_submission():
    versions = iter(["a", "b"])

    @task(cache=True, data_version=lambda: next(versions))
    def priced(value: int) -> int:
        return value

    assert key(1, priced) != key(1, priced)


def test_a_data_version_that_cannot_be_told_names_the_task():
    @task(cache=True, data_version=lambda: {}["prices"])
    def priced(value: int) -> int:
        return value

    with pytest.raises(
        PenstockError, match="data version of task priced cannot be told: KeyError"
    ) as refused:
        priced.data_version()
    assert refused.value.code == "INTERNAL_ERROR"


def test_names_that_become_one_are_refused():
    with pytest.raises(PenstockError, match=r"params\.value: has names that differ only"):
        whatever.parse({"value": {"é": 1, "e\u0301": 2}})


def test_a_task_whose_answers_are_not_kept_is_given_text_as_it_is():
    assert plain.parse({"value": "e\u0301"}) == '{"value":"e\u0301"}'.encode()
    assert composed("e\u0301") == "é"


@pytest.mark.parametrize(
    ("cache", "ms"),
    [(None, 0), (False, 0), (True, 43_200_000), ("12h", 43_200_000), (90, 90_000), (1, 1_000)],
)
def test_how_long_answers_are_kept(cache, ms):
    @task(cache=cache)
    def kept(value: int) -> int:
        return value

    assert kept.cache_ms == ms


@pytest.mark.parametrize("cache", [0, "0s", -1, "soon"])
def test_a_time_that_is_none_is_refused(cache):
    with pytest.raises(ValueError, match=r"cache|duration|soon|0"):
        task(cache=cache)(plain.function)
