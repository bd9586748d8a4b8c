"""Writes a page with plots and tables of what was measured, for the site: report.py BENCH.json ZOO.json FOLDER

A file that is not there is left out: one is by `./dev bench`, the other by `./dev zoo`.
"""

from __future__ import annotations

import statistics
import sys
from pathlib import Path
from typing import Any, Literal, NamedTuple

from ratios import MODELS, Benchmark, Results, compare, read, wall_clock

TORCH, BY_HAND, LIBTORCH, NATIVE = "torch", "C functions by hand", "aoti on libtorch", "aoti without libtorch"
# What runs `add`: the last part of the benchmark's name, with its label and its series.
SUBJECTS = {
    "torch_loader": ("AOTIModelPackageLoader", TORCH),
    "torch_runner": ("the loader's runner", TORCH),
    "raw_container": ("…ContainerRun", BY_HAND),
    "raw_single_threaded": ("…RunSingleThreaded", BY_HAND),
    "aoti_container": ("shared access", LIBTORCH),
    "aoti_vector": ("exclusive access, vector", LIBTORCH),
    "aoti_into": ("exclusive access, run_into", LIBTORCH),
    "aoti_any": ("AnyRunner, run_into", LIBTORCH),
    "aoti": ("exclusive access", LIBTORCH),
    "aoti_unchecked": ("exclusive access, unchecked", LIBTORCH),
    "aoti_native": ("Runner<Cpu, Native>", NATIVE),
    "aoti_bound": ("BoundRun", NATIVE),
    "aoti_arrayref": ("ArrayRefModel", NATIVE),
}
# The runtimes of the zoo: the third part of a benchmark's name, with its label.
RUNTIMES = {"torch": "torch's loader", "native": "without libtorch", "onnxruntime": "ONNX Runtime", "openvino": "OpenVINO"}
PEERS = ("onnxruntime", "openvino")
# What is opened, and its label.
OPENED = {"add": "add", "mlp": "a small network", "vit": "ViT-B/16", "vit_beside": "ViT-B/16, weights beside"}
# The colours of each series, on a light and on a dark page: close to those of Okabe and Ito, which colour-blind people can
# tell apart.
COLOURS = {
    TORCH: ("#d55e00", "#d9701a"),
    BY_HAND: ("#57606a", "#5f6770"),
    LIBTORCH: ("#0072b2", "#2a7fc4"),
    NATIVE: ("#009e73", "#2fb98d"),
}
INK = ("#24292f", "#e1e4e8")


class Mark(NamedTuple):
    """A bar or a dot at the median, a line from the first quartile to the third, and a note beside them."""

    row: str
    series: str
    quartiles: list[float]
    note: str


class Plot(NamedTuple):
    """Bars from zero; or dots, on a logarithmic axis or beside a line at 1."""

    name: str
    title: str
    text: str
    axis: str
    form: Literal["bars", "log", "ratio"]
    marks: list[Mark]


def number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 99.95 else f"{value:#.3g}"


def time(benchmark: Benchmark) -> str:
    return f"{number(benchmark.median)}\N{NO-BREAK SPACE}{benchmark.unit}"


def quartiles(times: list[float]) -> list[float]:
    return statistics.quantiles(times, n=4, method="inclusive") if len(times) > 1 else times * 3


def mark(row: str, series: str, benchmark: Benchmark, torchs: Benchmark | None, divisor: float = 1) -> Mark:
    """A benchmark, whose note ends with the ratio to torch's loader."""
    note = time(benchmark)
    if torchs and torchs is not benchmark:
        note += f", {number(benchmark.median / torchs.median)}"
    return Mark(row, series, [value / divisor for value in quartiles(benchmark.times)], note)


