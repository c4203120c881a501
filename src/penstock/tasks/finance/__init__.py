"""Finance: risk of a portfolio, price of an option, minimum-variance weights, stress scenarios.

All tasks are plain functions; called without Penstock they give the same numbers.
"""

from penstock.tasks.finance.option import european_option
from penstock.tasks.finance.stress import stress_test
from penstock.tasks.finance.value_at_risk import portfolio_var
from penstock.tasks.finance.weights import optimal_portfolio

__all__ = ["european_option", "optimal_portfolio", "portfolio_var", "stress_test"]
