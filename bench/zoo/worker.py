"""Runs a model on one runtime when asked to: worker.py RUNTIME MODEL INPUTS OUTPUTS THREADS PRECISION

RUNTIME is torch (MODEL is a package), onnxruntime or openvino (MODEL is an ONNX file). PRECISION, float32 or bf16, matters to
OpenVINO. INPUTS, a .npz, holds the inputs in order; the outputs of a first run are written to OUTPUTS, one after the other, as
row-major elements. Each line "N" on standard input is answered by the seconds that N runs took. Denormal numbers count as zero.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence

import numpy as np

Run = Callable[[], Sequence[np.ndarray]]


def torch(path: str, inputs: list[np.ndarray], threads: int, precision: str) -> Run:
    import torch

    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)
    loader = torch._inductor.aoti_load_package(path).loader
    tensors = [torch.from_numpy(array) for array in inputs]
    guard = torch.inference_mode()
    guard.__enter__()
    return lambda: loader.boxed_run(list(tensors))


def onnxruntime(path: str, inputs: list[np.ndarray], threads: int, precision: str) -> Run:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.add_session_config_entry("session.set_denormal_as_zero", "1")
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    binding = session.io_binding()
    for given, array in zip(session.get_inputs(), inputs):
        binding.bind_ortvalue_input(given.name, onnxruntime.OrtValue.ortvalue_from_numpy(array))
    for output in session.get_outputs():
        binding.bind_output(output.name)
    session.run_with_iobinding(binding)
    outputs = binding.get_outputs()
    for output, value in zip(session.get_outputs(), outputs):  # in place from now on
        binding.bind_ortvalue_output(output.name, value)

    def run() -> Sequence[np.ndarray]:
        session.run_with_iobinding(binding)
        return outputs

    return run


def openvino(path: str, inputs: list[np.ndarray], threads: int, precision: str) -> Run:
    import openvino

    hints = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": threads,
        "INFERENCE_PRECISION_HINT": "bf16" if precision == "bf16" else "f32",
        "CPU_DENORMALS_OPTIMIZATION": True,
    }
    model = openvino.Core().compile_model(path, "CPU", hints)
    request = model.create_infer_request()
    for i, array in enumerate(inputs):
        request.set_input_tensor(i, openvino.Tensor(array, shared_memory=True))
    outputs = [request.get_output_tensor(i) for i in range(len(model.outputs))]

    def run() -> Sequence[np.ndarray]:
        request.infer()
        return [output.data for output in outputs]

    return run


def main(runtime: str, path: str, inputs: str, outputs: str, threads: str, precision: str) -> None:
    with np.load(inputs) as file:
        arrays = [file[name] for name in file.files]
    run = globals()[runtime](path, arrays, int(threads), precision)
    with open(outputs, "wb") as out:
        for value in run():
            out.write(np.ascontiguousarray(value.numpy() if hasattr(value, "numpy") else value).tobytes())
    print("ready", flush=True)
    for line in sys.stdin:
        count = int(line)
        start = time.perf_counter()
        for _ in range(count):
            run()
        print(f"{time.perf_counter() - start:.9f}", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