def plots(benchmarks: dict[str, Benchmark]) -> list[Plot]:
    """The plots for which something was measured."""

    def unit(prefix: str) -> str:
        return next((benchmark.unit for name, benchmark in benchmarks.items() if name.startswith(prefix)), "")

    torchs = benchmarks.get("run/add/torch_loader")
    add = [
        mark(*subject, benchmarks[f"run/add/{name}"], torchs)
        for name, subject in SUBJECTS.items()
        if f"run/add/{name}" in benchmarks
    ]
    models, opened = [], []
    for model, label in MODELS.items():
        torchs, ours = (benchmarks.get(f"run/{model}/{name}") for name in ("torch_loader", "aoti_native"))
        if torchs and ours:
            models += [mark(label, series, one, torchs, torchs.median) for series, one in ((TORCH, torchs), (NATIVE, ours))]
    for model, label in OPENED.items():
        torchs, ours = (benchmarks.get(f"load/{model}/{name}") for name in ("torch_loader", "aoti"))
        opened += [mark(label, series, one, torchs) for series, one in ((TORCH, torchs), (LIBTORCH, ours)) if one]
    found = [
        Plot(
            "run_add",
            "One run of `add`",
            "`add` adds two vectors of eight floats, so a run of it is all overhead.",
            f"time in {unit('run/add/')}",
            "bars",
            sorted(add, key=lambda mark: -mark.quartiles[1]),
        ),
        Plot(
            "models",
            "Real models",
            "One run on one thread, by torch's loader and on `NativeOnednn`.",
            "ratio to torch's loader",
            "ratio",
            models,
        ),
        Plot("opening", "Opening a package", "The axis is logarithmic.", f"time in {unit('load/')}", "log", opened),
    ]
    return [plot for plot in found if plot.marks]


class Runs(NamedTuple):
    """A model of the zoo on a number of threads: the times of each runtime, turn by turn."""

    model: str
    threads: int
    times: dict[str, Benchmark]

    @property
    def peer(self) -> str | None:
        """The faster of the other runtimes."""
        found = [name for name in PEERS if name in self.times]
        return min(found, key=lambda name: self.times[name].median, default=None)

    def ratios(self, runtime: str) -> list[float]:
        """A runtime's times to those of the better peer, in the same turns."""
        return [a / b for a, b in zip(self.times[runtime].times, self.times[self.peer].times)]

    def to_peer(self, runtime: str) -> float | None:
        """The median of those ratios."""
        return statistics.median(self.ratios(runtime)) if self.peer and runtime in self.times else None


def read_zoo(results: Results) -> list[Runs]:
    found: dict[tuple[str, int], Runs] = {}
    for name, benchmark in results.benchmarks.items():
        _, model, runtime, threads = name.split("/")
        key = model, int(threads)
        found.setdefault(key, Runs(*key, {})).times[runtime] = benchmark
    return sorted(found.values(), key=lambda runs: (runs.threads, runs.model))


def zoo_plots(zoo: list[Runs]) -> list[Plot]:
    def marks(threads: int) -> list[Mark]:
        found = []
        for runs in zoo:
            for series, name in ((TORCH, "torch"), (NATIVE, "native")):
                if runs.threads == threads and runs.peer and name in runs.times:
                    ratios = quartiles(runs.ratios(name))
                    found.append(Mark(runs.model, series, ratios, f"{time(runs.times[name])}, {number(ratios[1])}"))
        return found

    return [
        Plot(
            f"zoo_{threads}",
            f"Models beside other runtimes, {threads} thread{'s' if threads > 1 else ''}",
            "One run, to that of ONNX Runtime or OpenVINO, whichever is faster.",
            "ratio to the better of ONNX Runtime and OpenVINO",
            "ratio",
            marks(threads),
        )
        for threads in sorted({runs.threads for runs in zoo})
    ]


