"""The credit tasks against closed forms, independent recomputation and their promises on reproducibility."""

import json
import math
import random
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock import JobCancelled, Progress
from penstock.core.errors import ErrorCode, PenstockError
from penstock.core.job import JobProgress
from penstock.tasks.credit import credit_loss, lifetime_ecl
from penstock.tasks.credit.draws import BLOCK, Chunk, Counted, chunks, count_defaults, merge
from penstock.tasks.credit.hazard import HAZARD_FLOOR, MacroScenario, default_probability, stressed_hazard
from penstock.tasks.credit.lifetime import LifetimeLoss, Loan, balance, monthly_pd, payment
from penstock.tasks.credit.portfolio import CreditLosses, Portfolio

# The same examples in every run; how long one takes says nothing about whether it is right.
examined = settings(derandomize=True, deadline=None, max_examples=50)

PD = default_probability(0.05, 1)
LOAN = {
    "amount": 10_000,
    "annual_rate": 0.06,
    "term_months": 12,
    "annual_pd": 0.05,
    "lgd": 0.45,
    "eir": 0.06,
    "ead": "closing",
}


def simulate(progress: Progress | None = None, **params) -> CreditLosses:
    return credit_loss(Portfolio(**params), progress or Progress())


def figures(losses: CreditLosses) -> dict:
    """Everything but the time it took."""
    return losses.model_dump(exclude={"elapsed_s"})


def bad_fields(task, params) -> list[str]:
    with pytest.raises(PenstockError) as refused:
        task.parse(params)
    assert refused.value.code is ErrorCode.VALIDATION_ERROR
    return [problem["field"] for problem in refused.value.details["fields"]]


# Hazard and probability of default


def test_default_probability_check_value():
    assert default_probability(0.05, 1) == pytest.approx(0.048770575, abs=5e-10)


def test_default_probability_keeps_the_digits_of_a_tiny_hazard():
    assert default_probability(1e-12, 1) == pytest.approx(1e-12, rel=1e-11)


def test_stressed_hazard_check_value():
    stressed = stressed_hazard(
        0.05, MacroScenario(unemployment=6.5, interest_rate=5.25, house_price_index=95)
    )
    assert stressed == pytest.approx(0.07987793, abs=5e-9)
    assert default_probability(stressed, 1) == pytest.approx(0.07677096, abs=5e-9)


def test_neutral_scenario_changes_nothing():
    assert stressed_hazard(0.05, MacroScenario()) == 0.05


def test_stressed_hazard_has_a_floor():
    best = MacroScenario(unemployment=2, interest_rate=0, house_price_index=130)
    assert stressed_hazard(0, best) == stressed_hazard(HAZARD_FLOOR, best) == HAZARD_FLOOR


def test_scenario_reaches_the_result():
    macro = {"unemployment": 6.5, "interest_rate": 5.25, "house_price_index": 95}
    losses = simulate(load=1000, macro=macro)
    assert losses.hazard_rate == pytest.approx(0.07987793, abs=5e-9)
    assert losses.pd == pytest.approx(0.07677096, abs=5e-9)


# The sample


def test_rate_is_within_four_standard_errors_of_pd_for_many_seeds():
    load = 100_000
    sigma = math.sqrt(PD * (1 - PD) / load)
    rates = [simulate(load=load, seed=seed, chunk=30_000).default_rate for seed in range(200)]
    assert max(abs(rate - PD) for rate in rates) <= 4 * sigma
    assert abs(np.mean(rates) - PD) <= 4 * sigma / math.sqrt(len(rates))


def test_repeats_scatter_like_a_binomial():
    # The sample variance of n normal values has a relative standard error of sqrt(2/(n-1)): 5 % here.
    losses = simulate(load=10_000, repeats=800, exposure=1, lgd=1)
    expected = 10_000 * PD * (1 - PD)
    assert np.var(losses.distribution, ddof=1) == pytest.approx(expected, rel=4 * math.sqrt(2 / 799))


def test_same_seed_same_numbers():
    params = {"load": 250_000, "chunk": 40_000, "repeats": 3, "seed": 7}
    assert figures(simulate(**params)) == figures(simulate(**params))


def test_seeds_repeats_and_chunks_have_streams_of_their_own():
    keys = [(0, 0, 0), (0, 0, 1), (0, 1, 0), (1, 0, 0), (2**53 - 1, 0, 0)]
    counts = [
        count_defaults(seed, Chunk(repeat, number, 1_000_000), PD).defaults for seed, repeat, number in keys
    ]
    assert len(set(counts)) == len(keys)


