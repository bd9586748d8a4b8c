"""The classes and functions of torch._C._aoti, under the same names and with the same arguments and results.

aoti_load_package and load_package are those of torch._inductor and torch._inductor.package, on this module's loader.

What they do better: weights are checked, and inputs as far as the package tells of them (those of aoti.export do; of
others it is only looked whether there is memory that the model can read); errors (RuntimeErrors, of aoti.errors) say what
was found and expected; an update of weights happens as a whole or not at all; and the GIL is released.

What they refuse: an exchange of sets of weights where there is only one; weights given at creation that are not laid out as
the compiled code assumes, from which torch's compute wrong results; and weights for a bare shared object without any, whose
shapes nothing tells, so that they cannot be checked: the X.wrapper.cpp that torch writes beside an X.wrapper.so does.

What cannot be told, and may crash the process: a capsule without a name that holds anything but the handle of a tensor,
given to alloc_tensor_by_stealing_from_void_ptr or as a stream_handle; a handle that two capsules hold, or that torch's
own module took from one before. A handle that nobody takes leaks its tensor.
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
    """As torch._inductor's: opens the model named "model", and returns what is called like the exported one."""
    return load_package(path, "model", run_single_threaded, num_runners, device_index, use_stream_affinity)


def load_package(
    path: str | os.PathLike[str] | IO[bytes],
    model_name: str = "model",
    run_single_threaded: bool = False,
    num_runners: int = 1,
    device_index: int = -1,
    use_stream_affinity: bool = False,
) -> AOTICompiledModel:
    """As torch._inductor.package's: the same of a model by its name."""
    from torch._inductor.package.package import AOTICompiledModel

    options = model_name, run_single_threaded, num_runners, device_index, use_stream_affinity
    if not hasattr(path, "read"):
        return AOTICompiledModel(AOTIModelPackageLoader(os.fspath(path), *options))
    with tempfile.NamedTemporaryFile(suffix=".pt2") as file:  # which stays mapped
        path.seek(0)
        shutil.copyfileobj(path, file)
        file.flush()
        return AOTICompiledModel(AOTIModelPackageLoader(file.name, *options))
