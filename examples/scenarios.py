"""One task over many inputs, as one set with one progress bar: the price of a call, strike by strike.

Needs a node: `penstock up examples/own_task.py`. It is found where it was started, or by PENSTOCK_URL.
"""

import argparse
import sys

from penstock import Client, JobFailed, PenstockError

STRIKES = range(90, 115, 5)
VOLATILITIES = (0.15, 0.25, 0.35)


def main(batches: int) -> None:
    """A table: strikes down, volatilities across, prices in % of today's."""
    scenarios = [
        {"strike": strike, "volatility": volatility, "batches": batches}
        for strike in STRIKES
        for volatility in VOLATILITIES
    ]
    with Client() as client:
        # Submitted in batches and waited for together; results come in the order of the scenarios.
        results = client.map("asian_call", scenarios, priority="low")
        prices = iter([result["price"] for result in results])
    print("strike " + "".join(f"{volatility:>8.0%}" for volatility in VOLATILITIES))
    for strike in STRIKES:
        print(f"{strike:<7}" + "".join(f"{next(prices):>8.3f}" for _ in VOLATILITIES))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Prices of a call over strikes and volatilities.")
    parser.add_argument("--batches", type=int, default=20, help="10 000 paths each [%(default)s]")
    try:
        main(parser.parse_args().batches)
    except (PenstockError, JobFailed) as error:
        sys.exit(f"{error.code}: {error}")
