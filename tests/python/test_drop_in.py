"""aoti.drop_in compared with torch._C._aoti: the same scripts on both, with the same results and kinds of errors."""

import _datetime as datetime
import ast
import gc
import io
import re
import types
from pathlib import Path

import common
import pytest
import torch
from torch._inductor.package.package import AOTICompiledModel
from torch._subclasses import FakeTensorMode

import aoti
import aoti.drop_in

WEIGHT = {"weight": torch.full((12,), 5.0), "counter": torch.zeros(12)}


needs_torch_2_15 = pytest.mark.skipif(common.TORCH < (2, 15), reason="the list is of torch 2.15")


@pytest.fixture(params=[pytest.param("torch", marks=needs_torch_2_15), "aoti"])
def module(request):
    return torch._C._aoti if request.param == "torch" else aoti.drop_in


def package(name):
    return str(common.package(name))


def weights_of(runner, factor=1):
    """By the names inside the compiled code, which torch's runner takes, while its loader takes FQNs."""
    names = {fqn: name for name, fqn in runner.get_constant_names_to_original_fqns().items()}
    return {names[fqn]: factor * tensor for fqn, tensor in runner.extract_constants_map(False).items()}


def test_every_name_is_there():
    ours = vars(aoti.drop_in)
    for name, theirs in vars(torch._C._aoti).items():
        if name.startswith("_"):
            continue
        assert name in ours
        if isinstance(theirs, type):
            missing = {m for m in dir(theirs) if not m.startswith("_")} - set(dir(ours[name]))
            assert not missing, f"{name} lacks {missing}"


def overloads(function):
    """A function's signatures, which pybind11 puts into docstrings: lists of (name, type, has a default)."""
    texts = re.findall(r"^(?:\d+\. )?\w+(\(.*\)) ?(?:-> .*)?$", function.__doc__, re.MULTILINE)
    if function.__text_signature__:
        texts = [function.__text_signature__.replace("$", "")]
    found = []
    for text in texts:
        if text == "(*args, **kwargs)":
            continue
        arguments = ast.parse(f"def f{text}: pass").body[0].args
        plain = len(arguments.args) - len(arguments.defaults)
        types = [None if a.annotation is None else ast.unparse(a.annotation) for a in arguments.args]
        signature = [(a.arg, types[i], i >= plain) for i, a in enumerate(arguments.args)]
        found.append([argument for argument in signature if argument[0] != "self"])
    return found


def accepts(ours, theirs):
    """Whether a signature accepts all calls that another does. The other's arguments may be unnamed, as in arg0."""
    if len(ours) < len(theirs) or any(not has_default for _, _, has_default in ours[len(theirs) :]):
        return False
    return all(
        (their_name in (our_name, f"arg{i}"))
        and (our_type is None or our_type in (their_type, "object") or "Sequence" in their_type)
        and (our_default or not their_default)
        for i, ((our_name, our_type, our_default), (their_name, their_type, their_default)) in enumerate(zip(ours, theirs))
    )


@needs_torch_2_15
def test_every_overload_is_there():
    compared = 0
    for name, theirs in vars(torch._C._aoti).items():
        if name.startswith("_"):
            continue
        ours = getattr(aoti.drop_in, name)
        pairs = [(theirs, ours)]
        if isinstance(theirs, type):
            methods = ["__init__", *(m for m in dir(theirs) if not m.startswith("_"))]
            pairs = [(getattr(theirs, method), getattr(ours, method)) for method in methods]
        for their_function, our_function in pairs:
            expected = overloads(their_function)
            assert expected
            for signature in expected:
                assert any(accepts(own, signature) for own in overloads(our_function)), (name, our_function, signature)
                compared += 1
    assert compared > 40


