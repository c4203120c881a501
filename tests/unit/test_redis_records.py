"""Jobs as Redis keeps them: whatever was submitted comes back, also from another release."""

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from penstock.brokers.redis.digits import id_bytes, id_text, id_texts
from penstock.brokers.redis.packing import pack_ids, pack_job, pack_jobs
from penstock.brokers.redis.records import _Fixed, pack_spec, read_spec
from penstock.core.ids import new_id
from penstock.core.job import AfterFailure, JobSpec, Limits, Priority
from penstock.core.lifecycle import rank

# Text without what UTF-8 cannot say; the ids, hashes and near misses are those that are kept shorter.
SUFFIX = 21
HASH = "0123456789abcdef" * 4
ID = "0123abcd-0123-7abc-8def-0123456789ab"
text = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"])),
    st.sampled_from(["", ID, ID.upper(), ID[:-1], ID.replace("-", ""), HASH, HASH.upper(), HASH[:-2], "0"]),
    st.uuids().map(str),
)
maybe = st.none() | text
count = st.integers(0, 2**63 - 1)
queues = st.one_of(
    st.sampled_from(["default", "defaults", "Default", "q"]),
    st.text("abcXYZ019_.-", min_size=1, max_size=100),
    st.text(min_size=1, max_size=60).filter(lambda name: 0 < len(name.encode("utf-8", "ignore")) <= 255),
).filter(lambda name: name.isprintable())
limits = st.builds(
    Limits,
    max_attempts=st.integers(1, 1_000),
    max_crashes=st.integers(1, 100),
    timeout_ms=st.none() | count,
    cpu_ms=st.none() | count,
    grace_ms=count,
    memory_bytes=st.none() | count,
    threads=st.integers(1, 1_000),
    backoff_ms=count,
    backoff_cap_ms=count,
)
json = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=10,
)
specs = st.builds(
    JobSpec,
    id=st.uuids().map(str),
    task=text,
    version=text,
    params=json.map(lambda value: msgspec.Raw(msgspec.json.encode(value))),
    queue=queues,
    priority=st.sampled_from(Priority),
    limits=st.just(Limits()) | limits,
    fingerprint=text,
    delay_ms=count,
    idempotency_key=maybe,
    client=maybe,
    initiated_by=text,
    request_id=maybe,
    parent_id=maybe,
    cache_ms=count,
    refresh=st.booleans(),
    max_running=st.none() | st.integers(1, 2**31),
    weight=st.integers(1, 2**31),
    part=st.none() | st.integers(0, 2**31),
    after=st.lists(text, max_size=3).map(tuple),
    after_failure=st.sampled_from(AfterFailure),
)


def stamped(fixed, now=1_700_000_000_000):
    """What ``submit.lua`` makes of a fixed part: it puts the time in front of it."""
    return now.to_bytes(6, "little") + fixed


def fields(spec):
    """A spec with its raw parameters as bytes, which compare by what they hold."""
    return {name: getattr(spec, name) for name in spec.__struct_fields__} | {"params": bytes(spec.params)}


@given(spec=specs)
@example(spec=JobSpec(id=ID, task=""))
@example(spec=JobSpec(id=ID, task="t", queue="q" * 255))
@example(spec=JobSpec(id=ID, task="t", parent_id=ID, request_id=ID, client=ID, fingerprint=HASH))
def test_a_job_comes_back_as_it_was_submitted(spec):
    assert fields(read_spec(spec.id, stamped(pack_spec(spec)))) == fields(spec)


@given(spec=specs, more=st.lists(json, min_size=1, max_size=3))
def test_what_a_newer_release_adds_is_passed_over(spec, more):
    """It adds fields at the end; those before must then be there, even if they have their defaults."""
    fixed = pack_spec(spec)
    body = 4 + fixed[3]
    known = msgspec.msgpack.decode(fixed[body:])
    defaults = [*_Fixed.__struct_defaults__]
    whole = known + defaults[len(known) - 7 :]
    newer = fixed[:body] + msgspec.msgpack.encode([*whole, *more])
    assert fields(read_spec(spec.id, stamped(newer))) == fields(spec)


