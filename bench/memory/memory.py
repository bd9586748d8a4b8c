"""The time and memory that a large model takes with this library and with torch's loader: memory.py HOLDER MODELS_DIR

Prints a Markdown table. `private` is anonymous memory, which each process has for itself; `shared` is pages of files,
which the system holds once however many processes use them. The memory of a process with libtorch and no model is
subtracted. Figures are for all processes together, except the time, which is the mean per opening.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
from pathlib import Path

HOLDER, MODELS = sys.argv[1], Path(sys.argv[2])


def memory(pid: int) -> tuple[float, float]:
    """Anonymous memory and a proportional share of file pages, in MB."""
    fields = {}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
        name, value, _ = line.split()
        fields[name.rstrip(":")] = int(value) / 1024 * 1.048576
    return fields["Pss_Anon"], fields["Pss_File"] + fields["Pss_Shmem"]


def measure(who: str, package: Path, processes: int, runners: int) -> tuple[float, float, float]:
    """Milliseconds per opening, private and shared MB, with all processes alive at once."""
    holders = []
    times: list[float] = []
    for _ in range(processes):
        holder = subprocess.Popen(
            [HOLDER, who, package, str(runners)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert holder.stdout is not None
        times += map(float, holder.stdout.readline().split())
        holders.append(holder)
    sizes = [memory(holder.pid) for holder in holders]
    for holder in holders:
        holder.communicate("\n")
    return statistics.mean(times or [0]), sum(size[0] for size in sizes), sum(size[1] for size in sizes)


def main() -> None:
    print("| package | opened by | | ms | private MB | shared MB |\n|---|---|---|---|---|---|")
    for name, what in [("vit_beside", "weights beside the image"), ("vit", "weights in the image")]:
        package = MODELS / f"{name}.pt2"
        for processes, runners in [(1, 1), (4, 1), (1, 4)]:
            _, *nothing = measure("aoti", package, processes, 0)
            for who in ("aoti", "torch"):
                time, *sizes = measure(who, package, processes, runners)
                private, shared = (size - base for size, base in zip(sizes, nothing))
                case = f"{processes} process{'es' * (processes > 1)}, {runners} runner{'s' * (runners > 1)} each"
                print(f"| {what} | {who} | {case} | {time:.1f} | {private:.0f} | {shared:.0f} |", flush=True)


if __name__ == "__main__":
    main()
