"""aoti.load and what it returns, aoti.inspect, and the command."""

import copy
import dataclasses
import gc
import inspect
import io
import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import threading
import time
import warnings
import zipfile
from collections import OrderedDict

import numpy as np
import pytest
import torch
from common import TORCH, package
from torch.utils import _pytree as pytree

import aoti
import aoti.drop_in


def with_metadata(path, name, change):
    """A copy of a package at a path, with `change` of its metadata."""
    with zipfile.ZipFile(package(name)) as package_in, zipfile.ZipFile(path, "w") as package_out:
        for entry in package_in.namelist():
            content = package_in.read(entry)
            if entry.endswith("_metadata.json"):
                content = json.dumps(change(json.loads(content))).encode()
            package_out.writestr(entry, content)
    return path


@pytest.fixture(scope="module")
def add():
    return aoti.load(package("add"))


def test_a_path_bytes_or_a_file_will_do():
    a, b = torch.randn(8), torch.randn(8)
    content = package("add").read_bytes()
    with open(package("add"), "rb") as file:
        for source in (package("add"), str(package("add")), content, bytearray(content), memoryview(content), file):
            torch.testing.assert_close(aoti.load(source)(a, b), a + b)
    torch.testing.assert_close(aoti.load(io.BytesIO(content))(a, b), a + b)


def test_a_model_is_called_by_name():
    a, b = torch.randn(8), torch.randn(8)
    torch.testing.assert_close(aoti.load(package("pair"), "model2")(a, b), a - b)
    torch.testing.assert_close(aoti.load(package("pair"), model="model")(a, b), a + b)
    torch.testing.assert_close(aoti.load(package("pair"))(a, b), a + b)
    with pytest.raises(aoti.PackageError, match="model, model2"):
        aoti.load(package("pair"), "model3")


def test_several_models_of_other_names_are_ambiguous(tmp_path):
    path = tmp_path / "pair.pt2"
    with zipfile.ZipFile(package("pair")) as package_in, zipfile.ZipFile(path, "w") as package_out:
        for entry in package_in.namelist():
            package_out.writestr(entry.replace("/aotinductor/model/", "/aotinductor/model1/"), package_in.read(entry))
    with pytest.raises(aoti.PackageError, match="model1, model2") as error:
        aoti.load(path)
    assert error.value.code == "ambiguous model"
    a = torch.ones(8)
    torch.testing.assert_close(aoti.load(path, "model1")(a, a), a + a)


def test_nests_go_in_and_out_as_exported():
    nested = aoti.load(package("nested"))
    x = torch.ones(4, 3)
    result = nested(x, scale=2 * x)
    assert list(result) == ["y", "z"]
    total, (positive,) = result["z"]
    torch.testing.assert_close(result["y"], 2 * x)
    assert total == 24 and isinstance(result["z"], tuple) and positive.dtype == torch.bool
    for args, kwargs in (((x, x), {}), ((x,), {"other": x}), ((), {"scale": x}), ((x,), {"scale": [x]})):
        with pytest.raises(aoti.InputError, match="called with other arguments"):
            nested(*args, **kwargs)


class Difference(torch.nn.Module):
    def forward(self, x, *, more):
        return x["a"] - 2 * x["b"] + 3 * more[0]["c"]["d"] - 4 * more[0]["c"]["e"]


def test_the_order_of_keys_does_not_matter(tmp_path):
    a, b, d, e = torch.randn(4, 3)
    args, kwargs = ({"a": a, "b": b},), {"more": [{"c": OrderedDict(d=d, e=e)}]}
    model = aoti.load(aoti.export(tmp_path / "model.pt2", aoti.Model(Difference(), args, kwargs)))
    expected = a - 2 * b + 3 * d - 4 * e
    torch.testing.assert_close(model(*args, **kwargs), expected)
    torch.testing.assert_close(model({"b": b, "a": a}, more=[{"c": OrderedDict(e=e, d=d)}]), expected)
    for x, more in (
        ({"b": b, "a": a, "c": a}, kwargs["more"]),
        ({"b": b}, kwargs["more"]),
        ({"b": b, "a": a}, [{"c": {"d": d, "e": e}}]),
        ({"b": b, "a": {"a": a}}, [{"c": OrderedDict(e=e, d=d)}]),
        ((a, b), kwargs["more"]),
    ):
        with pytest.raises(aoti.InputError, match="called with other arguments"):
            model(x, more=more)


