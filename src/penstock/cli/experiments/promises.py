"""What was promised, whether it was kept, and the verdict in words."""

from collections.abc import Sequence

import msgspec

from penstock.cli.experiments.ledger import Ledger
from penstock.cli.experiments.plan import Mode


class Promise(msgspec.Struct, frozen=True):
    """One sentence, whether it was kept, and what was found."""

    promise: str
    kept: bool
    found: str


class Verdict(msgspec.Struct, frozen=True):
    """``kept`` decides on the exit code."""

    kept: bool
    words: str


def of_every_run(ledger: Ledger) -> list[Promise]:
    """What holds whatever was broken."""
    return [
        Promise("something was accepted", ledger.accepted > 0, f"{ledger.accepted} of {ledger.attempted}"),
        Promise("every accepted message was processed", ledger.lost == 0, f"{ledger.lost} lost"),
        Promise("no message was processed twice", ledger.duplicated == 0, f"{ledger.duplicated} duplicated"),
        Promise("no job failed", ledger.failed == 0, f"{ledger.failed} failed"),
    ]


def recovered(ledger: Ledger) -> Promise:
    """Work went on after everything that was broken."""
    never = [each.what for each in ledger.recoveries if each.first_start_s is None]
    worst = f"worst {ledger.worst_recovery_s} s" if ledger.worst_recovery_s is not None else "no figure"
    found = f"not after: {', '.join(never)}" if never else worst
    return Promise("jobs were taken again after each disturbance", not never, found)


def interrupted(ledger: Ledger) -> Promise:
    """The experiment did what it is for; a kill that hit nothing proves nothing."""
    return Promise("the kill interrupted jobs", ledger.re_executed > 0, f"{ledger.re_executed} re-executed")


def judge(ledger: Ledger, promises: Sequence[Promise], mode: Mode) -> Verdict:
    """The verdict; at-most-once runs are there to lose something, and fail if they show no loss."""
    if mode is Mode.AT_MOST_ONCE:
        return _judge_loss(ledger)
    broken = [f"{each.promise}: {each.found}" for each in promises if not each.kept]
    if broken:
        return Verdict(kept=False, words=f"BROKEN: {'; '.join(broken)}")
    figures = f"{ledger.accepted} accepted, lost {ledger.lost}, duplicated {ledger.duplicated}"
    return Verdict(kept=True, words=f"kept: {figures}, re-executed {ledger.re_executed}")


def _judge_loss(ledger: Ledger) -> Verdict:
    if ledger.lost:
        words = (
            f"lost {ledger.lost} of {ledger.accepted} accepted messages, as was to be shown:"
            " what is acknowledged before it is processed dies with its worker"
        )
        return Verdict(kept=True, words=words)
    words = "showed nothing: no message was lost; kill later (KILL_AFTER) or process longer"
    return Verdict(kept=False, words=words)