def test_the_stubs_are_complete():
    source = Path(__file__).resolve().parents[2] / "python" / "aoti" / "_C.pyi"
    stubs = {node.name: node for node in ast.parse(source.read_text()).body if hasattr(node, "name")}
    methods = {name: {f.name for f in getattr(node, "body", []) if hasattr(f, "name")} for name, node in stubs.items()}
    for name, value in vars(aoti._C).items():
        if name.startswith("__"):
            continue
        assert name in stubs
        if isinstance(value, type):
            known = methods[name].union(*(methods[base.id] for base in stubs[name].bases))
            assert {m for m in vars(value) if not m.startswith(("__", "_pybind11"))} <= known


def test_a_package_runs(module):
    loader = module.AOTIModelPackageLoader(package("add"))
    a, b = torch.randn(8), torch.randn(8)
    for outputs in (loader.run([a, b]), loader.run((a, b)), loader.run(inputs=[a, b]), loader.run([a, b], None)):
        assert isinstance(outputs, list)
        torch.testing.assert_close(outputs, [a + b])
    inputs = [a, b]
    torch.testing.assert_close(loader.boxed_run(inputs), [a + b])
    assert inputs == []
    with pytest.raises(TypeError):
        loader.run([a, b], stream_handle=3)
    with pytest.raises(TypeError):
        loader.run()
    with pytest.raises(TypeError):
        loader.run([a, b], None, 1)
    with pytest.raises(TypeError):
        loader.run([a, b], inputs=[a, b])
    with pytest.raises(TypeError):
        loader.run([a, b], other=None)


@pytest.mark.parametrize("bad", [None, 3, [None, 1], [[1.0], [2.0]], "ab", torch.ones(2, 8)])
def test_inputs_of_other_types_are_type_errors(module, bad):
    loader = module.AOTIModelPackageLoader(package("add"))
    with pytest.raises(TypeError):
        loader.run(bad)
    torch.testing.assert_close(loader.run([torch.ones(8)] * 2), [torch.full((8,), 2.0)])


def test_a_package_tells_of_itself(module):
    loader = module.AOTIModelPackageLoader(package("mutating"), "model", False, 2, -1)
    assert sorted(loader.get_constant_fqns()) == ["counter", "weight"]
    assert loader.get_custom_objs() == {}
    metadata = loader.get_metadata()
    assert metadata["AOTI_DEVICE_KEY"] == "cpu"
    assert module.AOTIModelPackageLoader.load_metadata_from_package(package("mutating"), "model") == metadata
    theirs = torch._C._aoti.AOTIModelPackageLoader(package("mutating"), "model", False, 1, -1)
    assert loader.get_call_spec() == theirs.get_call_spec()
    assert metadata == theirs.get_metadata()


def test_a_packages_weights_change(module):
    loader = module.AOTIModelPackageLoader(package("mutating"))
    x = torch.ones(12)
    loader.load_constants(WEIGHT, False, True)
    torch.testing.assert_close(loader.run([x])[0], torch.full((12,), 6.0))
    with pytest.raises(RuntimeError):
        loader.load_constants({"counter": WEIGHT["counter"]}, use_inactive=False, check_full_update=True)
    shared = {name: tensor.clone() for name, tensor in WEIGHT.items()}
    loader.update_constant_buffer(shared, False, True, user_managed=True)
    shared["weight"].fill_(7)
    torch.testing.assert_close(loader.run([x])[0], torch.full((12,), 8.0))


def test_weights_are_lent_or_copied_to_the_device(module):
    loader = module.AOTIModelPackageLoader(package("mutating"))
    with pytest.raises(RuntimeError, match="user_managed"):
        loader.load_constants(WEIGHT, False, True, user_managed=True, allow_h2d_copy=True)
    loader.load_constants(WEIGHT, False, True, user_managed=False, allow_h2d_copy=True)


