"""The overhead of a call from Python, for torch and for this package: python_overhead.py MODELS

The model of the first part adds two vectors of eight floats. The second part runs a model that takes a millisecond
from one Python thread and from two.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path

import torch

import aoti
import aoti.drop_in
from turns import medians


def overhead(package: str) -> None:
    a, b = torch.arange(8.0), torch.ones(8)
    inputs = [a, b]
    model, torchs = aoti.load(package), torch._inductor.aoti_load_package(package)
    ours = aoti.drop_in.AOTIModelPackageLoader(package)
    theirs = torch._C._aoti.AOTIModelPackageLoader(package)
    for result in (model(a, b), torchs(a, b), *ours.run(inputs), *theirs.run(inputs)):
        torch.testing.assert_close(result, a + b)
    with torch.inference_mode():
        times = medians(
            {
                "aoti_load_package(…)(a, b)": lambda: torchs(a, b),
                "aoti.load(…)(a, b)": lambda: model(a, b),
                "torch's loader.run([a, b])": lambda: theirs.run(inputs),
                "aoti.drop_in loader.run([a, b])": lambda: ours.run(inputs),
            },
            turns=101,
            calls=2000,
        )
    for name, seconds in times.items():
        print(f"{name:34} {seconds * 1e6:7.2f} µs")
    called, loaded, ran, dropped_in = times.values()
    print(f"called: {loaded / called:.3f} of torch's, at most 0.10 is the aim, and 2 µs")
    print(f"run: {dropped_in / ran:.2f} of torch's, at most 0.67 is the aim")


class Busy(torch.nn.Module):
    """About a millisecond on one core."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for _ in range(12):
            x = torch.tanh(x) + 0.1
        return x


def throughput(folder: str) -> None:
    x = torch.randn(60_000)
    aoti.export(f"{folder}/busy.pt2", aoti.Model(Busy(), (x,), options={"cpp.threads": 1}))
    models = [aoti.load(f"{folder}/busy.pt2", threads=1) for _ in range(2)]

    def rate(threads: int, seconds: float = 1.0) -> float:
        counts = [0] * threads
        end = time.perf_counter() + seconds

        def work(index: int) -> None:
            while time.perf_counter() < end:
                models[index](x)
                counts[index] += 1

        workers = [threading.Thread(target=work, args=(index,)) for index in range(threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        return sum(counts) / seconds

    rates = [(rate(1), rate(2)) for _ in range(5)]
    one, two = (statistics.median(column) for column in zip(*rates, strict=True))
    print(f"a run of {1000 / one:.2f} ms: one Python thread {one:.0f} runs a second, two {two:.0f}")
    print(f"two threads: {two / one:.2f} times one, at least 1.70 is the aim")


if __name__ == "__main__":
    overhead(str(Path(sys.argv[1]) / "add.pt2"))
    with tempfile.TemporaryDirectory() as temporary:
        throughput(temporary)
