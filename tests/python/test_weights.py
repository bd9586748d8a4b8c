"""Weights of every kind, changed by a state_dict: the model's results then equal the module's."""

import copy
import gc
import json
import shutil
import weakref
from pathlib import Path

import common
import pytest
import torch
from torch import nn
from torch.nn import Parameter

import aoti.drop_in

pytestmark = pytest.mark.skipif(common.TORCH < (2, 9), reason="this torch does not put weights beside the image")


def compiled(path, module, args, *, options=None, **how):
    with torch.no_grad():
        aoti.export(path, aoti.Model(module, args, options=options), threads=1, **how)
    return aoti.load(path, threads=1)


def changed(module):
    """A copy with other weights, in new memory; tied and expanded weights stay so."""
    module, seen = copy.deepcopy(module), {}
    with torch.no_grad():
        for tensor in (*module.parameters(), *module.buffers()):
            if tensor.dtype is torch.bool:
                tensor.logical_not_()
            elif tensor.is_floating_point() or tensor.is_complex():
                part = tensor[tuple(slice(1) if step == 0 else slice(None) for step in tensor.stride())]
                if (tensor.data_ptr(), tensor.shape) not in seen:
                    part.copy_((part.to(torch.complex64 if part.is_complex() else torch.float32) + 0.25).to(part.dtype))
                seen[tensor.data_ptr(), tensor.shape] = tensor
    return module


def expect_same(model, module, args):
    with torch.no_grad():
        torch.testing.assert_close(model(*args), copy.deepcopy(module)(*args), rtol=1e-4, atol=1e-4)


def expect_follows(model, module, args):
    """Even if each tensor of the state_dict is a separate copy."""
    expect_same(model, module, args)
    for copied in (False, True):
        module = changed(module)
        tensors = {**module.state_dict(), **dict(module.named_buffers())}
        with model.update() as u:
            u.update({name: tensor.clone() if copied else tensor for name, tensor in tensors.items()})
        expect_same(model, module, args)


class Kinds(nn.Module):
    """Weights that Inductor compiles in, leaves out, or has trouble with."""

    def __init__(self):
        super().__init__()
        big = torch.randn(24, 8)
        self.views = nn.ParameterList([big[:8], big[8:16], big[12:20], torch.randn(8, 8).t()])
        self.gaps = Parameter(torch.randn(8, 20)[:, 2:18:2])
        self.expanded = Parameter(torch.randn(1, 8).expand(8, 8))
        self.bias, self.one, self.scalar = Parameter(torch.randn(8)), Parameter(torch.randn(1)), Parameter(torch.tensor(2.5))
        self.complex, self.conjugated = (Parameter(t) for t in (torch.randn(8) + 1j, (torch.randn(8) + 1j).conj()))
        z = torch.randn(24) + 1j * torch.randn(24)  # the values below are used, lazily computed or not
        self.lazy = nn.ParameterList([z[::3].conj(), z[1:9].conj(), z[9:10].conj().expand(8)])
        self.negated = nn.ParameterList([z.conj().imag[4:12], torch._neg_view(torch.randn(16))[::2]])
        self.empty, self.none = Parameter(torch.zeros(0, 8)), Parameter(torch.randn(9, 8)[:0])
        self.norm, self.statistics = nn.LayerNorm(8), nn.BatchNorm1d(8)
        self.a = nn.ModuleDict({"b": nn.Linear(8, 8)})
        self.a_b = nn.Linear(8, 8)
        self.left, self.right = nn.Linear(8, 8, bias=False), nn.Linear(8, 8, bias=False)
        self.right.weight = self.left.weight
        self.transposed = Parameter(self.left.weight.detach().t())
        self.register_buffer("ones", torch.ones(8))
        self.register_buffer("flags", torch.tensor([True, False] * 4))
        self.register_buffer("order", torch.arange(8).flip(0))
        # Torch 2.11 writes code for float8 that does not compile.
        self.register_buffer("eighth", torch.randn(8).to(torch.float8_e4m3fn if common.TORCH >= (2, 13) else torch.float16))
        self.register_buffer("small", torch.randn(8).half())
        self.register_buffer("exponent", torch.tensor(2.0))
        self.register_buffer("transient", torch.randn(8), persistent=False)
        self.register_buffer("form", torch.randn(4, 8))
        self.register_buffer("unused", torch.randn(3))
        self.attribute = torch.randn(8)

    def forward(self, x):
        for weight in self.views:
            x = torch.relu(x @ weight)
        x = x @ self.gaps + x @ self.expanded + self.bias * self.one + self.scalar + torch.tensor([0.5] * 8)
        x = self.statistics(self.norm(torch.cat([x, self.empty, self.none])))
        x = self.a_b(self.a["b"](x)) + self.left(x) + self.right(x) + x @ self.transposed + torch.tensor(3.0)
        x = torch.where(self.flags, x, x * self.ones)[:, self.order] + self.transient + self.attribute
        x = x + self.eighth.float() * self.small.float() + torch.zeros_like(self.form)
        lazy = sum(self.lazy) + sum(self.negated)
        return x.abs().pow(self.exponent) + torch.view_as_real(x * self.complex + self.conjugated + lazy).sum(-1)


