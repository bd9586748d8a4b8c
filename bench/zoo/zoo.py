"""Measures the models of the zoo beside other runtimes: zoo.py FOLDER NATIVE [--bf16] [MODEL …]

For each model, and one and two threads: the package that aoti.export writes with updatable=False, since the others do not
change weights either, on torch's loader and on the native runtime with oneDNN (NATIVE is the program for it), and the model
as ONNX on ONNX Runtime and on OpenVINO. The runtimes take turns. What has been measured is kept until the sources or the
versions change. Writes FOLDER/zoo.json in the form of Google Benchmark, with names zoo/MODEL/RUNTIME/THREADS.

With --bf16, the same in bfloat16, where a runtime has that: below FOLDER/bf16.
"""

from __future__ import annotations

import datetime
import hashlib
import importlib.metadata
import json
import os
import subprocess
import sys
import traceback
from pathlib import Path
from typing import Any

import numpy as np

from models import MODELS, make

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(HERE.parent))

from ratios import Benchmark  # noqa: E402
from report import RUNTIMES, Runs, number, time  # noqa: E402

THREADS = (1, 2)
TURNS, SECONDS = 15, 0.15  # of each runtime, and about how long one takes
# Relative to the largest element of an output: rounding errors add up over many layers.
TOLERANCE = {"float32": 2e-3, "bf16": 5e-2}


def state(*folders: str) -> str:
    """Changes when what was made or measured is out of date."""
    kinds = (".py", ".hpp", ".inc", ".cpp")
    files = sorted(file for folder in folders for file in (ROOT / folder).rglob("*") if file.suffix in kinds)
    return hashlib.sha256(b"".join(file.read_bytes() for file in files) + repr(versions()).encode()).hexdigest()


def versions() -> dict[str, str]:
    return {name: importlib.metadata.version(name) for name in ("torch", "onnxruntime", "openvino")}


def make_files(name: str, folder: Path, precision: str) -> None:
    """The model's inputs, its outputs in eager mode, a package for each number of threads, and an ONNX file."""
    import torch

    sys.path.insert(0, str(ROOT / "python"))
    import aoti

    with torch.inference_mode():
        module, args = make(name)
        expected = module(*args)
    outputs = [expected] if isinstance(expected, torch.Tensor) else list(expected)
    np.savez(folder / "inputs.npz", *(tensor.numpy() for tensor in args))
    (folder / "inputs.bin").write_bytes(b"".join(tensor.numpy().tobytes() for tensor in args))
    (folder / "expected.bin").write_bytes(b"".join(tensor.contiguous().numpy().tobytes() for tensor in outputs))
    for threads in THREADS:
        module, args = make(name)
        model, narrow = aoti.Model(module, args), "bf16" if precision == "bf16" else None
        aoti.export(folder / f"{threads}.pt2", model, threads=threads, updatable=False, precision=narrow)
    module, args = make(name)
    # The older exporter keeps recurrent layers as such; others it may not know.
    failures = []
    for dynamo in (False, True) if name in ("lstm", "gru") else (True, False):
        try:
            torch.onnx.export(module, args, str(folder / "model.onnx"), dynamo=dynamo, external_data=False)
            return
        except Exception:
            failures.append(traceback.format_exc())
    (folder / "onnx.failed").write_text("\n".join(failures))


def make_once(name: str, folder: Path, precision: str, wanted: str) -> None:
    """Makes a model's files in a process of their own, unless they are of this state."""
    folder.mkdir(parents=True, exist_ok=True)
    stamp = folder / "made"
    if stamp.exists() and stamp.read_text() == wanted:
        return
    for file in folder.iterdir():
        file.unlink()
    subprocess.run([sys.executable, __file__, "make", name, str(folder), precision], check=True)
    stamp.write_text(wanted)


class Worker:
    """A process with a model on one runtime."""

    def __init__(self, command: list[str], threads: int) -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        self.answer()

    def answer(self) -> str:
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"ended with {self.process.wait()}")
        return line.strip()

    def seconds(self, count: int) -> float:
        """A run takes this long, of `count` runs."""
        self.process.stdin.write(f"{count}\n")
        self.process.stdin.flush()
        return float(self.answer()) / count

    def stop(self) -> None:
        self.process.stdin.close()
        self.process.wait()


def differs(found: Path, expected: Path, precision: str) -> str:
    """How an output differs from the module's in float32, or an empty string."""
    a, b = (np.fromfile(path, np.float32) for path in (found, expected))
    if a.size != b.size:
        return f"{a.size} elements, expected {b.size}"
    error = float(np.abs(a - b).max() / np.abs(b).max())
    return "" if error <= TOLERANCE[precision] else f"differs by {error:.2g} of the largest element"