def test_none_among_the_results(tmp_path):
    plain = with_metadata(tmp_path / "plain.pt2", "repeated", lambda metadata: {**metadata, "aoti.spec": ""})
    assert aoti.load(plain)(torch.ones(4, 3))[1] is None
    assert aoti.drop_in.AOTIModelPackageLoader(str(plain)).run([torch.ones(4, 3)])[1] is None
    outputs = aoti.load(package("repeated"))(torch.ones(4, 3))
    assert outputs[1] is None and outputs[0].data_ptr() == outputs[2].data_ptr()


def test_arrays_are_used_where_they_lie(add):
    a, b = np.arange(8, dtype=np.float32), np.ones(8, dtype=np.float32)
    torch.testing.assert_close(add(a, b), torch.arange(1.0, 9))
    a[0] = 40
    assert add(a, torch.ones(8))[0] == 41
    shared = aoti.load(package("transposed"))
    x, y = np.ones((4, 6), dtype=np.float32).T, np.ones((6, 4), dtype=np.float32)
    torch.testing.assert_close(shared(x, y), torch.full((6, 4), 3.0))


def test_arguments_are_checked(add):
    a = torch.ones(8)
    for bad in ((a,), (a, a, a), (a, torch.ones(9)), (a, a.double()), (a, np.ones(8))):
        with pytest.raises(aoti.InputError) as error:
            add(*bad)
        assert isinstance(error.value, ValueError) and error.value.code
    for bad in ((a, None), (a, 1.0), (a, [1.0] * 8), ("a", a)):
        with pytest.raises((TypeError, aoti.InputError)):
            add(*bad)
    emptied = torch.ones(8)
    emptied.untyped_storage().resize_(0)
    with pytest.raises(RuntimeError):
        add(emptied, a)
    torch.testing.assert_close(add(a, a), 2 * a)