def zoo_table(zoo: list[Runs], failed: dict[str, str]) -> list[str]:
    """The medians, and the ratio of `NativeOnednn` to the better peer."""
    rows = []
    for threads in sorted({runs.threads for runs in zoo}):
        ratios = []
        for runs in (runs for runs in zoo if runs.threads == threads):
            times = [time(runs.times[name]) if name in runs.times else "–" for name in RUNTIMES]
            ratio = runs.to_peer("native")
            ratios += [ratio] if ratio else []
            rows.append([runs.model, str(threads), *times, number(ratio) if ratio else "–"])
        if ratios:
            rows.append(["geometric mean", str(threads), "", "", "", "", number(statistics.geometric_mean(ratios))])
    columns = f"model, threads, {', '.join(RUNTIMES.values())}, without libtorch to the better peer"
    return table(columns, rows) + ["", *(f"- `{name}`: {why}" for name, why in failed.items())]


def draw(plot: Plot, folder: Path) -> None:
    """Draws a plot for a light page and for a dark one."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from matplotlib.ticker import LogLocator, NullLocator

    rows = list(dict.fromkeys(mark.row for mark in plot.marks))
    series = [name for name in COLOURS if any(mark.series == name for mark in plot.marks)]
    bars = plot.form == "bars"
    beside = 1 if bars else len(series)  # marks of a row
    shapes = {name: "s" if bars else "o" if name == TORCH else "D" for name in series}
    for dark, theme in enumerate(("light", "dark")):
        inked = ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color")
        with rc_context({"svg.fonttype": "none", "font.size": 10, **dict.fromkeys(inked, INK[dark])}):
            figure = Figure(figsize=(7.2, 1 + len(rows) * (0.15 + 0.15 * beside)), layout="constrained")
            axes = figure.add_subplot()
            for row, name, (low, middle, high), note in plot.marks:
                y = rows.index(row) + (0.4 * (series.index(name) - (beside - 1) / 2) if beside > 1 else 0)
                if bars:
                    axes.barh(y, middle, color=COLOURS[name][dark])
                else:
                    axes.plot(middle, y, shapes[name], color=COLOURS[name][dark])
                axes.plot([low, high], [y, y], color=INK[dark], linewidth=1)
                end = axes.transData if bars else axes.get_yaxis_transform()
                axes.annotate(note, (high if bars else 1, y), (7, 0), end, textcoords="offset points", va="center")
            if plot.form == "ratio":
                axes.axvline(1, color=INK[dark], linewidth=1, zorder=0)
            if plot.form == "log":
                axes.set_xscale("log")
                axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
                axes.xaxis.set_minor_locator(NullLocator())
            axes.set_yticks(range(len(rows)), rows)
            axes.set_ylim(len(rows) - 0.4, -0.6)
            axes.set_xlabel(plot.axis)
            axes.xaxis.set_major_formatter("{x:g}")
            axes.spines[["top", "right"]].set_visible(False)
            axes.grid(axis="x", color=INK[dark], alpha=0.15)
            axes.set_axisbelow(True)
            figure.legend(
                [Line2D([], [], color=COLOURS[name][dark], marker=shapes[name], linestyle="") for name in series],
                series,
                loc="outside upper left",
                ncols=len(series),
                frameon=False,
                handlelength=1,
            )
            figure.savefig(folder / f"{plot.name}-{theme}.svg", transparent=True)


def table(columns: str, rows: list[list[str]]) -> list[str]:
    names = columns.split(", ")
    return [f"| {' | '.join(row)} |" for row in (names, ["---"] * len(names), *rows)]


def size(count: int) -> str:
    return f"{count / 2**20:g} MiB" if count >= 2**20 else f"{count / 2**10:g} KiB"


def machine(results: Results) -> list[list[str]]:
    """What Google Benchmark tells about the machine; some of it is unknown on some machines."""
    context: dict[str, Any] = results.context
    caches = [f"L{cache['level']} {cache['type'].lower()}: {size(cache['size'])}" for cache in context.get("caches", [])]
    scaling = {True: "on", False: "off", None: "unknown"}[context.get("cpu_scaling_enabled")]
    return [
        ["date", context["date"].replace("T", " ")],
        ["processors", f"{context['num_cpus']}, of {context['mhz_per_cpu']} MHz"],
        ["caches", ", ".join(caches) or "unknown"],
        ["frequency scaling", scaling],
        ["load at the start", ", ".join(f"{load:.2f}" for load in context.get("load_avg", [])) or "unknown"],
        ["build of Google Benchmark", context["library_build_type"]],
        ["repetitions", str(max(len(benchmark.times) for benchmark in results.benchmarks.values()))],
    ]


def page(results: Results | None, zoo: Results | None = None) -> str:
    lines = [
        "# Figures",
        "",
        "`./dev report` wrote this page from runs of `./dev bench` and `./dev zoo`:",
        "[how to repeat them](../../docs/guide/performance.md#repeat-the-measurements). In the plots, each time is the median of",
        "the repetitions, and a thin line spans the quartiles.",
    ]
    return "\n".join([*lines, *(bench_lines(results) if results else []), *(zoo_lines(zoo) if zoo else []), ""])


def images(plots: list[Plot]) -> list[str]:
    lines = []
    for plot in plots:
        alt = f"{plot.title}: ".replace("`", "") + "; ".join(f"{mark.row} ({mark.series}) {mark.note}" for mark in plot.marks)
        lines += ["", f"## {plot.title}", "", plot.text]
        for theme in ("light", "dark"):
            lines += ["", f"```{{image}} {plot.name}-{theme}.svg", f":alt: {alt}", f":class: only-{theme}", "```"]
    return lines


def zoo_lines(results: Results) -> list[str]:
    zoo = read_zoo(results)
    versions = ", ".join(f"{name} {version}" for name, version in results.context["versions"].items())
    return [
        *images(zoo_plots(zoo)),
        "",
        "## The zoo",
        "",
        f"Random weights, float32; packages of `aoti.export` with `updatable=False`; {versions};",
        f"{results.context['date'].replace('T', ' ')}, {results.context['processor']}; the load before a measurement was at most",
        f"{results.context['load']:.1f}. The runtimes took turns, and their outputs were compared with the module's. Ratios are of",
        "the same turns.",
        "",
        *zoo_table(zoo, results.failed),
    ]


def bench_lines(results: Results) -> list[str]:
    benchmarks = results.benchmarks
    comparisons = [(name, found) for name in benchmarks for found in compare(name, benchmarks)]
    lines = [
        "A number after a time is its ratio to torch's loader.",
        "",
        *table("measured on, value", machine(results)),
        *images(plots(benchmarks)),
    ]
    if comparisons:
        held = sum(found.holds for _, found in comparisons)
        lines += ["", "## Aims", "", f"{held} of {len(comparisons)} hold.", ""]
        lines += table(
            "benchmark, median, compared with, ratio or difference, at most, holds",
            [
                [
                    f"`{name}`",
                    time(benchmarks[name]),
                    f"`{reference.split('/')[-1]}`",
                    f"{value:+.1f}\N{NO-BREAK SPACE}{unit}" if unit else number(value),
                    f"{aim}\N{NO-BREAK SPACE}{unit}" if unit else f"{aim:.3g}",
                    "yes" if found.holds else "**no**",
                ]
                for name, found in comparisons
                for reference, value, aim, unit in [found]
            ],
        )
    lines += ["", "## All measurements", ""]
    lines += table(
        "benchmark, median, first quartile, third quartile, clock",
        [
            [
                f"`{name}`",
                time(one),
                *(number(quartiles(one.times)[i]) for i in (0, 2)),
                "wall" if wall_clock(name) else "processor",
            ]
            for name, one in benchmarks.items()
        ],
    )
    if results.failed:
        lines += ["", "## What failed", "", *(f"- `{name}`: {message}" for name, message in results.failed.items())]
    return lines


def main(bench: str, zoo: str, folder: Path) -> None:
    animals = read(zoo) if Path(zoo).exists() else None
    results = read(bench) if Path(bench).exists() or not animals else None
    folder.mkdir(parents=True, exist_ok=True)
    for plot in (plots(results.benchmarks) if results else []) + (zoo_plots(read_zoo(animals)) if animals else []):
        draw(plot, folder)
    (folder / "figures.md").write_text(page(results, animals))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