@pytest.mark.parametrize("load_package", [torch._inductor.aoti_load_package, aoti.drop_in.aoti_load_package])
def test_a_package_is_loaded_as_by_torchs_function(load_package):
    a, b = torch.randn(8), torch.randn(8)
    content = common.package("add").read_bytes()
    for source in (package("add"), common.package("add"), io.BytesIO(content)):
        model = load_package(source)
        assert type(model) is AOTICompiledModel
        torch.testing.assert_close(model(a, b), a + b)
    assert load_package(package("add"), True, -1).get_metadata()["AOTI_DEVICE_KEY"] == "cpu"
    x = torch.randn(3, 3)
    two = {"num_runners": 2} if common.TORCH >= (2, 13) or load_package is aoti.drop_in.aoti_load_package else {}
    torch.testing.assert_close(load_package(package("nested"), **two)(x, scale=x)["y"], x * x)
    with pytest.raises(RuntimeError):
        load_package(package("absent"))


def test_models_are_loaded_by_name():
    a, b = torch.randn(8), torch.randn(8)
    torch.testing.assert_close(aoti.drop_in.load_package(package("pair"), "model2")(a, b), a - b)
    with pytest.raises(aoti.PackageError, match="model, model2"):
        aoti.drop_in.load_package(package("pair"), "other")


def test_a_shared_object_runs(module, unpacked):
    runner = module.AOTIModelContainerRunnerCpu(unpacked("linear_embedded"), 1)
    weights = runner.extract_constants_map(False)
    names = runner.get_constant_names_to_original_fqns()
    assert set(names.values()) == weights.keys()
    assert runner.get_constant_names_to_dtypes().keys() == names.keys()
    assert set(runner.get_constant_names_to_dtypes().values()) <= {3, 4, 6}
    assert len(runner.get_call_spec()) == 2
    assert runner.did_call_load_constants()
    theirs = torch._C._aoti.AOTIModelContainerRunnerCpu(unpacked("linear_embedded"), 1)
    x = torch.randn(3, 16)
    torch.testing.assert_close(runner.run([x]), theirs.run([x]))
    assert runner.get_call_spec() == theirs.get_call_spec()
    assert names == theirs.get_constant_names_to_original_fqns()
    assert runner.get_constant_names_to_dtypes() == theirs.get_constant_names_to_dtypes()
    torch.testing.assert_close(weights, theirs.extract_constants_map(False))


def test_weights_are_swapped(module, unpacked):
    runner = module.AOTIModelContainerRunnerCpu(unpacked("linear_embedded"), 1)
    x = torch.randn(3, 16)
    before = runner.run([x])[0]
    weights, doubled = weights_of(runner), weights_of(runner, 2)
    runner.update_constant_buffer(doubled, use_inactive=True, validate_full_updates=True)
    torch.testing.assert_close(runner.run([x])[0], before)
    runner.swap_constant_buffer()
    after = runner.run([x])[0]
    assert not torch.allclose(after, before)
    runner.update_constant_buffer(weights, True, True)
    runner.swap_constant_buffer()
    torch.testing.assert_close(runner.run([x])[0], before)
    runner.free_inactive_constant_buffer()
    torch.testing.assert_close(runner.run([x])[0], before)


def test_an_update_of_the_active_set_beside_a_staged_one_is_refused(unpacked):
    runner = aoti.drop_in.AOTIModelContainerRunnerCpu(unpacked("linear_embedded"), 1)
    x = torch.randn(3, 16)
    before = runner.run([x])[0]
    doubled = weights_of(runner, 2)
    runner.update_constant_buffer(doubled, use_inactive=True, validate_full_updates=True)
    with pytest.raises(RuntimeError, match="staged second set"):
        runner.update_constant_buffer(weights_of(runner, 3), False, True)
    torch.testing.assert_close(runner.run([x])[0], before)
    runner.free_inactive_constant_buffer()
    runner.update_constant_buffer(doubled, False, True)
    assert not torch.allclose(runner.run([x])[0], before)


def test_constants_at_creation(module, unpacked):
    x = torch.randn(3, 16)
    runner = module.AOTIModelContainerRunnerCpu(unpacked("linear_embedded"), 1)
    before = runner.run([x])[0]
    doubled = weights_of(runner, 2)
    created = module.AOTIModelContainerRunnerCpu(unpacked("linear_embedded"), 1, doubled)
    runner.update_constant_buffer(doubled, False, True)
    assert not torch.allclose(runner.run([x])[0], before)
    torch.testing.assert_close(created.run([x]), runner.run([x]))


