"""Prints the medians of a benchmark run, and their ratios to the references: ratios.py FILE.json"""

from __future__ import annotations

import json
import statistics
import sys
from collections import defaultdict
from typing import Any, NamedTuple

# Real models, and their labels.
MODELS = {
    "resnet18": "ResNet-18",
    "mobilenet_v3": "MobileNetV3",
    "vit": "ViT-B/16",
    "bert": "BERT, three layers",
    "llama": "Llama, three layers",
    "lstm": "LSTM",
}
# The references of each benchmark, and the largest ratio allowed.
LIMITS = {
    "run/add/aoti_unchecked": [("run/add/raw_single_threaded", 1.05)],
    "run/add/aoti": [("run/add/raw_single_threaded", 1.10), ("run/add/torch_loader", 0.60)],
    "run/add/aoti_container": [("run/add/raw_container", 1.05)],
    "run/add/aoti_native": [("run/add/torch_loader", 0.12)],
    "run/add/aoti_bound": [("run/add/torch_loader", 0.10)],
    "run/add/aoti_arrayref": [("run/add/torch_loader", 0.06)],
    "run/add/aoti_linked": [("run/add/torch_loader", 0.04)],
    "run/mlp/aoti_linked": [("run/mlp/torch_loader", 0.025)],
    "container/empty/aoti": [("container/empty/torch", 0.5)],
    "run/mlp/aoti_native": [("run/mlp/torch_loader", 0.05)],
    "run/mlp/aoti_bound": [("run/mlp/torch_loader", 0.05)],
    **{f"run/{model}/aoti_native": [(f"run/{model}/torch_loader", 1.05)] for model in MODELS},
    # Half the time per run is twice the runs.
    "run/mlp/throughput/real_time/threads:2": [("run/mlp/throughput/real_time/threads:1", 1 / 1.9)],
    "load/vit/aoti": [("load/vit/torch_loader", 0.70)],
    "load/add/aoti": [("load/add/torch_loader", 1.00)],
    "load/mlp/aoti": [("load/mlp/torch_loader", 1.00)],
}
# The reference of each benchmark that is compared by difference, and the largest difference allowed, in nanoseconds.
DIFFERENCES = {
    "run/add/aoti_any": ("run/add/aoti_into", 5),
    **{f"check/8_{relations}": ("check/no_relation", 8 * 3) for relations in ("products", "remainders", "comparisons")},
}


class Benchmark(NamedTuple):
    """The times of its repetitions."""

    times: list[float]
    unit: str

    @property
    def median(self) -> float:
        return statistics.median(self.times)


class Results(NamedTuple):
    """A run of Google Benchmark: the machine, what was measured, and the messages of what failed."""

    context: dict[str, Any]
    benchmarks: dict[str, Benchmark]
    failed: dict[str, str]


class Comparison(NamedTuple):
    """A ratio to a reference or, with a unit, a difference from it; and the largest allowed value."""

    reference: str
    value: float
    aim: float
    unit: str = ""

    @property
    def holds(self) -> bool:
        return self.value <= self.aim


def read(path: str) -> Results:
    """Reads the JSON of Google Benchmark; exits if there is none or nothing was measured."""
    try:
        with open(path) as file:
            found = json.load(file)
        context, measured = found["context"], found["benchmarks"]
    except (OSError, ValueError, KeyError):
        sys.exit(f"{path} cannot be read as results of Google Benchmark: `./dev bench --json {path}` writes it.")
    runs, failed = defaultdict(list), {}
    for run in measured:
        name = run["run_name"]
        if "error_occurred" in run:
            failed[name] = run["error_message"]
        elif run["run_type"] == "iteration":
            runs[name].append(run)
    if not runs:
        sys.exit(f"{path} holds no measurements: repeat `./dev bench`, without a filter or with one that matches.")
    benchmarks = {
        name: Benchmark([run["real_time" if wall_clock(name) else "cpu_time"] for run in same], same[0]["time_unit"])
        for name, same in sorted(runs.items())
    }
    return Results(context, benchmarks, failed)


def wall_clock(name: str) -> bool:
    """Whether wall-clock time counts, not CPU time."""
    return name.startswith("load/") or "/real_time" in name


def compare(name: str, benchmarks: dict[str, Benchmark]) -> list[Comparison]:
    """Compares a benchmark with each of its references that was measured."""
    time, unit = benchmarks[name].median, benchmarks[name].unit
    found = [
        Comparison(reference, time / benchmarks[reference].median, limit)
        for reference, limit in LIMITS.get(name, [])
        if reference in benchmarks
    ]
    reference, limit = DIFFERENCES.get(name, ("", 0))
    if reference in benchmarks:
        found.append(Comparison(reference, time - benchmarks[reference].median, limit, unit))
    return found


def main(path: str) -> None:
    results = read(path)
    for name, benchmark in results.benchmarks.items():
        print(f"{name:32} {benchmark.median:10.4g} {benchmark.unit}")
        for reference, value, aim, unit in compare(name, results.benchmarks):
            if unit:
                print(f"{'':34}{value:+5.1f} {unit} to {reference}, at most {aim} is the aim")
            else:
                print(f"{'':34}{value:5.2f} of {reference}, at most {aim:.2f} is the aim")
    for name, message in results.failed.items():
        print(f"{name:32} failed: {message}")


if __name__ == "__main__":
    main(sys.argv[1])
