"""Credit risk: simulated loss of a portfolio (``credit_loss``), lifetime loss of a loan (``lifetime_ecl``).

Both tasks are plain functions; called without Penstock they give the same numbers.
"""

from penstock.tasks.credit.lifetime import lifetime_ecl
from penstock.tasks.credit.portfolio import credit_loss

__all__ = ["credit_loss", "lifetime_ecl"]
