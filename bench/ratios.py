"""Prints the medians of a benchmark run, and their ratios to what they are compared with: ratios.py FILE.json"""

import json
import sys
from collections import defaultdict
from statistics import median

# What each benchmark is compared with, and the most that the ratio may be.
LIMITS = {
    "run/add/aoti_unchecked": [("run/add/raw_single_threaded", 1.05)],
    "run/add/aoti": [("run/add/raw_single_threaded", 1.10), ("run/add/torch_loader", 0.60)],
    "run/add/aoti_container": [("run/add/raw_container", 1.05)],
    "run/add/aoti_native": [("run/add/torch_loader", 0.12)],
    "run/add/aoti_bound": [("run/add/torch_loader", 0.10)],
    "run/add/aoti_arrayref": [("run/add/torch_loader", 0.06)],
    "run/mlp/aoti_native": [("run/mlp/torch_loader", 0.05)],
    "run/mlp/aoti_bound": [("run/mlp/torch_loader", 0.05)],
    **{
        f"run/{model}/aoti_native": [(f"run/{model}/torch_loader", 1.05)]
        for model in ("resnet18", "mobilenet_v3", "vit", "bert", "llama", "lstm")
    },
    # Half the time for a run is twice the runs.
    "run/mlp/throughput/real_time/threads:2": [("run/mlp/throughput/real_time/threads:1", 1 / 1.9)],
    "load/vit/aoti": [("load/vit/torch_loader", 0.70)],
    "load/add/aoti": [("load/add/torch_loader", 1.00)],
    "load/mlp/aoti": [("load/mlp/torch_loader", 1.00)],
}
# What each benchmark is compared with by the difference, and the most nanoseconds that it may be.
DIFFERENCES = {
    "run/add/aoti_any": ("run/add/aoti_into", 5),
    **{f"check/8_{relations}": ("check/no_relation", 8 * 3) for relations in ("products", "remainders", "comparisons")},
}


def main(path: str) -> None:
    times = defaultdict(list)
    with open(path) as file:
        for run in json.load(file)["benchmarks"]:
            if run["run_type"] == "iteration" and "error_occurred" not in run:
                name = run["run_name"]
                clock = "real_time" if name.startswith("load/") or "/real_time" in name else "cpu_time"
                times[name].append((run[clock], run["time_unit"]))
    medians = {name: (median(time for time, _ in runs), runs[0][1]) for name, runs in times.items()}
    for name, (time, unit) in sorted(medians.items()):
        print(f"{name:32} {time:10.4g} {unit}")
        for reference, limit in LIMITS.get(name, []):
            if reference in medians:
                ratio = time / medians[reference][0]
                print(f"{'':34}{ratio:5.2f} of {reference}, at most {limit:.2f} is the aim")
        reference, limit = DIFFERENCES.get(name, ("", 0))
        if reference in medians:
            difference = time - medians[reference][0]
            print(f"{'':34}{difference:+5.1f} {unit} to {reference}, at most {limit} is the aim")


if __name__ == "__main__":
    main(sys.argv[1])
