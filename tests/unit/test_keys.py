"""Keys are random, recognised by their hash alone, and allow what their role says."""

import re

import pytest

from penstock.core.errors import PenstockError
from penstock.core.keys import Ring, Role, Sees, digest, entry, from_entry, mint


def test_a_key_is_long_and_random_and_its_text_is_not_kept():
    made = [mint("app", Role.SUBMIT) for _ in range(100)]
    assert len({text for text, _ in made}) == 100
    for text, key in made:
        assert re.fullmatch(r"pk_[0-9a-f]{8}_[A-Za-z0-9_\-]{43}", text)
        assert text.split("_")[1] == key.id
        assert text.split("_", 2)[2] not in repr(key)
        assert key.digest == digest(text)


def test_a_ring_finds_its_keys_and_no_others():
    made = dict(mint(f"k{n}", Role.READ) for n in range(20))
    ring = Ring(tuple(made.values()))
    for text, key in made.items():
        assert ring.find(text) is key
        assert ring.find(text[:-1]) is None
        assert ring.find(text + "x") is None
        assert ring.find(key.digest) is None
    for stranger in ("", "pk_", "\udcff", mint("k0", Role.ADMIN)[0]):
        assert ring.find(stranger) is None
    assert Ring().find("anything") is None


@pytest.mark.parametrize("name", ["", "two words", "a:b", "x" * 101, "ü"])
def test_names_that_cannot_be_written_in_a_setting_are_refused(name):
    with pytest.raises(PenstockError, match="name"):
        mint(name, Role.READ)


def test_roles_include_one_another():
    allowed = {(held, needed) for held in Role for needed in Role if held.allows(needed)}
    assert allowed == {
        *((Role.ADMIN, role) for role in Role),
        (Role.SUBMIT, Role.SUBMIT),
        (Role.SUBMIT, Role.READ),
        (Role.READ, Role.READ),
    }


def test_who_submits_sees_his_own_jobs_unless_told_otherwise():
    sight = {role: mint("a", role)[1].sees for role in Role}
    assert sight == {Role.READ: Sees.ALL, Role.SUBMIT: Sees.OWN, Role.ADMIN: Sees.ALL}
    assert not mint("a", Role.SUBMIT, sees=Sees.ALL)[1].confined


def test_an_administrator_cannot_be_confined():
    with pytest.raises(PenstockError, match="sees: an administrator"):
        mint("a", Role.ADMIN, sees=Sees.OWN)


def test_an_entry_of_the_setting_is_the_same_key():
    text, key = mint("app", Role.SUBMIT)
    read = from_entry(entry(key))
    assert (read.name, read.role, read.client, read.sees) == ("app", Role.SUBMIT, "app", Sees.OWN)
    assert Ring((read,)).find(text) is read


@pytest.mark.parametrize(
    "wrong", ["", "app", "app:submit", "app:owner:" + "0" * 64, "app:read:secret", "a b:read:0"]
)
def test_a_wrong_entry_is_refused_without_repeating_it(wrong):
    with pytest.raises(PenstockError) as refused:
        from_entry(wrong)
    assert "secret" not in refused.value.message
