"""The results as one picture: a panel per measurement, Penstock in colour.

Bars begin at zero; where the figures lie too far apart for that, dots on a logarithmic scale.
"""

from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from peers.markdown import ranked
from peers.measurement import Measurement
from peers.results import Results, column, median

PENSTOCK, OTHERS = "#0b7285", "#adb5bd"
PER_ROW = 2


def draw(results: Results, measurements: Sequence[Measurement], path: Path) -> None:
    """Write a PNG of all measurements that have a chart and figures."""
    shown = [each for each in measurements if each.chart and results.rounds.get(each.name)]
    if not shown:
        return
    rows = -(-len(shown) // PER_ROW)
    figure, panels = plt.subplots(
        rows, PER_ROW, figsize=(13, 4.2 * rows), layout="constrained", squeeze=False
    )
    for panel in panels.flat[len(shown) :]:
        panel.axis("off")
    for panel, measurement in zip(panels.flat, shown, strict=False):
        _panel(panel, results, measurement)
    figure.savefig(path, dpi=130)
    plt.close(figure)


def _panel(panel: Axes, results: Results, measurement: Measurement) -> None:
    rounds = results.rounds[measurement.name]
    ranking = measurement.columns[0]
    names = ranked(rounds, measurement)[::-1]
    middles = [median(rounds[name], ranking.key) for name in names]
    colours = [PENSTOCK if name == "penstock" else OTHERS for name in names]
    if measurement.log_scale:
        panel.scatter(middles, names, color=colours, s=60, zorder=3)
        panel.set_xscale("log")
        panel.grid(axis="x", color="#e9ecef")
    else:
        panel.barh(names, middles, color=colours)
    _label(panel, names, middles, ranking.digits)
    _spread(panel, names, [column(rounds[name], ranking.key) for name in names])
    panel.margins(x=0.2)
    panel.set_title(measurement.title, loc="left", fontsize=10)
    panel.set_xlabel(ranking.title, fontsize=9)
    panel.spines[["top", "right"]].set_visible(False)


def _label(panel: Axes, names: Sequence[str], middles: Sequence[float], digits: int) -> None:
    for name, middle in zip(names, middles, strict=True):
        text = f"{middle:,.{digits}f}"
        panel.annotate(text, (middle, name), (8, 0), textcoords="offset points", va="center", fontsize=8)


def _spread(panel: Axes, names: Sequence[str], values: Sequence[Sequence[float]]) -> None:
    lows, highs = [min(each) for each in values], [max(each) for each in values]
    panel.hlines(names, lows, highs, color="#343a40", linewidth=1)