def measure(folder: Path, native: str, threads: int, precision: str) -> dict[str, Any]:
    """The milliseconds of a run in each runtime's turns, or why there are none."""
    package, onnx = folder / f"{threads}.pt2", folder / "model.onnx"
    workers: dict[str, Worker] = {}
    failed: dict[str, str] = {}
    load = os.getloadavg()[0]
    try:
        for runtime in RUNTIMES:
            outputs = folder / f"{runtime}.bin"
            if runtime == "native":
                command = [native, str(package), str(folder / "inputs.bin"), str(outputs)]
            else:
                path = package if runtime == "torch" else onnx
                if (precision, runtime) == ("bf16", "onnxruntime"):
                    failed[runtime] = "not measured: on x86 it does not compute in bfloat16"
                    continue
                if not path.exists():
                    failed[runtime] = "the model cannot be exported to ONNX"
                    continue
                given = (runtime, path, folder / "inputs.npz", outputs, threads, precision)
                command = [sys.executable, str(HERE / "worker.py"), *map(str, given)]
            try:
                worker = Worker(command, threads)
            except RuntimeError as error:
                failed[runtime] = str(error)
                continue
            if difference := differs(outputs, folder / "expected.bin", precision):
                failed[runtime] = difference
                worker.stop()
                continue
            workers[runtime] = worker
        counts = {}
        for runtime, worker in workers.items():
            worker.seconds(2)
            counts[runtime] = max(1, round(SECONDS / worker.seconds(3)))
        turns: dict[str, list[float]] = {runtime: [] for runtime in workers}
        order = list(workers)
        for turn in range(TURNS if order else 0):
            for runtime in order[turn % len(order) :] + order[: turn % len(order)]:
                workers[runtime].seconds(1)  # by then, the other runtimes' threads no longer spin
                turns[runtime].append(1e3 * workers[runtime].seconds(counts[runtime]))
    finally:
        for worker in workers.values():
            worker.stop()
    return {"turns": turns, "failed": failed, "load": load}


def processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{len(names)} of {names[0]}" if names else "an unknown processor"


def line(name: str, threads: int, result: dict[str, Any]) -> str:
    runs = Runs(name, threads, {runtime: Benchmark(turns, "ms") for runtime, turns in result["turns"].items()})
    text = f"{name:13} {threads}  " + "  ".join(f"{runtime} {time(one)}" for runtime, one in runs.times.items())
    if (ratio := runs.to_peer("native")) is not None:
        text += f"  native to the better peer {number(ratio)}"
    return text + "".join(f"\n{'':15} {runtime}: {why}" for runtime, why in result["failed"].items())


def benchmarks(name: str, threads: int, result: dict[str, Any]) -> list[dict[str, Any]]:
    """In the form of Google Benchmark."""

    def entry(runtime: str, **more: Any) -> dict[str, Any]:
        full = f"zoo/{name}/{runtime}/{threads}"
        return {"name": full, "run_name": full, "run_type": "iteration", "threads": threads, **more}

    return [
        entry(runtime, repetition_index=i, real_time=taken, cpu_time=taken, time_unit="ms")
        for runtime, turns in result["turns"].items()
        for i, taken in enumerate(turns)
    ] + [entry(runtime, error_occurred=True, error_message=why) for runtime, why in result["failed"].items()]


def main(folder: Path, native: str, names: list[str], precision: str) -> None:
    unknown = set(names) - set(MODELS)
    if unknown:
        sys.exit(f"There is no model called {', '.join(sorted(unknown))}: expected some of {', '.join(MODELS)}.")
    made, measured = state("python/aoti", "bench/zoo"), state("python/aoti", "bench/zoo", "include")
    results: dict[tuple[str, int], dict[str, Any]] = {}
    for name in MODELS:
        files = folder / name
        asked = not names or name in names
        if asked:
            make_once(name, files, precision, made)
        for threads in THREADS:
            kept = files / f"{threads}.json"
            result = json.loads(kept.read_text()) if kept.exists() else {}
            if asked and result.get("state") != measured:
                result = {**measure(files, native, threads, precision), "state": measured}
                kept.write_text(json.dumps(result))
            if asked:
                print(line(name, threads, result), flush=True)
            if result.get("state") == measured:
                results[name, threads] = result
    found = [entry for key, result in results.items() for entry in benchmarks(*key, result)]
    context = {
        "date": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
        "processor": processor(),
        "load": max(result["load"] for result in results.values()),
        "versions": versions(),
    }
    written = folder / "zoo.json"
    written.write_text(json.dumps({"context": context, "benchmarks": found}, indent=1))
    print(f"results in {written}")


if __name__ == "__main__":
    if len(sys.argv) == 5 and sys.argv[1] == "make":
        make_files(sys.argv[2], Path(sys.argv[3]), sys.argv[4])
    elif len(sys.argv) >= 4 and sys.argv[3] == "--bf16":
        main(Path(sys.argv[1]) / "bf16", sys.argv[2], sys.argv[4:], "bf16")
    elif len(sys.argv) >= 3:
        main(Path(sys.argv[1]), sys.argv[2], sys.argv[3:], "float32")
    else:
        sys.exit(__doc__.splitlines()[0])
