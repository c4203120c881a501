"""Submit a job from Python, wait for it, print the answer.

Needs a node: `penstock up examples/own_task.py`. It is found where it was started, or by PENSTOCK_URL.
"""

import argparse
import sys

from penstock import Client, PenstockError


def main(batches: int) -> None:
    """Three strikes at once; the slots share them."""
    with Client() as client:
        params = {"volatility": 0.25, "batches": batches}
        jobs = client.submit_many(
            {"task": "asian_call", "params": params | {"strike": strike}} for strike in (95, 100, 105)
        )
        for job in jobs:
            ended = client.wait(job.id)
            said = ended.result or ended.error
            print(f"strike {ended.params['strike']}: {ended.state}, {said}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Prices of a call at three strikes.")
    parser.add_argument("--batches", type=int, default=20, help="10 000 paths each [%(default)s]")
    try:
        main(parser.parse_args().batches)
    except PenstockError as error:
        sys.exit(f"{error.code}: {error}")
