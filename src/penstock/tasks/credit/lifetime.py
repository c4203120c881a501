"""The task ``lifetime_ecl``: expected credit loss of one level-payment loan over its whole life.

Rates and probabilities are fractions (0.06 is 6 %), money is in currency units, time runs in months.
"""

import math
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from penstock.core.task import task


class Loan(BaseModel):
    """A loan repaid in equal monthly instalments, and its credit risk."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    amount: float = Field(gt=0, le=1e12, description="Amount lent, in currency units.")
    annual_rate: float = Field(
        ge=0, le=1, description="Nominal interest rate per year, as a fraction: 0.06 is 6 %."
    )
    term_months: int = Field(ge=1, le=600, description="Time to maturity, in months: one instalment each.")
    annual_pd: float = Field(ge=0, le=1, description="Probability of default within one year, 0 to 1.")
    lgd: float = Field(ge=0, le=1, description="Loss given default, as a fraction of the exposure.")
    eir: float = Field(
        ge=0, le=1, description="Effective interest rate for discounting, nominal per year, as a fraction."
    )
    ead: Literal["opening", "closing"] = Field(
        description="Exposure at default in a month, in currency units: the balance before (opening) or "
        "after (closing) that month's instalment."
    )


class ScheduleRow(BaseModel):
    """One month of the loan's life."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    month: int = Field(description="Month number, from 1.")
    opening: float = Field(description="Balance before the instalment, in currency units.")
    interest: float = Field(description="Interest part of the instalment, in currency units.")
    principal: float = Field(description="Principal part of the instalment, in currency units.")
    closing: float = Field(description="Balance after the instalment, in currency units.")
    marginal_pd: float = Field(
        description="Probability to survive until this month and default in it, 0 to 1."
    )
    discount_factor: float = Field(
        description="Present value of one currency unit due at the month's end, 0 to 1."
    )
    ecl: float = Field(description="This month's share of the expected credit loss, in currency units.")


class LifetimeLoss(BaseModel):
    """Lifetime expected credit loss and how it comes about."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    payment: float = Field(description="Monthly instalment, in currency units.")
    monthly_pd: float = Field(
        description="Probability to default in a month, given survival until then, 0 to 1."
    )
    ecl: float = Field(description="Lifetime expected credit loss, in currency units, present value.")
    schedule: list[ScheduleRow] = Field(max_length=600, description="One row per month, in order.")


_EXAMPLE = {
    "amount": 10_000,
    "annual_rate": 0.06,
    "term_months": 12,
    "annual_pd": 0.05,
    "lgd": 0.45,
    "eir": 0.06,
    "ead": "closing",
}


@task(cache=True, example=_EXAMPLE)
def lifetime_ecl(loan: Loan) -> LifetimeLoss:
    """Lifetime expected credit loss of one loan: ECL = Σ EAD_t · PD_t · LGD · DF_t over its months t.

    The sum of probability-weighted, discounted losses over the expected life (IFRS 9, 5.5.17 and B5.5.28),
    discounted at the effective interest rate (B5.5.44) with DF_t = (1 + EIR/12)^-t.
    """
    schedule = [_row(loan, month) for month in range(1, loan.term_months + 1)]
    return LifetimeLoss(
        payment=payment(loan.amount, loan.annual_rate / 12, loan.term_months),
        monthly_pd=monthly_pd(loan.annual_pd),
        ecl=math.fsum(row.ecl for row in schedule),
        schedule=schedule,
    )


def payment(amount: float, rate: float, months: int) -> float:
    """Level instalment of an ordinary annuity: P = L·r·(1+r)^n / ((1+r)^n - 1), or L/n without interest.

    ``rate`` is per month, as a fraction. Written as L·r / (1 - (1+r)^-n), which neither overflows for long
    terms nor loses digits for small rates.
    """
    if rate == 0:
        return amount / months
    return amount * rate / _discounted_away(rate, months)


def balance(amount: float, rate: float, months: int, paid: int) -> float:
    """Outstanding balance after ``paid`` of ``months`` instalments: the present value of those still due.

    Not by recursion, whose rounding errors grow by the factor (1+r)^n.
    """
    left = months - paid
    if rate == 0:
        return amount * left / months
    return amount * (_discounted_away(rate, left) / _discounted_away(rate, months))


def monthly_pd(annual: float) -> float:
    """Probability to default in a month given survival, at a constant hazard: m = 1 - (1 - PD)^(1/12)."""
    if annual == 1:
        return 1.0
    return -math.expm1(math.log1p(-annual) / 12)


def _row(loan: Loan, month: int) -> ScheduleRow:
    rate = loan.annual_rate / 12
    opening = balance(loan.amount, rate, loan.term_months, month - 1)
    closing = balance(loan.amount, rate, loan.term_months, month)
    hazard = monthly_pd(loan.annual_pd)
    marginal = (1 - hazard) ** (month - 1) * hazard
    discount = (1 + loan.eir / 12) ** -month
    exposure = opening if loan.ead == "opening" else closing
    return ScheduleRow(
        month=month,
        opening=opening,
        interest=opening * rate,
        principal=opening - closing,
        closing=closing,
        marginal_pd=marginal,
        discount_factor=discount,
        ecl=exposure * marginal * loan.lgd * discount,
    )


def _discounted_away(rate: float, months: int) -> float:
    """1 - (1+r)^-n: the share of an amount due in ``months`` that discounting at ``rate`` takes away."""
    return abs(math.expm1(-months * math.log1p(rate)))
