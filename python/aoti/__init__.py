"""Compiles PyTorch models ahead of time, and runs them.

    aoti.export("model.pt2", aoti.Model(module, args))     compiles a module into a package
    model = aoti.load("model.pt2")                         opens it
    result = model(x)                                      runs it, as the module was called
    print(aoti.inspect("model.pt2"))                       what it holds, takes and returns

Errors are of the classes in aoti.errors, under aoti.Error. The classes and functions of torch._C._aoti, under their
names, are in aoti.drop_in.
"""

from ._export import SPEC_KEY, Model, export, spec
from .errors import Error, InputError, LoadError, PackageError, RunError, WeightsError

__all__ = [
    "SPEC_KEY",
    "Error",
    "InputError",
    "LoadError",
    "Model",
    "PackageError",
    "RunError",
    "WeightsError",
    "export",
    "spec",
]

# From a source tree whose compiled part was not built, models can be exported, but not run.
try:
    from . import _C
except ModuleNotFoundError as error:
    if error.name != "aoti._C":
        raise
else:
    from ._inspect import ModelInfo, inspect
    from ._model import CompiledModel, ConstantInfo, TensorInfo, ThreadsWarning, WeightsUpdate, load

    __all__ += [
        "CompiledModel",
        "ConstantInfo",
        "ModelInfo",
        "TensorInfo",
        "ThreadsWarning",
        "WeightsUpdate",
        "inspect",
        "load",
    ]
