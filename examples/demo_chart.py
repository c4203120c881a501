"""The demo's picture: each scenario's expected loss, and how far the simulated losses scatter around it."""

from collections.abc import Mapping
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

MILLION = 1e6
SPAN_SD = 3.6
"""Half a panel's width in standard deviations of the widest scenario, so that all panels share one scale."""

BINS = 27
COLOURS = ("#2a7f9e", "#d08a1d", "#b3403a")
INK, FAINT = "#26323d", "#6a7783"

Result = Mapping[str, Any]


def draw(results: Mapping[str, Result], path: Path) -> None:
    """Write a PNG of the results of ``credit_loss`` by scenario name; money is shown in millions."""
    figure = Figure(figsize=(11, 2.0 * len(results) + 1.6), dpi=150, facecolor="white")
    grid = figure.subplots(len(results), 2, squeeze=False, width_ratios=[1, 2.8], sharey="col")
    largest = max(result["expected_credit_loss"] for result in results.values()) / MILLION
    width = SPAN_SD * max(map(_relative_sd, results.values()))
    for (left, right), (name, result), colour in zip(grid, results.items(), COLOURS, strict=True):
        _draw_level(left, name, result, largest, colour)
        _draw_scatter(right, result, width, colour)
    grid[-1, 0].set_xlabel("expected credit loss (ECL), millions", color=INK)
    grid[-1, 1].set_xlabel("loss of one portfolio, millions", color=INK)
    _write_titles(figure, next(iter(results.values())), width)
    shown = grid[0, 1].get_legend_handles_labels()
    figure.legend(*shown, loc="upper right", bbox_to_anchor=(0.975, 0.99), frameon=False, labelcolor=INK)
    figure.subplots_adjust(left=0.03, right=0.97, top=0.8, bottom=0.085, hspace=0.42, wspace=0.16)
    figure.savefig(path)


def _write_titles(figure: Figure, result: Result, width: float) -> None:
    loans, repeats = _spaced(result["loans"]), len(result["distribution"])
    figure.text(0.03, 0.968, f"Credit loss of {loans} loans", va="top", size=18, color=INK)
    told = f"{repeats} simulated portfolios per scenario, money in millions of currency units"
    scale = f"left: expected credit loss (ECL); right: losses within ±{100 * width:.2f} % of it"
    figure.text(0.03, 0.905, f"{told}\n{scale}", va="top", size=11, color=FAINT, linespacing=1.4)


def _draw_level(axes: Axes, name: str, result: Result, largest: float, colour: str) -> None:
    expected = result["expected_credit_loss"] / MILLION
    axes.barh([0], [expected], height=0.9, color=colour)
    axes.set(xlim=(0, 1.05 * largest), ylim=(-0.6, 1.7), yticks=[])
    axes.text(0, 1.4, name, size=13, weight="bold", color=colour, va="center")
    facts = f"PD {100 * result['pd']:.2f} %,  ECL {_spaced(expected)} million"
    axes.text(0, 0.8, facts, size=10, color=INK, va="center")
    _dress(axes, ticks=3)


def _draw_scatter(axes: Axes, result: Result, width: float, colour: str) -> None:
    losses = np.array(result["distribution"]) / MILLION
    theory = _theory(result)
    left, right = theory.mean * (1 - width), theory.mean * (1 + width)
    edges = np.linspace(left, right, BINS + 1).tolist()
    p5, p50, p95 = (result["percentiles"][name] / MILLION for name in ("p5", "p50", "p95"))
    axes.hist(losses, edges, color=colour, alpha=0.75, edgecolor="white", label="simulated portfolios")
    points = np.linspace(left, right, 400)
    heights = [theory.pdf(point) * losses.size * (right - left) / BINS for point in points]
    axes.plot(points, heights, color=INK, lw=1.4, label="binomial theory")
    axes.axvline(p50, color=INK, lw=1.2, ls="--", label="median")
    axes.axvspan(p5, p95, color=colour, alpha=0.13, lw=0, label="5th to 95th percentile")
    axes.set(xlim=(left, right), ylabel="portfolios")
    axes.yaxis.set_major_locator(MaxNLocator(3, integer=True))
    _dress(axes, ticks=7)


def _relative_sd(result: Result) -> float:
    """Standard deviation over mean of the number of defaults, which is binomial (loans, PD)."""
    return float(np.sqrt((1 - result["pd"]) / (result["loans"] * result["pd"])))


def _theory(result: Result) -> NormalDist:
    """The loss of independent loans, in millions: a binomial number of defaults, for many loans a normal."""
    mean = result["expected_credit_loss"] / MILLION * result["pd"] / result["default_rate"]
    return NormalDist(mean, mean * _relative_sd(result))


def _dress(axes: Axes, ticks: int) -> None:
    axes.spines[["left", "right", "top"]].set_visible(False)
    axes.spines["bottom"].set_color(FAINT)
    axes.tick_params(color=FAINT, labelcolor=INK, labelsize=9)
    axes.yaxis.label.set_color(INK)
    axes.xaxis.set_major_locator(MaxNLocator(ticks))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _spaced(value)))


def _spaced(number: float) -> str:
    """Digits in groups of three, as in 12 000 000."""
    return f"{number:,.0f}".replace(",", " ")
