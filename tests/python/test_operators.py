"""A caller's settings for torch do not affect a model, its operators, its opening and its updates."""

import dataclasses
import subprocess
import sys
from contextlib import contextmanager, nullcontext
from pathlib import Path

import pytest
import torch
from common import TORCH, package
from torch._export.serde import schema
from torch._subclasses import FakeTensorMode
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

import aoti
import aoti.drop_in


class RefusesCalls(TorchDispatchMode):
    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        raise AssertionError(f"{function} was called in the caller's mode")


class RefusesFunctions(TorchFunctionMode):
    def __torch_function__(self, function, types, args=(), kwargs=None):
        if getattr(function, "__name__", "") in ("full", "mul", "__mul__", "__rmul__"):
            raise AssertionError(f"{function} was called in the caller's mode")
        return function(*args, **(kwargs or {}))


@contextmanager
def default_dtype():
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


@contextmanager
def deterministic():
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)


@contextmanager
def functorch():
    level = torch._C._functorch._vmap_increment_nesting(3, "error")
    try:
        yield level
    finally:
        torch._C._functorch._vmap_decrement_nesting()


SETTINGS = {
    "nothing": nullcontext,
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "inference mode": torch.inference_mode,
    "gradients": torch.enable_grad,
    "no gradients": torch.no_grad,
    "dtype": default_dtype,
    "device": lambda: torch.device("meta"),
    "deterministic": deterministic,
    "dispatch mode": RefusesCalls,
    "function mode": RefusesFunctions,
    "fake tensors": FakeTensorMode,
    "functorch": functorch,
    "forward mode": torch.autograd.forward_ad.dual_level,
    "profiler": torch.profiler.profile,
    "saved tensor hooks": lambda: torch.autograd.graph.saved_tensors_hooks(lambda t: t * 0, lambda t: t),
    "no saved tensor hooks": lambda: torch.autograd.graph.disable_saved_tensors_hooks("not here"),
}


@pytest.fixture(scope="module", autouse=True)
def operators():
    """The operators of the model `modes`, in Python, where modes for functions apply, too."""
    library = torch.library.Library("aoti_tests", "FRAGMENT")
    library.define("accumulate(Tensor(a!) total, Tensor x) -> ()")
    library.define("scaled(Tensor x, Scalar factor, Scalar? shift) -> Tensor")

    def accumulate(total, x):
        total.add_(x * torch.full((), 1.0))

    def scaled(x, factor, shift):
        assert factor is True and shift is False
        with torch.enable_grad(), torch.autograd.graph.save_on_cpu():
            y = x.detach().requires_grad_()
            (gradient,) = torch.autograd.grad((y * y).sum(), y)
        return gradient / 2 * torch.full((), 1.0)

    library.impl("accumulate", accumulate, "CPU")
    library.impl("scaled", scaled, "CPU")
    yield
    library._destroy()


def expect_right(found, x, runs, right):
    for output, expected in zip(found, [*right, x[0] * runs], strict=True):
        assert not output.requires_grad and not output.is_inference()
        torch.testing.assert_close(output, expected)


@pytest.mark.parametrize("name", SETTINGS)
def test_settings_do_not_reach_a_model(name):
    setting = SETTINGS[name]
    x = torch.randn(6, 2, 8)
    model = aoti.load(package("modes"))
    loader = aoti.drop_in.AOTIModelPackageLoader(str(package("modes")))
    right = model(x)[:3]
    state = {fqn: weight.clone() for fqn, weight in model.weights().items()}
    state["total"].zero_()
    array = x.numpy()

    with setting():
        found, theirs, of_array = model(x), loader.run([x]), model(array)
    expect_right(found, x, 2, right)
    expect_right(theirs, x, 1, right)
    expect_right(of_array, x, 3, right)

    with setting():
        opened = aoti.load(package("modes"))
    expect_right(opened(x), x, 1, right)

    for share in (False, True):
        with setting(), model.update(share=share) as update:
            update.update(state)
        expect_right(model(x), x, 1, right)


def test_a_result_that_was_not_promised_is_an_error(operators):
    model = aoti.load(package("modes"))
    library = torch.library.Library("aoti_tests", "IMPL")
    library.impl("scaled", lambda x, *_: x.double(), "CPU", allow_override=True)
    try:
        with pytest.raises(aoti.RunError, match="aoti_tests::scaled: result 0: found float64, expected float32"):
            model(torch.randn(6, 2, 8))
    finally:
        library._destroy()


@pytest.mark.skipif(TORCH < (2, 15), reason="the list is of torch 2.15")
def test_every_kind_of_argument_is_tried():
    """Operators.ArgumentsAreTakenAsTheirSchemaSays covers everything that torch can write."""
    tried = (Path(__file__).parents[1] / "libtorch" / "operators_test.cpp").read_text()
    assert [field.name for field in dataclasses.fields(schema.Argument) if f'{{"{field.name}", ' not in tried] == []


def test_a_missing_operator_says_what_to_do():
    code = f"import aoti.drop_in; aoti.drop_in.AOTIModelPackageLoader({str(package('custom'))!r})"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "import the module that defines them" in result.stderr and "aoti_tests::twice_plus" in result.stderr
    assert "operator_libraries" not in result.stderr
