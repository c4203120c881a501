"""From a default intensity to a default probability, with and without an economic scenario.

Pure functions, used by the portfolio simulation. Hazard rates are per year, probabilities from 0 to 1.
"""

import math
from typing import Final

from pydantic import BaseModel, ConfigDict, Field

HAZARD_FLOOR: Final = 1e-6
"""Per year. Even the best economy leaves some risk, so a stressed hazard never vanishes."""


class MacroScenario(BaseModel):
    """An economy to stress the hazard rate with. Each default is the neutral value: it changes nothing."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    unemployment: float = Field(
        4.0, ge=2, le=15, description="Unemployment, in % of the labour force; 4 is neutral."
    )
    interest_rate: float = Field(3.0, ge=0, le=12, description="Interest rate, in % per year; 3 is neutral.")
    house_price_index: float = Field(
        100.0, ge=70, le=130, description="House price index, in points; 100 is neutral."
    )


def stressed_hazard(base: float, macro: MacroScenario) -> float:
    """Hazard rate per year after the scenario, at least ``HAZARD_FLOOR``.

    A proportional-hazards model (Cox 1972) with one linear factor per driver:
    h = h0 · (1 + 0.5·(u - 4)/4) · (1 + 0.25·(i - 3)/3) · (1 + 0.5·(100 - HPI)/100).
    The sensitivities are illustrative; they are not calibrated to any loan book.
    """
    jobs = 1 + 0.5 * (macro.unemployment - 4) / 4
    rates = 1 + 0.25 * (macro.interest_rate - 3) / 3
    homes = 1 + 0.5 * (100 - macro.house_price_index) / 100
    return max(HAZARD_FLOOR, base * jobs * rates * homes)


def default_probability(hazard: float, years: float) -> float:
    """Probability of default within ``years`` under a constant ``hazard`` per year: PD = 1 - exp(-h·T).

    The constant-intensity survival model (Jarrow and Turnbull 1995). ``expm1`` keeps a small PD exact.
    """
    return -math.expm1(-hazard * years)