def test_the_sample_of_version_1_stays_the_same():
    """Another number here (say, from another NumPy) needs another version of the task."""
    losses = simulate(load=2_500_000, seed=42, repeats=2, exposure=1, lgd=1)
    assert losses.distribution == [121_961, 122_286]


def test_blocks_give_the_numbers_of_one_large_draw():
    loans = 3 * BLOCK + 17
    stream = np.random.Generator(np.random.SFC64(np.random.SeedSequence(5, spawn_key=(2, 9))))
    at_once = int((stream.random(loans) < PD).sum())
    assert count_defaults(5, Chunk(2, 9, loans), PD) == Counted(2, loans, at_once)


@pytest.mark.parametrize(("pd", "defaults"), [(0.0, 0), (1.0, 5000)])
def test_certain_outcomes(pd, defaults):
    assert count_defaults(0, Chunk(0, 0, 5000), pd).defaults == defaults


# Chunks and their merge


@examined
@given(st.integers(1, 10**6), st.integers(1_000, 10**6), st.integers(1, 5))
def test_chunks_cover_every_loan_once(load, chunk, repeats):
    cut = list(chunks(load, chunk, repeats))
    assert len({(part.repeat, part.number) for part in cut}) == len(cut)
    assert all(1 <= part.loans <= chunk for part in cut)
    assert [sum(part.loans for part in cut if part.repeat == r) for r in range(repeats)] == [load] * repeats


@examined
@given(st.integers(1, 20_000), st.integers(1_000, 20_000))
def test_no_loan_is_lost_whatever_the_remainder(load, chunk):
    losses = simulate(load=load, chunk=chunk, hazard_rate=10, horizon_years=100, repeats=2)
    assert losses.loans == losses.defaults == load


def test_order_of_chunks_does_not_matter():
    cut = list(chunks(1_234_567, 100_000, 4))
    counted = [count_defaults(3, chunk, PD) for chunk in cut]
    random.Random(1).shuffle(cut)
    shuffled = [count_defaults(3, chunk, PD) for chunk in cut]
    assert shuffled != counted
    assert merge(shuffled, 1_234_567, 4) == merge(counted, 1_234_567, 4)


def test_task_equals_its_chunks_merged():
    losses = simulate(load=345_678, chunk=50_000, repeats=3, seed=9, exposure=1, lgd=1)
    parts = [count_defaults(9, chunk, PD) for chunk in chunks(345_678, 50_000, 3)]
    assert losses.distribution == merge(reversed(parts), 345_678, 3)


@pytest.mark.parametrize("counted", [[], [Counted(0, 5, 1)], [Counted(0, 10, 1), Counted(0, 10, 1)]])
def test_merge_refuses_missing_or_doubled_chunks(counted):
    with pytest.raises(ValueError, match="missing or doubled"):
        merge(counted, 10, 1)


# The result


@examined
@given(st.floats(0.01, 1e12), st.floats(0, 1), st.integers(1, 5_000))
def test_loss_is_defaults_times_exposure_times_lgd(exposure, lgd, load):
    losses = simulate(load=load, exposure=exposure, lgd=lgd)
    assert losses.expected_credit_loss == losses.defaults * exposure * lgd == losses.distribution[0]
    assert losses.default_rate == losses.defaults / load
    assert set(losses.percentiles.model_dump().values()) == {losses.expected_credit_loss}


def test_headline_figures_are_means_over_the_repeats():
    losses = simulate(load=3_000, repeats=7)
    assert losses.loans == 3_000
    assert len(losses.distribution) == 7
    assert losses.expected_credit_loss == pytest.approx(np.mean(losses.distribution), rel=1e-12)
    assert losses.expected_credit_loss == pytest.approx(losses.default_rate * 3_000 * 250_000 * 0.45)
    assert losses.defaults == round(losses.default_rate * 3_000)


def test_percentiles_are_those_of_the_distribution():
    losses = simulate(load=3_000, repeats=101)
    ranked = sorted(losses.distribution)
    assert list(losses.percentiles.model_dump().values()) == [ranked[n] for n in (5, 25, 50, 75, 95)]


def test_memory_does_not_grow_with_the_chunk():
    simulate(load=1_000)  # NumPy's own lazy imports are not what is measured
    tracemalloc.start()
    try:
        simulate(load=10_000_000, chunk=10_000_000)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1_000_000  # bytes, where one draw of the chunk would take 80 000 000


# Progress and cancelling


def test_progress_rises_to_one_and_says_where_it_is():
    reports: list[JobProgress] = []
    simulate(Progress(reports.append), load=12_500, chunk=5_000, repeats=20)
    fractions = [report.fraction for report in reports]
    assert len(fractions) == 60
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1
    assert fractions[7] == 35_000 / 250_000
    assert reports[7].message == "repeat 3 of 20, 10 000 of 12 500 loans"


