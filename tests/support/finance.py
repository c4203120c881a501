"""Parameters of the finance tasks that several tests use."""

OPTION = {
    "spot_price": 100,
    "strike_price": 105,
    "volatility": 0.25,
    "risk_free_rate": 0.05,
    "time_to_maturity": 1,
}
"""Worth 10.002202 as a call by the formula of Black and Scholes."""
