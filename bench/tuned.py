"""ResNet-18 tuned for two threads, against torch's default package and, if installed, ONNX Runtime."""

from __future__ import annotations

import io
import sys
import tempfile
from collections.abc import Callable
from importlib.util import find_spec

import torch
import torchvision

import aoti
from turns import medians

THREADS = int(sys.argv[1]) if len(sys.argv) > 1 else 2


def onnx_runtime(module: torch.nn.Module, x: torch.Tensor) -> Callable[[], object] | None:
    if find_spec("onnxruntime") is None or find_spec("onnx") is None:
        return None
    import onnxruntime

    file = io.BytesIO()
    torch.onnx.export(module, (x,), file, dynamo=False, input_names=["x"])
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = THREADS
    session = onnxruntime.InferenceSession(file.getvalue(), options, providers=["CPUExecutionProvider"])
    inputs = {"x": x.numpy()}
    return lambda: session.run(None, inputs)


def main() -> None:
    torch.manual_seed(0)
    torch.set_num_threads(THREADS)
    module, x = torchvision.models.resnet18().eval(), torch.randn(1, 3, 224, 224)
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        ep = torch.export.export(module, (x,))
        theirs = torch._inductor.aoti_load_package(
            torch._inductor.aoti_compile_and_package(ep, package_path=f"{folder}/defaults.pt2")
        )
        ours = aoti.load(
            aoti.export(f"{folder}/tuned.pt2", aoti.Model(module, (x,)), threads=THREADS, tune=True), threads=THREADS
        )
        torch.testing.assert_close(ours(x), theirs(x), rtol=1e-3, atol=1e-3)
        subjects = {"torch's loader, defaults": lambda: theirs(x), "aoti, tuned": lambda: ours(x)}
        if (session := onnx_runtime(module, x)) is not None:
            subjects["ONNX Runtime"] = session
        times = medians(subjects, turns=31, pause=0.05)
    for name, seconds in times.items():
        ratio = seconds / times["torch's loader, defaults"]
        print(f"{name:26} {seconds * 1e3:7.2f} ms  {ratio:.2f} of torch's")
    print("of torch's, at most 0.60 is the aim; of ONNX Runtime's, 1.10")


if __name__ == "__main__":
    main()
