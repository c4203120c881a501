"""An Executor in the place of a ProcessPoolExecutor: one line is another, the rest is as it was.

Needs no node: without PENSTOCK_URL, `Executor` starts one for as long as it lasts.
"""

import argparse
from concurrent.futures import as_completed

from own_task import asian_call

from penstock import Executor

STRIKES = (95, 100, 105)


def main(batches: int) -> None:
    """Three prices, as they come."""
    with Executor(max_workers=2) as pool:  # was: ProcessPoolExecutor(max_workers=2)
        futures = {pool.submit(asian_call, strike, 0.25, batches=batches): strike for strike in STRIKES}
        for future in as_completed(futures):
            print(f"strike {futures[future]}: {future.result()['price']:.3f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Prices of a call, by a pool.")
    parser.add_argument("--batches", type=int, default=20, help="10 000 paths each [%(default)s]")
    main(parser.parse_args().batches)