def test_cancelled_job_stops_after_the_chunk_under_way():
    reports: list[JobProgress] = []
    with pytest.raises(JobCancelled):
        simulate(
            Progress(reports.append, cancelled=lambda: len(reports) == 2),
            load=1_000_000_000,
            chunk=1_000,
            repeats=10_000,
        )
    assert len(reports) == 2


# Lifetime expected credit loss


@pytest.mark.parametrize(("ead", "ecl"), [("closing", 102.9633), ("opening", 121.1125)])
def test_lifetime_check_values(ead, ecl):
    lifetime = lifetime_ecl(Loan(**LOAN | {"ead": ead}))
    assert lifetime.payment == pytest.approx(860.6643, abs=5e-5)
    assert lifetime.ecl == pytest.approx(ecl, abs=5e-5)


def by_hand(loan: Loan) -> tuple[float, list[tuple[float, float]], float]:
    """Instalment, (opening, closing) of each month and loss, step by step as a spreadsheet does it."""
    rate = loan.annual_rate / 12
    growth = (1 + rate) ** loan.term_months
    instalment = loan.amount * rate * growth / (growth - 1)
    hazard = 1 - (1 - loan.annual_pd) ** (1 / 12)
    owed, alive, worth, ecl = loan.amount, 1.0, 1.0, 0.0
    balances = []
    for _ in range(loan.term_months):
        opening = owed
        owed += owed * rate - instalment
        worth /= 1 + loan.eir / 12
        ecl += (opening if loan.ead == "opening" else owed) * alive * hazard * loan.lgd * worth
        alive *= 1 - hazard
        balances.append((opening, owed))
    return instalment, balances, ecl


loans = st.builds(
    Loan,
    amount=st.floats(1, 1e9),
    annual_rate=st.floats(0.005, 0.15),
    term_months=st.integers(1, 360),
    annual_pd=st.floats(0, 1),
    lgd=st.floats(0, 1),
    eir=st.floats(0, 1),
    ead=st.sampled_from(["opening", "closing"]),
)


@examined
@given(loans)
def test_schedule_agrees_with_a_recursive_one(loan):
    instalment, balances, ecl = by_hand(loan)
    lifetime = lifetime_ecl(loan)
    near = {"rel": 1e-8, "abs": 1e-8 * loan.amount}
    assert lifetime.payment == pytest.approx(instalment, rel=1e-8)
    assert lifetime.ecl == pytest.approx(ecl, **near)
    for row, (opening, closing) in zip(lifetime.schedule, balances, strict=True):
        assert row.opening == pytest.approx(opening, **near)
        assert row.closing == pytest.approx(closing, **near)
        assert row.interest + row.principal == pytest.approx(instalment, **near)


@examined
@given(loans)
def test_opening_balance_loses_at_least_as_much_as_closing(loan):
    opening = lifetime_ecl(loan.model_copy(update={"ead": "opening"}))
    closing = lifetime_ecl(loan.model_copy(update={"ead": "closing"}))
    assert opening.ecl >= closing.ecl >= 0


@examined
@given(loans)
def test_schedule_is_whole(loan):
    lifetime = lifetime_ecl(loan)
    rows = lifetime.schedule
    assert [row.month for row in rows] == list(range(1, loan.term_months + 1))
    assert rows[0].opening == loan.amount
    assert rows[-1].closing == 0
    assert not math.copysign(1, rows[-1].closing) < 0
    assert math.fsum(row.principal for row in rows) == pytest.approx(loan.amount)
    assert math.fsum(row.marginal_pd for row in rows) == pytest.approx(
        1 - (1 - loan.annual_pd) ** (loan.term_months / 12), abs=1e-12
    )


def test_zero_rate_repays_in_equal_parts():
    lifetime = lifetime_ecl(Loan(**LOAN | {"annual_rate": 0, "eir": 0}))
    assert lifetime.payment == 10_000 / 12
    assert [row.interest for row in lifetime.schedule] == [0] * 12
    assert [row.discount_factor for row in lifetime.schedule] == [1] * 12
    assert lifetime.schedule[-1].closing == 0


@pytest.mark.parametrize("rate", [1e-9, 1e-15, 1e-300, 5e-324])
def test_tiny_rate_approaches_the_zero_rate(rate):
    assert payment(10_000, rate, 360) == pytest.approx(10_000 / 360, rel=1e-6)
    assert balance(10_000, rate, 360, 90) == pytest.approx(7_500, rel=1e-6)


def test_high_rate_and_long_term_neither_overflow_nor_drift():
    rows = lifetime_ecl(Loan(**LOAN | {"annual_rate": 1, "term_months": 600})).schedule
    assert all(0 <= row.closing <= row.opening <= 10_000 for row in rows)
    assert rows[-1].closing == 0