def test_files_that_do_not_load_are_runtime_errors(module, tmp_path):
    nothing = tmp_path / "nothing.pt2"
    nothing.write_bytes(b"")
    for path in (tmp_path / "absent.pt2", nothing):
        with pytest.raises(RuntimeError):
            module.AOTIModelPackageLoader(str(path))
        with pytest.raises(RuntimeError):
            module.AOTIModelContainerRunnerCpu(str(path), 1)
    with pytest.raises(RuntimeError):
        module.AOTIModelPackageLoader(package("add"), "other")


def test_tensors_travel_as_pointers(module):
    a, b = torch.randn(3), torch.randn(4)
    capsule = module.unsafe_alloc_void_ptr_from_tensor(a)
    again = module.alloc_tensor_by_stealing_from_void_ptr(capsule)
    assert again.data_ptr() == a.data_ptr()
    both = module.alloc_tensors_by_stealing_from_void_ptrs(module.unsafe_alloc_void_ptrs_from_tensors([a, b]))
    assert [tensor.data_ptr() for tensor in both] == [a.data_ptr(), b.data_ptr()]


def test_pointers_of_either_module_are_one_kind():
    a = torch.randn(3)
    theirs = torch._C._aoti.alloc_tensor_by_stealing_from_void_ptr(aoti.drop_in.unsafe_alloc_void_ptr_from_tensor(a))
    ours = aoti.drop_in.alloc_tensor_by_stealing_from_void_ptr(torch._C._aoti.unsafe_alloc_void_ptr_from_tensor(a))
    assert theirs.data_ptr() == ours.data_ptr() == a.data_ptr()


# What crashes torch's module, or what it silently accepts.


def test_a_pointer_is_taken_once():
    capsule = aoti.drop_in.unsafe_alloc_void_ptr_from_tensor(torch.ones(2))
    aoti.drop_in.alloc_tensor_by_stealing_from_void_ptr(capsule)
    with pytest.raises(ValueError, match="already taken"):
        aoti.drop_in.alloc_tensor_by_stealing_from_void_ptr(capsule)
    capsules = iter(aoti.drop_in.unsafe_alloc_void_ptrs_from_tensors([torch.ones(2), torch.zeros(2)]))
    assert [t[0] for t in aoti.drop_in.alloc_tensors_by_stealing_from_void_ptrs(capsules)] == [1, 0]
    capsules = aoti.drop_in.unsafe_alloc_void_ptrs_from_tensors([torch.ones(2), torch.zeros(2)])
    for bad, error in ((None, TypeError), (capsules[0], ValueError)):
        with pytest.raises(error):
            aoti.drop_in.alloc_tensors_by_stealing_from_void_ptrs([*capsules, bad])
    assert len(aoti.drop_in.alloc_tensors_by_stealing_from_void_ptrs(capsules)) == 2  # none was taken
    for bad in (None, 0, 7, "x", datetime.datetime_CAPI):
        with pytest.raises(TypeError):
            aoti.drop_in.alloc_tensor_by_stealing_from_void_ptr(bad)
        with pytest.raises(TypeError):
            aoti.drop_in.alloc_tensors_by_stealing_from_void_ptrs([bad])


def test_a_package_without_weights_waits_for_them(unpacked):
    x = torch.randn(3, 16)
    other = aoti.drop_in.AOTIModelContainerRunnerCpu(unpacked("linear_embedded"), 1)
    loader = aoti.drop_in.AOTIModelPackageLoader(package("linear_none"))
    with pytest.raises(aoti.RunError):
        loader.run([x])
    loader.load_constants(types.MappingProxyType(other.extract_constants_map(False)), False, True)
    torch.testing.assert_close(loader.run([x]), other.run([x]))


