"""Compiles PyTorch models ahead of time, and runs them.

    aoti.export("model.pt2", aoti.Model(module, args))     compiles a module into a package
    model = aoti.load("model.pt2")                         opens it
    result = model(x)                                      runs it, as the module was called
    print(aoti.inspect("model.pt2"))                       what it holds, takes and returns
    aoti.load("sources.pt2", compile=True)                 compiles a package of sources first

    aoti.export(…, tune=True, threads=2)                   compiles in several ways, keeps the fastest at two threads
    aoti.load(…, threads=2)                                runs with two threads; a ThreadsWarning if it was compiled
                                                           for another number
    model(numpy_array)                                     arrays and other objects with __dlpack__ are not copied
    with model.update() as u: u["fc.weight"] = tensor      new weights, all at once or not at all

The exceptions are in aoti.errors; their base is aoti.Error. aoti.drop_in has the classes and functions of torch._C._aoti
under the same names, and aoti_load_package.
"""

from importlib.util import find_spec as _find_spec

from torch import __version__ as _torch

from ._export import SPEC_KEY, Model, export, spec
from ._guards import GuardWarning
from .errors import Error, InputError, LoadError, PackageError, RunError, WeightsError

__all__ = [
    "SPEC_KEY",
    "Error",
    "GuardWarning",
    "InputError",
    "LoadError",
    "Model",
    "PackageError",
    "RunError",
    "WeightsError",
    "export",
    "spec",
]

if _find_spec(f"{__name__}._C") is not None:
    from ._built import TORCH as _built_for
    from ._built import VERSION as __version__

    if _built_for.split(".")[:2] != _torch.split(".")[:2]:
        raise ImportError(f"aoti was built for torch {_built_for}, and this is {_torch}: install it anew")
    from ._inspect import ModelInfo, inspect
    from ._model import CompiledModel, ConstantInfo, TensorInfo, ThreadsWarning, WeightsUpdate, load

    __all__ += [
        "CompiledModel",
        "ConstantInfo",
        "ModelInfo",
        "TensorInfo",
        "ThreadsWarning",
        "WeightsUpdate",
        "__version__",
        "inspect",
        "load",
    ]
else:

    def __getattr__(name: str) -> object:
        if name in ("inspect", "load"):
            raise AttributeError(f"aoti.{name}: this is a source tree, which can only export; pip install ./python")
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