def test_weights_of_every_kind_follow(tmp_path):
    torch.manual_seed(0)
    module, args = Kinds().eval(), (torch.randn(4, 8),)
    model = compiled(tmp_path / "model.pt2", module, args)
    spec = json.loads(model.metadata["aoti.spec"])
    assert spec["fixed"] == []
    assert {"unused", "form", "statistics.num_batches_tracked"} <= set(spec["unused"]) <= {
        *("unused", "form", "statistics.num_batches_tracked", "empty", "none")
    }
    names = {constant.name: constant for constant in model.constants}
    state = {**module.state_dict(), **dict(module.named_buffers())}
    assert state.keys() - spec["unused"] == {name for name in names if name in state}
    assert all(names[name].shape == state[name].shape and names[name].updatable for name in names.keys() & state.keys())
    assert {names["left.weight"].tied_to, names["right.weight"].tied_to} & {"left.weight", "right.weight"}
    assert {c.name for c in aoti.inspect(tmp_path / "model.pt2")[0].constants} == names.keys()
    weights = model.weights()
    torch.testing.assert_close(weights["right.weight"], module.right.weight.detach())
    torch.testing.assert_close(weights["left.weight"], module.left.weight.detach())
    expect_follows(model, module, args)
    with model.update() as u:
        u.update(weights)
    expect_same(model, module, args)
    with pytest.raises(aoti.WeightsError, match="expanded"), model.update() as u:
        u["expanded"] = torch.randn(8, 8)
    with pytest.raises(aoti.WeightsError, match="one weight"), model.update() as u:
        u.update({"left.weight": torch.zeros(8, 8), "right.weight": torch.ones(8, 8)})
    with pytest.raises(aoti.WeightsError, match=r"leave out the prefix 'module\.'"), model.update() as u:
        u.update({f"module.{name}": tensor for name, tensor in module.state_dict().items()})
    expect_same(model, module, args)


class Views(nn.Module):
    """Rows of one storage, and columns of another."""

    def __init__(self):
        super().__init__()
        rows, columns = torch.randn(6, 64, 64) / 8, torch.randn(64, 192) / 8
        self.rows = nn.ParameterList(rows.unbind())
        self.columns = nn.ParameterList(columns.split(64, dim=1))

    def forward(self, x):
        for weight in (*self.rows, *self.columns):
            x = torch.relu(x @ weight)
        return x


@pytest.mark.parametrize("embedded", [False, True])
def test_views_of_one_storage_are_stored_once(tmp_path, embedded):
    module, args = Views().eval(), (torch.randn(4, 64),)
    options = {"aot_inductor.package_constants_in_so": True} if embedded else None
    model = compiled(tmp_path / "model.pt2", module, args, options=options)
    assert sum(constant.bytes for constant in model.constants) == 9 * 64 * 64 * 4
    assert (aoti.inspect(tmp_path / "model.pt2")[0].weights == 0) == embedded
    expect_follows(model, module, args)


def test_torchs_own_packages_of_views_can_be_changed(tmp_path):
    module, args = Views().eval(), (torch.randn(4, 64),)
    options = {
        "aot_inductor.package_constants_in_so": False,
        "aot_inductor.package_constants_on_disk_format": "binary_blob",
        "always_keep_tensor_constants": True,
    }
    path = str(tmp_path / "model.pt2")
    torch._inductor.aoti_compile_and_package(
        torch.export.export(module, args), package_path=path, inductor_configs={**options, "cpp.threads": 1}
    )
    model = aoti.load(path)
    assert {constant.shape for constant in model.constants} == {(64, 64)}
    expect_follows(model, module, args)


def test_memory_that_is_written_to_under_another_name_is_refused(tmp_path):
    class Overlapping(nn.Module):
        def __init__(self):
            super().__init__()
            cache = torch.zeros(4, 8)
            self.register_buffer("cache", cache)
            self.register_buffer("row", cache[0])

        def forward(self, x):
            self.cache.add_(x)
            return self.row + x

    with pytest.raises(ValueError, match="cache, row, which share memory"):
        aoti.export(tmp_path / "model.pt2", aoti.Model(Overlapping(), (torch.ones(4, 8),)))


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed, self.head = nn.Embedding(50, 32), nn.Linear(32, 50, bias=False)
        self.hidden, self.scale = nn.Linear(32, 32), Parameter(torch.randn(4))
        self.head.weight = self.embed.weight

    def forward(self, i):
        return self.head(self.hidden(self.embed(i))) * self.scale.sum()