def test_weights_of_unknown_shapes_are_refused(unpacked):
    runner = aoti.drop_in.AOTIModelContainerRunnerCpu(unpacked("mutating"), 1)
    if common.TORCH < (2, 9):
        pytest.skip("this torch does not put weights beside the image")
    assert not runner.did_call_load_constants()
    with pytest.raises(aoti.RunError):
        runner.run([torch.ones(12)])
    with pytest.raises(aoti.LoadError, match="cannot be checked"):
        runner.update_constant_buffer(WEIGHT, False, True)


def test_weights_outlive_what_they_were_taken_from(unpacked):
    runner = aoti.drop_in.AOTIModelContainerRunnerCpu(unpacked("linear_embedded"), 1)
    weights = runner.extract_constants_map(False)
    kept = {name: tensor.clone() for name, tensor in weights.items()}
    assert runner.extract_constants_map(True) == {}
    del runner
    gc.collect()
    torch.testing.assert_close(weights, kept)


def test_weights_outlive_their_place_in_the_model(unpacked):
    runner = aoti.drop_in.AOTIModelContainerRunnerCpu(unpacked("wide"), 1)  # a megabyte, which is seen to be freed
    x = torch.randn(1, 1024)
    before = runner.run([x])[0]
    first = runner.extract_constants_map(False)
    kept = {name: tensor.clone() for name, tensor in first.items()}
    doubled = {name: 2 * tensor for name, tensor in kept.items()}
    runner.update_constant_buffer(doubled, False, True)
    second = runner.extract_constants_map(False)
    runner.update_constant_buffer(kept, False, True)
    runner.free_inactive_constant_buffer()
    torch.testing.assert_close(first, kept)
    torch.testing.assert_close(second, doubled)
    runner.update_constant_buffer(first, False, True, True)
    torch.testing.assert_close(runner.run([x])[0], before)
    del runner, first
    gc.collect()
    torch.testing.assert_close(second, doubled)


def test_weights_know_nothing_of_autograd(unpacked):
    runner = aoti.drop_in.AOTIModelContainerRunnerCpu(unpacked("linear_embedded"), 1)
    names = {fqn: name for name, fqn in runner.get_constant_names_to_original_fqns().items()}
    weights = runner.extract_constants_map(False)
    for share in (False, True):
        own = {names[fqn]: weight.clone().requires_grad_(weight.is_floating_point()) for fqn, weight in weights.items()}
        runner.update_constant_buffer(own, False, False, share)
        for fqn, weight in runner.extract_constants_map(False).items():
            assert not weight.requires_grad
            weight.mul_(1)
            torch.testing.assert_close(weight, weights[fqn])


def test_tensors_of_other_kinds_are_refused_where_nothing_tells_what_is_expected():
    loader = aoti.drop_in.AOTIModelPackageLoader(package("mlp_plain"))
    x = torch.randn(4, 64)
    loader.run([x])
    for bad in (
        x.to("meta"),
        torch._efficientzerotensor(4, 64),
        torch._neg_view(x),
        torch.quantize_per_tensor(x, 0.1, 0, torch.qint8),
        x.to_sparse(),
        x.to_mkldnn(),
        torch.nested.nested_tensor([x, x]),
        torch.nested.nested_tensor([x, x]).transpose(1, 2),
    ):
        with pytest.raises(aoti.InputError, match="input 0"):
            loader.run([bad])


def test_names_are_texts():
    loader = aoti.drop_in.AOTIModelPackageLoader(package("mutating"))
    for name, error in ((1, TypeError), (None, TypeError), ("\ud800", ValueError)):
        with pytest.raises(error, match="name of a weight|surrogates"):
            loader.load_constants({name: torch.ones(12)}, False, False)


def test_what_is_no_tensor_in_memory_is_refused():
    loader = aoti.drop_in.AOTIModelPackageLoader(package("add"))
    a = torch.ones(8)
    with FakeTensorMode():
        fake = torch.ones(8)
    with pytest.raises(aoti.InputError, match="no memory of its own"):
        loader.run([fake, a])
    torch.testing.assert_close(loader.run([torch.nn.Parameter(a), a]), [2 * a])
    freed = torch.ones(12)
    freed.untyped_storage().resize_(0)
    with pytest.raises(aoti.WeightsError, match="freed"):
        aoti.drop_in.AOTIModelPackageLoader(package("mutating")).update_constant_buffer({"weight": freed}, False, False)


