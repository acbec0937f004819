"""The plots of docs/explanations/benchmarks.md, each for a light and a dark page.

The same figures give the same bytes: no date, no random names. Text stays text, so it can be read and searched. The
colours are those of Okabe and Ito, which the colour-blind can distinguish; each line has a marker of its own too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from benchmark.page import SPREADS
from benchmark.results import Run


@dataclass(frozen=True)
class Theme:
    """The colours of a page; the dark one's are Furo's."""

    background: str
    ink: str
    grid: str
    lines: tuple[str, ...]


THEMES = {
    "light": Theme("#ffffff", "#333333", "#dddddd", ("#0072B2", "#D55E00", "#009E73", "#8a4a77", "#7a5c00", "#000000")),
    "dark": Theme("#131416", "#cfd0d0", "#3a3d42", ("#56B4E9", "#E69F00", "#2fbf93", "#CC79A7", "#F0E442", "#ffffff")),
}
_MARKERS = "osD^vX"
_SETTINGS: dict[Any, Any] = {
    "svg.hashsalt": "airflow-provider-adjust",
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 11.0,
    "lines.linewidth": 2.0,
    "lines.markersize": 6.0,
}
#: Inches. So wide that on a phone, 390 pixels wide, the text is still as large as a page's small print.
_SIZE = (4.8, 3.9)
#: The senders that are drawn; those that send one by one would only lengthen the axis.
_DRAWN = {
    "bare libcurl, the limit": "bare libcurl",
    "provider, libcurl": "provider, libcurl",
    "provider, libcurl, ledger": "provider, libcurl, ledger",
    "provider, requests": "provider, requests",
    "requests, thread pool": "requests, thread pool",
}


class Plot:
    """One picture: axes in the theme's colours, lines with a marker each, and the legend above."""

    def __init__(self, theme: Theme, across: str, up: str) -> None:
        self.figure = Figure(figsize=_SIZE, layout="constrained", facecolor=theme.background)
        self.axes: Axes = self.figure.add_subplot(facecolor=theme.background)
        self._theme = theme
        self._drawn = 0
        self.axes.set_xlabel(across, color=theme.ink)
        self.axes.set_ylabel(up, color=theme.ink)
        self.axes.tick_params(which="both", color=theme.grid, labelcolor=theme.ink)
        self.axes.grid(color=theme.grid)
        self.axes.set_axisbelow(True)
        for side in ("top", "right"):
            self.axes.spines[side].set_visible(False)
        for side in ("left", "bottom"):
            self.axes.spines[side].set_color(theme.grid)

    def line(self, points: list[tuple[float, float]], name: str, *, markers: bool = True) -> None:
        colours = self._theme.lines
        self.axes.plot(
            *zip(*points, strict=True),
            label=name,
            color=colours[self._drawn % len(colours)],
            marker=_MARKERS[self._drawn % len(_MARKERS)] if markers else None,
            linestyle="-" if self._drawn % 2 == 0 or markers else "--",
        )
        self._drawn += 1

    def only_ticks(self, values: list[float]) -> None:
        """Mark these values along the x axis, and no others."""
        self.axes.set_xticks(values, [f"{value:,.0f}" for value in values])
        self.axes.xaxis.set_minor_locator(NullLocator())

    def rates(self) -> None:
        """Make the y axis one of ratios, with marks at 1, 2 and 5 times each power of ten."""
        self.axes.set_yscale("log")
        self.axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        self.axes.yaxis.set_minor_locator(NullLocator())
        self.axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))

    def save(self, path: Path) -> None:
        self.figure.legend(
            loc="outside upper left",
            ncols=2,
            frameon=False,
            labelcolor=self._theme.ink,
            fontsize=9.5,
            columnspacing=1.0,
        )
        self.figure.savefig(path, format="svg", facecolor=self._theme.background, metadata={"Date": None})


def _rates(plot: Plot, run: Run, key: str, matches: Callable[[dict[str, Any]], bool]) -> None:
    """A line of events a second for each sender, against one of its figures."""
    values = set()
    for sender, name in _DRAWN.items():
        points = sorted((each[key], each["rate"]) for each in run.figures if each["sender"] == sender and matches(each))
        values |= {value for value, _ in points}
        if points:
            plot.line(points, name)
    plot.rates()
    plot.only_ticks(sorted(values))


def latency(run: Run, theme: Theme) -> Plot:
    plot = Plot(theme, "time to an answer, ms (256 in flight)", "events a second")
    plot.axes.set_xscale("symlog", linthresh=10)
    _rates(plot, run, "delay_ms", lambda each: bool(each["in_flight"] == 256))
    return plot


def in_flight(run: Run, theme: Theme) -> Plot:
    plot = Plot(theme, "requests in flight (answers after 50 ms)", "events a second")
    plot.axes.set_xscale("log", base=2)
    _rates(plot, run, "in_flight", lambda each: bool(each["delay_ms"] == 50))
    return plot


def memory(run: Run, theme: Theme) -> Plot:
    plot = Plot(theme, "events", "peak memory of the sender, MB")
    plot.axes.set_xscale("log")
    for devices, name in SPREADS.items():
        points = [(each["events"], each["peak_mb"]) for each in run.figures if each["devices"] == devices]
        if points:
            plot.line(sorted(points), f"devices: {name}")
    plot.axes.set_ylim(bottom=0, top=1.25 * max(each["peak_mb"] for each in run.figures))
    plot.only_ticks(sorted({each["events"] for each in run.figures}))
    return plot


def refusals(run: Run, theme: Theme) -> Plot | None:
    curve = next((each for each in run.figures if "limit" in each), None)
    if curve is None:
        return None
    plot = Plot(theme, "seconds since the start", "requests a second")
    for key, name in (("taken", "taken"), ("refused", "refused with 429")):
        plot.line([(second, value) for second, value in enumerate(curve[key], start=1)], name, markers=False)
    plot.axes.axhline(curve["limit"], color=theme.ink, linestyle=":", linewidth=1.2, label="what the server takes")
    plot.axes.set_ylim(bottom=0)
    return plot


#: By the picture's name: the part that has its figures, and how it is drawn.
PICTURES: dict[str, tuple[str, Callable[[Run, Theme], Plot | None]]] = {
    "latency": ("senders", latency),
    "in-flight": ("senders", in_flight),
    "memory": ("scale", memory),
    "refusals": ("refusals", refusals),
}


def draw(runs: dict[str, Run], folder: Path) -> None:
    """Draw every picture that these runs have figures for."""
    with mpl.rc_context(_SETTINGS):
        for name, (part, drawn) in PICTURES.items():
            for theme_name, theme in THEMES.items():
                if part in runs and (plot := drawn(runs[part], theme)):
                    plot.save(folder / f"bench-{name}-{theme_name}.svg")