@pytest.mark.parametrize("how", [{"options": {"freezing": True}}, {"updatable": False}])
def test_what_does_not_follow_is_told_by_name(tmp_path, how):
    module, args = Tied().eval(), (torch.tensor([1, 2]),)
    path = tmp_path / "model.pt2"
    model = compiled(path, module, args, **how)
    expect_same(model, module, args)
    fixed = {constant.name for constant in model.constants if not constant.updatable}
    assert {"embed.weight", "head.weight", "hidden.weight"} <= fixed
    assert "cannot be changed" in str(aoti.inspect(path))
    for name in fixed:
        with pytest.raises(aoti.WeightsError, match=name), model.update() as u:
            u[name] = module.state_dict()[name]
    with pytest.raises(aoti.WeightsError), model.update() as u:
        u.update(module.state_dict())
    expect_same(model, module, args)


def test_an_update_does_not_keep_its_model():
    model = aoti.load(common.package("mutating"))
    with model.update() as u:
        u["weight"] = torch.ones(12)
    with pytest.raises(RuntimeError, match="has ended"), u:
        pass
    gone = weakref.ref(model)
    del model
    gc.collect()
    assert gone() is None and u is not None


def image(module, args, **options):
    with torch.no_grad():
        return torch._inductor.aot_compile(torch.export.export(module, args).module(), args, options=options)


class Scaled(nn.Module):
    def __init__(self):
        super().__init__()
        self.w = Parameter(torch.ones(64))

    def forward(self, x):
        return torch.ops.aoti_tests.twice_of_image(x * self.w)


def test_a_bare_image_is_read_with_what_lies_beside_it(tmp_path):
    @torch.library.custom_op("aoti_tests::twice_of_image", mutates_args=())
    def twice(x: torch.Tensor) -> torch.Tensor:
        return 2 * x

    twice.register_fake(torch.empty_like)
    options = {"aot_inductor.package_constants_in_so": False, "always_keep_tensor_constants": True}
    path, x = image(Scaled(), (torch.ones(64),), **options), torch.ones(64)
    runner = aoti.drop_in.AOTIModelContainerRunnerCpu(path, 1)
    runner.update_constant_buffer({"w": torch.full((64,), 3.0)}, False, True)
    torch.testing.assert_close(runner.run([x])[0], 6 * x)
    with pytest.raises(aoti.WeightsError, match="shape"):
        runner.update_constant_buffer({"w": torch.ones(63)}, False, True)
    model = aoti.load(path)
    assert [(c.name, c.shape) for c in model.constants] == [("w", (64,))]
    assert aoti.inspect(path)[0].refused is None and model.metadata["AOTI_DEVICE_KEY"] == "cpu"
    with model.update() as u:
        u["w"] = torch.full((64,), 4.0)
    torch.testing.assert_close(model(x), 8 * x)
    alone = shutil.copy(path, tmp_path / "alone.so")
    with pytest.raises(aoti.LoadError, match="X.json beside a bare image"):
        aoti.load(alone)
    with pytest.raises(aoti.PackageError, match="bare shared object"):
        aoti.load(alone, "model")


def test_an_image_alone_opens(unpacked):
    path, x = unpacked("linear_embedded"), torch.randn(3, 16)
    expected = aoti.load(common.package("linear_embedded"))(x)
    for source in (path, Path(path).read_bytes()):
        model = aoti.load(source)
        torch.testing.assert_close(model(x), expected)
        assert model.device == "cpu" and model.metadata == {}
        assert aoti.inspect(source)[0].refused is None


def test_constants_given_at_creation_are_shared(unpacked):
    given = {"AOTIModelContainerRunnerCpu": aoti.drop_in.AOTIModelContainerRunnerCpu}
    if common.TORCH >= (2, 14):
        given["torch's"] = torch._C._aoti.AOTIModelContainerRunnerCpu
    x = torch.randn(3, 16)
    for runner_of in given.values():
        plain = runner_of(unpacked("linear_embedded"), 1)
        assert plain.did_call_load_constants()
        names = {fqn: name for name, fqn in plain.get_constant_names_to_original_fqns().items()}
        tensors = {names[fqn]: t.clone() for fqn, t in plain.extract_constants_map(False).items() if fqn}
        first = next(iter(tensors.values()))
        uses = first._use_count()
        runner = runner_of(unpacked("linear_embedded"), 1, tensors)
        torch.testing.assert_close(runner.run([x]), plain.run([x]))
        assert first._use_count() > uses and not runner.did_call_load_constants()
        for tensor in tensors.values():
            if tensor.is_floating_point():
                tensor.mul_(2)
        doubled = runner_of(unpacked("linear_embedded"), 1, tensors)
        torch.testing.assert_close(runner.run([x]), doubled.run([x]))
        assert not torch.allclose(runner.run([x])[0], plain.run([x])[0])
        del runner, doubled
        gc.collect()
        assert first._use_count() == uses
