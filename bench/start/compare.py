"""The time and memory from the start to the first result: compare.py PACKAGE LIBTORCH NATIVE [LINKED]

The programs run the package with libtorch, without it, and as part of the program. They are started several times in
turns, with the package's directory.
"""

from __future__ import annotations

import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROUNDS = 11


def start(program: Path, folder: Path) -> tuple[float, float]:
    """Milliseconds from the start of the process to its end, and MB of memory."""
    begin = time.perf_counter()
    done = subprocess.run([program, folder, "first"], stdout=subprocess.PIPE, text=True, check=True)
    return 1000 * (time.perf_counter() - begin), float(re.search(r"([\d.]+) MB", done.stdout)[1])


def stripped(program: Path) -> float:
    with tempfile.NamedTemporaryFile() as out:
        subprocess.run(["strip", "-o", out.name, program], check=True)
        return Path(out.name).stat().st_size / 2**20


def libtorch(program: Path) -> float:
    """The size of the libraries that the program loads from libtorch's folder."""
    lines = subprocess.run(["ldd", program], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout
    paths = [Path(path).resolve() for path in re.findall(r"=> (/\S+)", lines)]
    folders = {path.parent for path in paths if path.name.startswith(("libtorch", "libc10"))}
    return sum(path.stat().st_size for path in paths if path.parent in folders) / 2**20


def main(path: Path, programs: list[Path]) -> None:
    runs = [[start(program, path.parent) for program in programs] for _ in range(ROUNDS)]
    columns = [list(zip(*column)) for column in zip(*runs)]
    package = path.stat().st_size / 2**20
    rows = {
        "first result, whole process, ms": [statistics.median(times) for times, _ in columns],
        "  the fastest of %d starts" % ROUNDS: [min(times) for times, _ in columns],
        "memory, MB": [max(memory) for _, memory in columns],
        "program, stripped, MB": [stripped(program) for program in programs],
        "libtorch's libraries, MB": [libtorch(program) for program in programs],
        "the model's package, MB": [package, package, 0.0][: len(programs)],
    }
    print(f"\n{path.stem:31}" + "".join(f"{title:>11}" for title in ("libtorch", "without", "linked")[: len(programs)]))
    for name, numbers in rows.items():
        print(f"{name:31}" + "".join(f"{number:11.1f}" for number in numbers))


if __name__ == "__main__":
    if len(sys.argv) not in (4, 5):
        sys.exit("usage: compare.py PACKAGE LIBTORCH NATIVE [LINKED]")
    main(Path(sys.argv[1]), [Path(program) for program in sys.argv[2:]])