def test_files_that_are_no_packages(tmp_path):
    empty = tmp_path / "empty.pt2"
    empty.write_bytes(b"")
    for bad in (tmp_path / "absent.pt2", tmp_path, empty, b"", b"PK\3\4", b"x" * 1000, io.BytesIO(b"y" * 100)):
        with pytest.raises(aoti.PackageError) as error:
            aoti.load(bad)
        assert isinstance(error.value, aoti.Error) and error.value.code
        with pytest.raises(aoti.PackageError):
            aoti.inspect(bad)
    cut = package("add").read_bytes()
    with pytest.raises(aoti.PackageError):
        aoti.load(cut[: len(cut) // 2])
    for bad in (None, 3, [], 1.5):
        with pytest.raises(TypeError):
            aoti.load(bad)


def test_paths_are_what_the_system_has(tmp_path):
    class InBytes:
        def __fspath__(self):
            return os.fsencode(odd)

    odd = tmp_path / os.fsdecode(b"\xffodd.pt2")
    odd.write_bytes(package("add").read_bytes())
    for source in (odd, str(odd), InBytes()):
        assert aoti.load(source)(torch.ones(8), torch.ones(8))[0] == 2
        assert len(aoti.inspect(source)) == 1
    with pytest.raises(aoti.PackageError, match="not found"):
        aoti.load(tmp_path / os.fsdecode(b"\xffabsent.pt2"))
    cut_short = f"{package('add')}\0.pt2"
    for call in (aoti.load, aoti.inspect, aoti.drop_in.AOTIModelPackageLoader):
        with pytest.raises(ValueError, match="embedded null byte"):
            call(cut_short)
    with pytest.raises(ValueError, match="embedded null byte"):
        aoti.load(package("add"), operator_libraries=["libx.so\0"])


@pytest.mark.parametrize(
    ("key", "text"),
    [(key, text) for key in ("aoti.spec", "aoti.tuned") for text in ("{", "[]", "null", '{"inputs":[3],"tried":[3]}')]
    + [("aoti.threads", "x")]
    + [("aoti.spec", '{"constants":[{"fqn":"a","dtype":"float32","shape":[1],"bytes":null,"kind":"buffer"}]}')],
)
def test_odd_metadata_is_a_damaged_package(tmp_path, key, text):
    path = with_metadata(tmp_path / "odd.pt2", "add", lambda metadata: {**metadata, key: text})
    with pytest.raises(aoti.PackageError, match="damaged package") as error:
        aoti.inspect(path)
    assert error.value.code == "damaged package"
    if key != "aoti.tuned":  # which a run does not need
        with pytest.raises(aoti.PackageError):
            aoti.load(path)


@pytest.mark.parametrize("arguments", [None, 3, [None], [{}]])
def test_an_odd_list_of_arguments_is_a_damaged_package(tmp_path, arguments):
    def change(metadata):
        return {**metadata, "aoti.spec": json.dumps({**json.loads(metadata["aoti.spec"]), "arguments": arguments})}

    path = with_metadata(tmp_path / "odd.pt2", "nested", change)
    with pytest.raises(aoti.PackageError, match="damaged package"):
        aoti.load(path)(torch.ones(4, 3), scale=torch.ones(3))


def test_metadata_cannot_forge_the_table(tmp_path):
    note = "a\nmodel fake\x1b[31m"
    path = with_metadata(tmp_path / "odd.pt2", "add", lambda metadata: {**metadata, "note": note})
    assert r"a\nmodel fake\x1b[31m" in str(aoti.inspect(path))


def test_options_are_checked():
    too_many = max(64, 4 * os.cpu_count()) + 1
    for bad in ({"threads": 0}, {"threads": too_many}, {"instances": 0}, {"instances": 1 << 17}):
        with pytest.raises(ValueError, match="expected a number"):
            aoti.load(package("add"), **bad)
    for bad in ({"threads": "two"}, {"threads": True}, {"threads": 1.5}, {"instances": None}):
        with pytest.raises(TypeError, match="expected a number"):
            aoti.load(package("add"), **bad)
    for bad in ({"device": "x"}, {"device": 2**40}, {"device": 256}, {"device": -1}):
        with pytest.raises(ValueError):
            aoti.load(package("add"), **bad)
    for device in ("cuda", "cuda:1", torch.device("meta")):
        with pytest.raises(aoti.InputError, match="compiled for cpu, but the device asked for is of kind (cuda|meta)"):
            aoti.load(package("add"), device=device)
    with pytest.raises(ValueError, match="surrogates"):
        aoti.load(package("add"), "\ud800")
    with pytest.raises(aoti.LoadError):
        aoti.load(package("add"), device="cpu:3")
    for bad in ({"model": 3}, {"operator_libraries": "libx.so"}, {"device": True}):
        with pytest.raises(TypeError):
            aoti.load(package("add"), **bad)
    with pytest.raises(TypeError, match="binary"), open(__file__) as text:
        aoti.load(text)
    with pytest.raises(TypeError):
        aoti.CompiledModel.__new__(aoti.CompiledModel)(torch.ones(8))
    torch.testing.assert_close(aoti.load(package("add"), device="cpu")(torch.ones(8), torch.ones(8))[0].item(), 2.0)


def test_the_code_lies_where_it_is_asked_to():
    a = torch.arange(8.0)
    for backing in (None, "memory", "shared_memory", "temporary_file"):
        torch.testing.assert_close(aoti.load(package("add"), backing=backing)(a, a), a + a)
    with pytest.raises(ValueError, match="backing: expected None or one of 'memory', .*; found 'disk'"):
        aoti.load(package("add"), backing="disk")


def test_stacks_stay_as_they_are():
    """Torch's own packages ask for executable stacks."""
    script = (
        "import sys, aoti\n"
        "for path in sys.argv[1:]: aoti.load(path)\n"
        "print(*(line.split()[1] for line in open('/proc/self/maps') if '[stack]' in line))"
    )
    paths = [package("mlp_plain"), package("add")]
    ran = subprocess.run([sys.executable, "-c", script, *paths], capture_output=True, text=True, check=True)
    assert ran.stdout == "rw-p\n"


def test_what_the_systems_loader_would_refuse_is_told_by_inspect():
    content = bytearray(package("add").read_bytes())
    content[content.index(b"\x7fELF") + 7] = 9  # the number of FreeBSD
    (model,) = aoti.inspect(bytes(content))
    assert "for FreeBSD; this system is Linux" in model.refused
    with pytest.raises(aoti.LoadError, match="for FreeBSD"):
        aoti.load(bytes(content))


def test_it_tells_of_itself(add):
    assert [str(tensor) for tensor in add.inputs] == ["a: float32[8] on cpu", "b: float32[8] on cpu"]
    assert add.outputs[0].shape == (8,) and add.device == "cpu" and "AOTI_DEVICE_KEY" in add.metadata
    assert aoti.load(package("nested")).inputs[0].shape == ("batch 1..64", 3)
    assert str(inspect.signature(add)) == "(a, b, /)"
    assert str(inspect.signature(aoti.load(package("nested")))) == "(x, /, *, scale)"
    for described in (aoti.CompiledModel.device, aoti.CompiledModel.metadata, aoti.drop_in.AOTIModelPackageLoader.run):
        assert described.__doc__
    assert "threads" in aoti.__doc__ and "tune" in aoti.__doc__ and "two capsules" in aoti.drop_in.__doc__
    plain = aoti.load(package("mlp_plain"))  # written by torch's own function
    assert plain.inputs == [] and plain(torch.ones(4, 64)).shape == (4, 8)


def test_weights_change_as_a_whole():
    model = aoti.load(package("mutating"))
    x = torch.ones(12)
    assert {c.name: c.shape for c in model.constants} == {"weight": (12,), "counter": (12,)}
    with model.update() as u:
        u["weight"] = torch.full((12,), 5.0)
        u["counter"] = torch.zeros(12)
    torch.testing.assert_close(model(x)[0], torch.full((12,), 6.0))
    torch.testing.assert_close(model.weights()["weight"], torch.full((12,), 5.0))
    with pytest.raises(aoti.WeightsError, match="weigh"), model.update() as u:
        u["weight"] = torch.zeros(12)
        u["weigh"] = torch.zeros(12)
    with pytest.raises(KeyError), model.update() as u:
        u["weight"] = torch.zeros(12)
        raise KeyError
    with model.update() as u, pytest.raises(TypeError):
        u["weight"] = [1.0] * 12
    torch.testing.assert_close(model(x)[0], torch.full((12,), 7.0))
    with model.update() as u:
        u["weight"] = np.full(12, 5, dtype=np.float32)
    torch.testing.assert_close(model.weights()["weight"], torch.full((12,), 5.0))
    for outside in (u, model.update()):
        with pytest.raises(RuntimeError, match="with model.update"):
            outside["weight"] = torch.zeros(12)
    with pytest.raises(TypeError, match="mapping"), model.update() as u:
        u.update([1])
    with pytest.raises(TypeError, match="share"):
        model.update(share="no")
    model.update()
    own = torch.zeros(12)
    with model.update(share=True) as u:
        u.update({"weight": own})
    own.fill_(1)
    torch.testing.assert_close(model(x)[0], torch.full((12,), 4.0))


def test_a_package_without_weights_waits_for_them():
    other, model, x = aoti.load(package("linear_embedded")), aoti.load(package("linear_none")), torch.randn(3, 16)
    with pytest.raises(aoti.RunError, match="no weights yet"):
        model(x)
    with pytest.raises(aoti.WeightsError, match="first.bias"), model.update() as u:
        u["first.weight"] = other.weights()["first.weight"]
    with model.update() as u:
        u.update(other.weights())
    torch.testing.assert_close(model(x), other(x))


def test_weights_that_the_compiler_copied_change_with_all_others(tmp_path):
    torch.manual_seed(3)
    module, x = torch.nn.Sequential(torch.nn.Linear(96, 64), torch.nn.Linear(64, 96)).eval(), torch.randn(1, 96)
    options = {"max_autotune": True, "max_autotune_gemm_backends": "CPP"}
    model = aoti.load(aoti.export(tmp_path / "model.pt2", aoti.Model(module, (x,), options=options), threads=1), threads=1)
    before, weights = model(x), model.weights()
    derived = {c["fqn"] for c in json.loads(model.metadata["aoti.spec"])["constants"] if c.get("derived")}
    assert derived and "0.bias" in weights.keys() - derived
    assert {c.name for c in model.constants if not c.updatable} == {"0.weight", "1.weight"}
    with pytest.raises(aoti.WeightsError, match="do not follow: 0.weight, 1.weight"), model.update() as u:
        u["0.weight"] = weights["0.weight"]
    with pytest.raises(aoti.WeightsError, match="copies of weights") as error, model.update() as u:
        u["0.bias"] = torch.zeros(64)
    assert error.value.code == "missing constants"
    torch.testing.assert_close(model(x), before, rtol=0, atol=0)
    with model.update() as u:
        u.update({**weights, "0.bias": weights["0.bias"] + 1})
    expected = module[1](module[0](x) + 1)
    torch.testing.assert_close(model(x), expected, rtol=1e-4, atol=1e-4)


def test_an_update_is_entered_once():
    update = aoti.load(package("mutating")).update()
    with update, pytest.raises(RuntimeError, match="open already"), update:
        pass


def test_weights_are_copies_that_stay():
    model = aoti.load(package("linear_embedded"), instances=2)
    weights = model.weights()
    errors = []

    def work(call):
        try:
            for _ in range(100):
                call()
        except Exception as error:  # noqa: BLE001
            errors.append(error)

    def update():
        with model.update() as u:
            u.update(weights)

    threads = [threading.Thread(target=work, args=(call,)) for call in (update, update, model.weights, model.weights)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert not errors
    kept = {name: tensor.clone() for name, tensor in weights.items()}
    del model
    gc.collect()
    torch.testing.assert_close(weights, kept)


@pytest.mark.parametrize("instances", [1, 2])
def test_a_call_from_inside_the_models_own_run_is_an_error(instances):
    calls = []

    @torch.library.custom_op("aoti_tests::twice_plus", mutates_args=())
    def twice_plus(x: torch.Tensor, alpha: float) -> torch.Tensor:
        if not calls:
            calls.append(x)
            for call in (lambda: model(x), model.weights):
                with pytest.raises(aoti.RunError, match="inside one of its runs"):
                    call()
        return 2 * x + alpha

    model = aoti.load(package("custom"), instances=instances)
    for _ in range(2):
        model(torch.ones(8))
    assert len(calls) == 1


def test_what_an_operator_raises_is_the_cause():
    raised = None

    @torch.library.custom_op("aoti_tests::twice_plus", mutates_args=())
    def twice_plus(x: torch.Tensor, alpha: float) -> torch.Tensor:
        if raised is not None:
            raise raised
        return 2 * x + alpha

    x = torch.ones(8)
    loader = aoti.drop_in.AOTIModelPackageLoader(str(package("custom")))
    for call in (aoti.load(package("custom")), lambda x: loader.run([x]), lambda x: loader.boxed_run([x])):
        raised = KeyError("a key")
        with pytest.raises(aoti.RunError, match="a key") as error:
            call(x)
        assert error.value.__cause__ is raised
        for raised in (KeyboardInterrupt("stop"), SystemExit(3)):
            with pytest.raises(type(raised)) as stopped:
                call(x)
            assert stopped.value is raised
        raised = None
        call(x)


def test_a_process_ends_while_a_thread_is_in_a_call():
    # The results are kept: torch itself crashes if a thread frees a tensor at that time.
    script = (
        "import aoti, threading, time, torch\n"
        f"model, a, kept = aoti.load({str(package('add'))!r}), torch.ones(8), []\n"
        "def call():\n"
        "    while True: kept.append(model(a, a))\n"
        "for _ in range(4): threading.Thread(target=call, daemon=True).start()\n"
        "time.sleep(0.1)\n"
    )
    for _ in range(3):
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr


def test_what_was_compiled_in_is_compared(tmp_path):
    class Kinds(torch.nn.Module):
        def forward(self, x, k=3, mask=None, *, mode="a"):
            x.add_(1)
            return x * k

    path = aoti.export(tmp_path / "kinds.pt2", aoti.Model(Kinds(), (torch.zeros(2, 3), 3, None), {"mode": "a"}))
    model, x = aoti.load(path), torch.zeros(2, 3)
    torch.testing.assert_close(model(x, 3, None, mode="a"), torch.full((2, 3), 3.0))
    torch.testing.assert_close(x, torch.ones(2, 3))
    for args, mode, kind, name in (
        ((x, 4, None), "a", aoti.InputError, "k"),
        ((x, 3.0, None), "a", aoti.InputError, "k"),
        ((x, 3, x), "a", aoti.InputError, "mask"),
        ((x, 3, None), "b", aoti.InputError, "mode"),
        ((3, x, None), "a", TypeError, "x"),
        ((None, 3, None), "a", TypeError, "x"),
    ):
        with pytest.raises(kind, match=f"argument '{name}'"):
            model(*args, mode=mode)

    assert aoti._export.constant_text(np.float64(2.5)) == aoti._export.constant_text(2.5)
    for kind, value in ((np.bool_, True), (np.int32, 3), (np.float32, 2.5), (np.str_, "a")):
        assert aoti._export.constant_text(kind(value)) == aoti._export.constant_text(value)
    torch.testing.assert_close(model(torch.zeros(2, 3), np.int64(3), None, mode=np.str_("a")), torch.full((2, 3), 3.0))
    with pytest.raises(aoti.InputError, match="argument 'k': found True, but the model was compiled with 3"):
        model(x, np.bool_(True), None, mode="a")

    # It writes to x, so x must be memory where this shows.
    array = np.zeros((2, 3), dtype=np.float32)
    model(array, 3, None, mode="a")
    assert array[0, 0] == 1
    array.flags.writeable = False
    loader = aoti.drop_in.AOTIModelPackageLoader(path)
    for call in (lambda x: model(x, 3, None, mode="a"), lambda x: loader.run([x]), lambda x: loader.boxed_run([x])):
        with pytest.raises(TypeError, match="not writeable"):
            call(array)
        with pytest.raises(aoti.InputError, match="the model writes to it"):
            call(torch.zeros(3, 2).t())
    assert array[0, 0] == 1


@dataclasses.dataclass(eq=False)
class Answer:
    sum: torch.Tensor
    product: torch.Tensor


def test_classes_are_registered_or_told(tmp_path, monkeypatch):
    class Answers(torch.nn.Module):
        def forward(self, x, y):
            return Answer(x + y, x * y)

    a, b = torch.randn(3), torch.randn(3)
    arguments = tmp_path / "answers.pt2", aoti.Model(Answers(), (a, b))
    with pytest.raises(ValueError, match="a test_load.Answer, .*by torch.export.register_dataclass"):
        aoti.export(*arguments)
    torch.export.register_dataclass(Answer, serialized_type_name="tests.Answer")
    model = aoti.load(aoti.export(*arguments))
    monkeypatch.delitem(pytree.SERIALIZED_TYPE_TO_PYTHON_TYPE, "tests.Answer")
    with pytest.raises(aoti.RunError, match="'tests.Answer', .*not registered.*register_dataclass; or use model.run"):
        model(a, b)
    for inputs in ([a, b], (a, b)):
        total, product = model.run(inputs)
        torch.testing.assert_close((total, product), (a + b, a * b))
    for bad in (a, 3, "ab", None):
        with pytest.raises(TypeError):
            model.run(bad)
    monkeypatch.undo()
    torch.testing.assert_close(model(a, b).product, a * b)


def test_it_has_what_torchs_class_has():
    model, theirs = aoti.load(package("mutating")), torch._inductor.aoti_load_package(str(package("mutating")))
    public = {name for name in dir(theirs) if not name.startswith("_")}
    assert public - set(dir(model)) == {"loader"}
    assert model.get_metadata() == theirs.get_metadata() == model.metadata
    assert sorted(model.get_constant_fqns()) == sorted(theirs.get_constant_fqns())
    assert model.get_call_spec() == theirs.loader.get_call_spec()
    weights = {"weight": torch.full((12,), 5.0), "counter": torch.zeros(12)}
    for one in (model, theirs) if TORCH >= (2, 13) else (model,):
        one.load_constants(weights, check_full_update=True)
        one.load_constants({"weight": torch.full((12,), 6.0)}, check_full_update=False, user_managed=True)
        with pytest.raises((RuntimeError, ValueError), match="user_managed"):
            one.load_constants(weights, check_full_update=True, user_managed=True, allow_h2d_copy=True)
    torch.testing.assert_close(model.weights()["weight"], torch.full((12,), 6.0))
    with pytest.raises(aoti.WeightsError):
        model.load_constants({"counter": torch.zeros(12)}, check_full_update=True)
    holder = copy.deepcopy([model])
    assert holder[0] is model and copy.copy(model) is model


def test_tensors_inside_of_transforms_are_refused(add):
    for transform in (torch.func.vmap, lambda f: torch.func.grad(lambda x: f(x).sum())):
        with pytest.raises(aoti.InputError, match="vmap, grad or jvp"):
            transform(lambda x: add(x, x))(torch.ones(8, 8))
    with pytest.raises(aoti.InputError, match="vmap, grad or jvp"):
        torch.func.jvp(lambda x: add(x, x), (torch.ones(8),), (torch.ones(8),))


def test_threads_of_a_run_are_its_threads_only():
    found = {}

    @torch.library.custom_op("aoti_tests::twice_plus", mutates_args=())
    def twice_plus(x: torch.Tensor, alpha: float) -> torch.Tensor:
        found["run"] = torch.get_num_threads()
        other = threading.Thread(target=lambda: found.update(other=torch.get_num_threads()))
        other.start()
        other.join()
        return 2 * x + alpha

    before = torch.get_num_threads()
    aoti.load(package("custom"), threads=before + 1)(torch.ones(8))
    assert found == {"run": before + 1, "other": before} and torch.get_num_threads() == before


def test_threads_take_turns_and_the_gil_is_free(add):
    nested = aoti.load(package("nested"), instances=2)
    errors = []

    def work(value):
        x = torch.full((4, 3), float(value))
        for _ in range(200):
            if not torch.equal(nested(x, scale=x)["y"], x * x) or not torch.equal(add(*[x.flatten()[:8]] * 2), 2 * x.flatten()[:8]):
                errors.append(value)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(1, 5)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert not errors


def test_the_gil_is_released_during_a_run(tmp_path):
    class Slow(torch.nn.Module):
        def forward(self, x):
            for _ in range(60):
                x = torch.tanh(x)
            return x

    big = torch.randn(1 << 21)
    aoti.export(tmp_path / "slow.pt2", aoti.Model(Slow(), (big,), options={"cpp.threads": 1}))
    model = aoti.load(tmp_path / "slow.pt2")
    entered, seen = threading.Event(), 0

    def run():
        entered.set()
        model(big)

    thread = threading.Thread(target=run)
    thread.start()
    entered.wait()
    while thread.is_alive():  # with the GIL held, there would be only one or two turns of 5 ms each
        seen += 1
        time.sleep(0)
    assert seen > 100


def test_control_c_works(tmp_path):
    script = tmp_path / "loop.py"
    script.write_text(
        "import signal, aoti, torch\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)  # a background shell ignores it\n"
        f"model, a = aoti.load({str(package('add'))!r}), torch.ones(8)\n"
        "print('ready', flush=True)\n"
        "while True: model(a, a)\n"
    )
    process = subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode != 0 and "KeyboardInterrupt" in said


def test_a_model_for_another_number_of_threads_is_a_warning(tmp_path):
    for compiled_for in (1, 2):
        model = aoti.Model(torch.nn.ReLU(), (torch.ones(8),), options={"cpp.threads": compiled_for})
        aoti.export(tmp_path / f"{compiled_for}.pt2", model)
    assert aoti.inspect(tmp_path / "2.pt2")[0].threads == 2
    with pytest.warns(aoti.ThreadsWarning, match="compiled for 2 threads and runs with 1"):
        aoti.load(tmp_path / "2.pt2", threads=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = aoti.load(tmp_path / "2.pt2", threads=2)
        aoti.load(tmp_path / "1.pt2", threads=2)
    before = torch.get_num_threads()
    model(torch.ones(8))
    assert torch.get_num_threads() == before


def test_errors_can_be_pickled():
    error = pickle.loads(pickle.dumps(aoti.InputError("text", "code")))
    assert str(error) == "text" and error.code == "code"


def test_inspect_prints_a_table():
    (model,) = aoti.inspect(package("nested"))
    assert model.refused is None and model.image > 0
    text = str(aoti.inspect(package("nested")))
    assert "model model" in text and "input      x: float32[batch 1..64, 3] on cpu" in text
    assert [model.name for model in aoti.inspect(package("pair"))] == ["model", "model2"]
    assert repr(aoti.inspect(package("nested"))) == text and len(repr(model)) < 1000
    assert repr(aoti.load(package("add"))).startswith("<CompiledModel(a: float32[8] on cpu, b: float32[8] on cpu) -> (")
    other = torch.get_num_threads() + 1
    assert f"threads    {other} (this process: {other - 1})" in str(dataclasses.replace(model, threads=other))


def test_inspect_tells_whether_libtorch_is_needed():
    (model,) = aoti.inspect(package("add"))
    assert model.operators == model.libraries == model.missing == []
    assert "operators  none" in str(model) and "libtorch   not needed" in str(model)
    (model,) = aoti.inspect(package("mlp"))
    assert model.operators == ["aoti_torch_cpu_addmm_out"] and model.missing == []
    assert "operators  addmm_out" in str(model)
    assert "libtorch   not needed, with oneDNN (aoti/runtime/onednn.hpp)" in str(model)
    (model,) = aoti.inspect(package("operators"))
    assert any("::" in name for name in model.missing) and "libtorch   needed for " in str(model)


def test_the_command_inspects(tmp_path):
    command = [sys.executable, "-m", "aoti", "inspect"]
    done = subprocess.run([*command, package("add")], capture_output=True, text=True, check=True)
    assert "input      a: float32[8] on cpu" in done.stdout
    with subprocess.Popen([*command, package("add")], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        process.stdout.close()  # as `| true` does
        assert "Error" not in process.stderr.read() and process.wait() == 1
    ascii_only = {**os.environ, "PYTHONIOENCODING": "ascii"}
    shutil.copy(package("add"), tmp_path / "größe.pt2")
    done = subprocess.run([*command, tmp_path / "größe.pt2"], capture_output=True, text=True, check=True, env=ascii_only)
    assert r"gr\xf6\xdfe.pt2" in done.stdout
    failed = subprocess.run([*command, tmp_path / "absent.pt2"], capture_output=True, text=True, check=False)
    assert failed.returncode == 1 and "not found" in failed.stderr and "Traceback" not in failed.stderr


def test_written_inputs_must_not_share_memory():
    model = aoti.load(package("writing"))
    w, array = torch.arange(16.0), np.arange(8, dtype=np.float32)
    for bad in ((w[:8], w[:8]), (w[:8], w[7:15]), (array, array), (torch.from_numpy(array), array)):
        with pytest.raises(aoti.InputError, match=r"input 0 'w'.* found memory that is also that of input 1 'x'"):
            model(*bad)
    assert w[1] == 1 and array[1] == 1
    torch.testing.assert_close(model(w[:8], w[8:]), torch.arange(9.0, 17))
    torch.testing.assert_close(w[:8], torch.arange(0.0, 16, 2))


@pytest.mark.parametrize("name", ["state", "state_embedded"])
@pytest.mark.parametrize("way", ["load", "drop_in", "updated"])
def test_outputs_outlive_the_weights_that_they_are_views_of(name, way):
    x = torch.ones(6)
    if way == "drop_in":
        model = aoti.drop_in.AOTIModelPackageLoader(str(package(name)), "model", True, 1, -1)
        outputs = model.run([x])
    else:
        model = aoti.load(package(name))
        outputs = model(x)
    if way == "updated":
        with model.update() as weights:
            weights["total"] = torch.zeros(4, 6)
    else:
        del model
        gc.collect()
    other = aoti.load(package(name))  # where the memory may be reused
    other(x)
    torch.testing.assert_close(outputs[0], torch.arange(1.0, 25).view(6, 4).t())
    torch.testing.assert_close(outputs[1], torch.arange(1.0, 25).view(6, 4))
