"""The classes and functions of torch._C._aoti, under the same names and with the same arguments and results.

aoti_load_package and load_package are torch._inductor's and torch._inductor.package's, on this module's loader.

What they do better: weights are checked, and so are inputs if the package describes them, as packages of aoti.export do
(otherwise, each is only checked to have memory that the model can read); errors (RuntimeErrors, of aoti.errors) say
what was found and expected; an update of weights is atomic; and the GIL is released.

What they refuse: swapping the sets of weights if there is only one; weights passed at creation whose memory layout is
not what the compiled code assumes, from which torch's classes compute wrong results; and weights for a bare shared
object that has none, unless the X.wrapper.cpp that torch writes beside an X.wrapper.so tells their shapes, without
which they cannot be checked.

What cannot be detected, and may crash the process: an unnamed capsule that holds anything but a tensor's handle, passed
to alloc_tensor_by_stealing_from_void_ptr or as a stream_handle; a handle that two capsules hold, or that torch's own
module has already taken from one. A handle that nobody takes leaks its tensor.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from typing import IO, TYPE_CHECKING

from ._C import (
    AOTIModelContainerRunnerCpu,
    AOTIModelContainerRunnerCuda,
    AOTIModelContainerRunnerMps,
    AOTIModelContainerRunnerXpu,
    AOTIModelPackageLoader,
    alloc_tensor_by_stealing_from_void_ptr,
    alloc_tensors_by_stealing_from_void_ptrs,
    unsafe_alloc_void_ptr_from_tensor,
    unsafe_alloc_void_ptrs_from_tensors,
)

if TYPE_CHECKING:
    from torch._inductor.package.package import AOTICompiledModel

__all__ = [
    "AOTIModelContainerRunnerCpu",
    "AOTIModelContainerRunnerCuda",
    "AOTIModelContainerRunnerMps",
    "AOTIModelContainerRunnerXpu",
    "AOTIModelPackageLoader",
    "alloc_tensor_by_stealing_from_void_ptr",
    "alloc_tensors_by_stealing_from_void_ptrs",
    "aoti_load_package",
    "load_package",
    "unsafe_alloc_void_ptr_from_tensor",
    "unsafe_alloc_void_ptrs_from_tensors",
]


def aoti_load_package(
    path: str | os.PathLike[str] | IO[bytes],
    run_single_threaded: bool = False,
    device_index: int = -1,
    *,
    num_runners: int = 1,
    use_stream_affinity: bool = False,
) -> AOTICompiledModel:
    """Like torch._inductor's: opens the model named "model", to be called like the exported module."""
    return load_package(path, "model", run_single_threaded, num_runners, device_index, use_stream_affinity)


def load_package(
    path: str | os.PathLike[str] | IO[bytes],
    model_name: str = "model",
    run_single_threaded: bool = False,
    num_runners: int = 1,
    device_index: int = -1,
    use_stream_affinity: bool = False,
) -> AOTICompiledModel:
    """Like torch._inductor.package's: opens a model by its name."""
    from torch._inductor.package.package import AOTICompiledModel

    options = model_name, run_single_threaded, num_runners, device_index, use_stream_affinity
    if not hasattr(path, "read"):
        return AOTICompiledModel(AOTIModelPackageLoader(os.fspath(path), *options))
    with tempfile.NamedTemporaryFile(suffix=".pt2") as file:  # which stays mapped
        path.seek(0)
        shutil.copyfileobj(path, file)
        file.flush()
        return AOTICompiledModel(AOTIModelPackageLoader(file.name, *options))
