"""The packaged market is whole, and a broken one is refused with table and row."""

import copy

import pytest

from penstock.tasks.habitat.problems import BadReference
from penstock.tasks.habitat.reference import assemble, packaged, packaged_rows


@pytest.fixture
def tables():
    return copy.deepcopy(packaged_rows())


def test_packaged_set_is_large_enough():
    reference = packaged()
    assert len(reference.banks) >= 40
    assert {habitat.ledger for habitat in reference.habitats.values()} == {"area", "hedgerow", "watercourse"}
    sold = {reference.habitats[habitat].ledger for _, habitat in reference.stock}
    assert sold == {"area", "hedgerow", "watercourse"}


def test_neighbours_are_so_in_both_directions():
    neighbours = packaged().neighbours
    assert "East Hampshire" in neighbours["lpa", "Winchester"]
    assert "Bath and North East Somerset" in neighbours["lpa", "Bristol"]
    assert "Hampshire Downs" in neighbours["nca", "South Downs"]
    for (kind, one), others in neighbours.items():
        assert all(one in neighbours[kind, other] for other in others)


def test_nearer_is_never_dearer_in_the_packaged_set():
    assert all(price.local <= price.adjacent <= price.far for price in packaged().prices.values())


def test_version_follows_from_the_rows(tables):
    same = assemble({name: rows[::-1] for name, rows in tables.items()})
    assert same.version == packaged().version
    tables["pricing"][7]["local"] = "1"
    assert assemble(tables).version != packaged().version


BROKEN = [
    (lambda t: t["stock"][0].update(available="many"), r"^stock, row 1, available: "),
    (lambda t: t["stock"][1].update(available="-1"), r"^stock, row 2, available: "),
    (lambda t: t["pricing"][2].update(far="0"), r"^pricing, row 3, far: "),
    (lambda t: t["pricing"][2].update(local="nan"), r"^pricing, row 3, local: "),
    (lambda t: t["habitats"][0].update(ledger="air"), r"^habitats, row 1, ledger: "),
    (lambda t: t["banks"].append(t["banks"][0]), r"^banks, row 47, bank: .* more than once, first in row 1"),
    (lambda t: t["stock"][0].update(bank="Nowhere"), r"^stock, row 1, bank: there is no 'Nowhere' in banks"),
    (lambda t: t["stock"][0].update(habitat="Tarmac"), r"^stock, row 1, habitat: there is no 'Tarmac'"),
    (lambda t: t["pricing"][4].update(bank="Nowhere"), r"^pricing, row 5, bank: there is no 'Nowhere'"),
    (lambda t: t["stock"][0].update(quoted="1e6"), r"^stock, row 1, quoted: more than"),
    (lambda t: t["habitats"][0].update(distinctiveness="Fair"), r"^habitats, row 1, dist.* 'Fair' in levels"),
    (lambda t: t["srm"].pop(), r"^srm, tier: far is missing"),
    (
        lambda t: t["trading_rules"].pop(),
        r"^habitats, row \d+, distinctiveness: trading_rules .* watercourse",
    ),
    (lambda t: t["pricing"].pop(), r"^stock, row \d+, habitat: pricing has no large price"),
    (lambda t: t["neighbours"][0].update(kind="parish"), r"^neighbours, row 1, kind: "),
    (
        lambda t: t["neighbours"].append(t["neighbours"][0]),
        r"^neighbours, row \d+, kind.one.other: .* once",
    ),
    (lambda t: t["banks"][0].update(owner="x"), r"^banks, row 1, owner: "),
]


@pytest.mark.parametrize(("harm", "told"), BROKEN, ids=[told for _, told in BROKEN])
def test_a_broken_table_is_refused_with_its_place(tables, harm, told):
    harm(tables)
    with pytest.raises(BadReference, match=told):
        assemble(tables)


def test_every_problem_is_told_but_not_a_thousand(tables):
    for row in tables["pricing"]:
        row.update(local="free", far="0")
    with pytest.raises(BadReference, match=r"row 1, local: .*row 10, far: .*; and \d+ more$") as bad:
        assemble(tables)
    assert len(bad.value.problems) == 2 * len(tables["pricing"])