@given(spec=specs)
def test_the_stamp_tells_the_script_the_place_in_line_and_the_queue(spec):
    fixed = pack_spec(spec)
    length = fixed[3]
    assert int.from_bytes(fixed[:3], "little") == rank(spec.priority, 0)
    name, suffix = fixed[4 : 4 + length], b""
    if (spec.client or (spec.max_running is not None and spec.task)) and len(name) >= SUFFIX:
        name, suffix = name[:-SUFFIX], name[-SUFFIX:]
    assert (name.decode() or "default") == spec.queue
    assert (suffix[:1] == b"\0") == bool(suffix)


def test_a_line_is_its_queue_its_client_and_a_task_that_is_limited():
    def suffix(**fields):
        fixed = pack_spec(JobSpec(id=ID, task="t", **fields))
        return fixed[4 : 4 + fixed[3]]

    alike = [suffix(client="a"), suffix(client="a", weight=2), suffix(client="a", priority=Priority.LOW)]
    assert {each[:17] for each in alike} == {alike[0][:17]}
    others = [suffix(client="b"), suffix(client="a", max_running=1), suffix(max_running=1), suffix()]
    assert len({each[:17] for each in [*alike, *others]}) == 1 + len(others)
    assert suffix(client="") == suffix() == b""
    assert suffix(client="a", weight=3, max_running=2)[17:] == b"\3\0\2\0"


@given(spec=specs)
def test_an_idempotency_key_is_sixteen_bytes_and_none_is_none(spec):
    digest = pack_job(spec)[3]
    assert len(digest) == (0 if spec.idempotency_key is None else 16)


def test_keys_of_different_clients_are_different_keys():
    pairs = [("a", "bc"), ("ab", "c"), ("", "abc"), (None, "x"), ("x", "")]
    digests = {pack_job(JobSpec(id=ID, task="t", client=who, idempotency_key=key))[3] for who, key in pairs}
    assert len(digests) == len(pairs)


@given(raw=st.lists(st.binary(min_size=16, max_size=16)))
def test_ids_go_there_and_back(raw):
    texts = [id_text(each) for each in raw]
    assert [id_bytes(each) for each in texts] == raw
    assert id_texts(pack_ids(texts)) == texts


@pytest.mark.parametrize(
    "wrong", ["", "x", ID.upper(), ID.replace("-", ""), ID + " ", f"{{{ID}}}", ID[:-1], "--" + ID[2:]]
)
def test_what_is_no_id_stands_for_no_job(wrong):
    assert id_bytes(wrong) is None
    assert pack_ids([wrong]) == bytes(16)
    with pytest.raises(ValueError, match="no job id"):
        pack_job(JobSpec(id=wrong, task="t"))


def test_lists_that_say_nothing_are_left_out():
    plain = [pack_job(JobSpec(id=new_id(), task="t")) for _ in range(3)]
    _, delays, keys, _, always, awaited, asked, *fixed = pack_jobs(plain, 10)
    assert (delays, keys, always, awaited, asked, len(fixed)) == (b"", b"", b"", b"", b"", 3)
    late = pack_job(JobSpec(id=new_id(), task="t", delay_ms=5, idempotency_key="k"))
    _, delays, keys, *_ = pack_jobs([*plain, late], 10)
    assert (len(delays), len(keys)) == (4 * 8, 4 * 16)
    assert keys[: 3 * 16] == bytes(48)


def test_a_queued_job_of_the_usual_kind_costs_few_bytes():
    spec = JobSpec(
        id=new_id(), task="noop", params=msgspec.Raw(b'{"n":0}'), fingerprint=HASH, request_id=new_id()
    )
    assert len(stamped(pack_spec(spec))) <= 100
