"""Asking for more than a limit lets through, however slow the machine is at asking."""

import time
from concurrent.futures import ThreadPoolExecutor

import httpx

AT_ONCE = 8
REFUSED = 429


def until_limited(url: str, usual: int) -> tuple[int, float, httpx.Response]:
    """Ask until somebody is refused: how many got the ``usual`` status, seconds it took, the refusal."""
    began = time.monotonic()
    answers: list[httpx.Response] = []

    def ask() -> None:
        with httpx.Client(timeout=60) as http:
            while all(answer.status_code == usual for answer in list(answers)):
                answers.append(http.get(url))

    with ThreadPoolExecutor(AT_ONCE) as pool:
        for asking in [pool.submit(ask) for _ in range(AT_ONCE)]:
            asking.result(60)
    took = time.monotonic() - began
    passed = sum(answer.status_code == usual for answer in answers)
    return passed, took, next(answer for answer in answers if answer.status_code == REFUSED)