def test_objects_without_their_init_are_type_errors():
    loader = aoti.drop_in.AOTIModelPackageLoader
    with pytest.raises(TypeError):
        loader.__new__(loader).run([torch.ones(8)] * 2)
    with pytest.raises(TypeError):
        loader.__new__(loader).get_metadata()


def test_devices_and_counts_are_checked(unpacked):
    for text in ("cpu:x", "cuda:0", "cpu:", "0"):
        with pytest.raises(aoti.InputError):
            aoti.drop_in.AOTIModelContainerRunnerCpu(unpacked("add"), 1, text)
    with pytest.raises(aoti.InputError):
        aoti.drop_in.AOTIModelPackageLoader(package("add"), device_index=-2)
    with pytest.raises(aoti.InputError):
        aoti.drop_in.AOTIModelPackageLoader(package("add"), run_single_threaded=True, num_runners=2)
    with pytest.raises(aoti.InputError):
        aoti.drop_in.AOTIModelContainerRunnerCpu(unpacked("add"), 2, "", "", True)
    for count in (2**40, "1"):
        with pytest.raises(TypeError):
            aoti.drop_in.AOTIModelContainerRunnerCpu(unpacked("add"), count)
        with pytest.raises(TypeError):
            aoti.drop_in.AOTIModelPackageLoader(package("add"), num_runners=count)
    for count in (0, -1):
        with pytest.raises(aoti.InputError):
            aoti.drop_in.AOTIModelContainerRunnerCpu(unpacked("add"), count)
    for count, error in ((0, aoti.InputError), (-1, TypeError)):
        with pytest.raises(error):
            aoti.drop_in.AOTIModelPackageLoader(package("add"), num_runners=count)
    for constants in ([], "x", 3.5):
        with pytest.raises(TypeError):
            aoti.drop_in.AOTIModelContainerRunnerCpu(unpacked("add"), 1, "", "", constants=constants)
    runner = aoti.drop_in.AOTIModelContainerRunnerCpu(unpacked("add"), 1, "cpu", "", True)
    assert runner.run([torch.ones(8)] * 2)[0][0] == 2


def test_inputs_are_checked():
    loader = aoti.drop_in.AOTIModelPackageLoader(package("add"))
    for bad in ([], [torch.ones(8)], [torch.ones(8)] * 3, [torch.ones(9)] * 2, [torch.ones(8, dtype=torch.long)] * 2):
        with pytest.raises(aoti.InputError):
            loader.run(bad)
        with pytest.raises(aoti.InputError):
            loader.boxed_run(list(bad))
    emptied = torch.ones(8)
    emptied.untyped_storage().resize_(0)
    with pytest.raises(RuntimeError):
        loader.run([emptied, emptied])


def test_updates_are_checked():
    loader = aoti.drop_in.AOTIModelPackageLoader(package("mutating"))
    before = loader.run([torch.ones(12)])[0]
    for bad in ({"no such": torch.ones(12)}, {"weight": torch.ones(13)}, {"weight": torch.ones(12).double()}):
        with pytest.raises(aoti.WeightsError):
            loader.update_constant_buffer(bad, False, False)
    for bad in ({"weight": None}, {"weight": [1.0] * 12}):
        with pytest.raises(TypeError):
            loader.update_constant_buffer(bad, False, False)
    assert loader.run([torch.ones(12)])[0][0] == before[0] + 1  # it counts its runs


def test_devices_that_are_not_there_are_errors(unpacked):
    runners = [aoti.drop_in.AOTIModelContainerRunnerMps, aoti.drop_in.AOTIModelContainerRunnerXpu]
    if not torch.cuda.is_available():
        runners.append(aoti.drop_in.AOTIModelContainerRunnerCuda)
    for runner in runners:
        with pytest.raises(aoti.LoadError):
            runner(unpacked("add"), 1)