@pytest.mark.parametrize(("annual", "monthly"), [(0, 0), (1, 1), (1e-14, 1e-14 / 12)])
def test_monthly_pd_at_its_ends(annual, monthly):
    assert monthly_pd(annual) == pytest.approx(monthly, rel=1e-12)


def test_certain_default_happens_in_the_first_month():
    rows = lifetime_ecl(Loan(**LOAN | {"annual_pd": 1})).schedule
    assert [row.marginal_pd for row in rows] == [1] + [0] * 11


# As tasks


@pytest.mark.parametrize(
    ("params", "fields"),
    [
        ({}, ["params.load"]),
        ({"load": 0}, ["params.load"]),
        ({"load": 1_000_000_001}, ["params.load"]),
        ({"load": 10.5}, ["params.load"]),
        ({"load": "many", "lgd": 1.1}, ["params.load", "params.lgd"]),
        ({"load": 10, "hazard_rate": -0.01}, ["params.hazard_rate"]),
        ({"load": 10, "hazard_rate": math.nan}, ["params.hazard_rate"]),
        ({"load": 10, "horizon_years": 0}, ["params.horizon_years"]),
        ({"load": 10, "exposure": math.inf}, ["params.exposure"]),
        ({"load": 10, "seed": -1}, ["params.seed"]),
        ({"load": 10, "seed": 2**53}, ["params.seed"]),
        ({"load": 10, "chunk": 999}, ["params.chunk"]),
        ({"load": 10, "repeats": 10_001}, ["params.repeats"]),
        ({"load": 10, "macro": {"unemployment": 1.9}}, ["params.macro.unemployment"]),
        ({"load": 10, "macro": {"interest_rate": 12.1}}, ["params.macro.interest_rate"]),
        ({"load": 10, "macro": {"house_price_index": 131}}, ["params.macro.house_price_index"]),
        ({"load": 10, "macro": {"gdp": 1}}, ["params.macro.gdp"]),
        ({"load": 10, "colour": "red"}, ["params.colour"]),
    ],
)
def test_bad_portfolio_names_the_field(params, fields):
    assert bad_fields(credit_loss, params) == fields


@pytest.mark.parametrize(
    "wrong",
    [
        {"amount": 0},
        {"annual_rate": 6},
        {"annual_rate": -0.01},
        {"term_months": 0},
        {"term_months": 601},
        {"annual_pd": 1.01},
        {"lgd": -0.1},
        {"eir": math.nan},
        {"ead": "average"},
        {"ead": None},
        {"colour": "red"},
    ],
)
def test_bad_loan_names_the_field(wrong):
    assert bad_fields(lifetime_ecl, LOAN | wrong) == [f"params.{field}" for field in wrong]


def test_everything_about_a_loan_must_be_said():
    assert bad_fields(lifetime_ecl, {}) == [f"params.{field}" for field in LOAN]


@pytest.mark.parametrize("task", [credit_loss, lifetime_ecl])
def test_example_runs_and_comes_back_as_json(task):
    model = {"credit_loss": CreditLosses, "lifetime_ecl": LifetimeLoss}[task.name]
    result = task.run(task.parse(dict(task.example)), Progress())
    assert json.loads(result) == model.model_validate_json(result).model_dump()


def test_stored_defaults_are_filled_in():
    assert json.loads(credit_loss.parse({"load": 1e5})) == {
        "load": 100_000,
        "hazard_rate": 0.05,
        "horizon_years": 1,
        "exposure": 250_000,
        "lgd": 0.45,
        "seed": 0,
        "chunk": 1_000_000,
        "repeats": 1,
        "macro": None,
        "target_error": None,
        "extend": None,
    }


@pytest.mark.parametrize(
    ("task", "names"),
    [
        (
            credit_loss,
            [
                "loans",
                "defaults",
                "default_rate",
                "pd",
                "hazard_rate",
                "expected_credit_loss",
                "percentiles",
                "distribution",
                "simulated",
                "standard_error",
                "stopped_early",
                "manifest",
                "elapsed_s",
            ],
        ),
        (lifetime_ecl, ["payment", "monthly_pd", "ecl", "schedule"]),
    ],
)
def test_result_names_are_stable(task, names):
    assert list(task.result_schema["properties"]) == names
    assert task.version == "1"


@pytest.mark.parametrize("task", [credit_loss, lifetime_ecl])
def test_every_field_is_described(task):
    for schema in (task.params_schema, task.result_schema):
        for model in [schema, *schema.get("$defs", {}).values()]:
            for name, field in model.get("properties", {}).items():
                assert field.get("description"), name
