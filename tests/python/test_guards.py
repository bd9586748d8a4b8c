"""What an exported program requires of its inputs' sizes, and example inputs that torch.export treats as one."""

from __future__ import annotations

import math
import warnings
from random import Random

import common
import pytest
import torch
from torch import nn
from torch.export import Dim, export
from torch.utils import _pytree as pytree

import aoti
from aoti import GuardWarning, Model, spec
from aoti._export import _exported

D = Dim.DYNAMIC
keeps_guards = pytest.mark.skipif(
    "_guards_code" not in vars(torch.export.ExportedProgram).get("__annotations__", {}),
    reason="this torch's programs do not check their guards",
)


class Calls(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, *args):
        return self.function(*args)


def accepts(described: dict, sizes: list[list[int]]) -> bool:
    """What a loader does with a spec, according to the texts of its guards."""
    symbols: dict[str, int] = {}
    for tensor, found in zip(described["inputs"], sizes):
        for dimension, size in zip(tensor["shape"], found):
            if isinstance(dimension, int):
                dimension = {"min": dimension, "max": dimension}
            if size < dimension["min"] or size > (dimension["max"] or math.inf):
                return False
            if "symbol" in dimension:
                value, rest = divmod(size - dimension.get("offset", 0), dimension.get("scale", 1))
                if rest or symbols.setdefault(dimension["symbol"], value) != value:
                    return False
    tensors = {tensor["name"]: torch.empty(found, device="meta") for tensor, found in zip(described["inputs"], sizes)}
    try:
        return all(eval(guard["text"], {"math": math, **tensors}) for guard in described.get("guards", []))
    except ZeroDivisionError:
        return False


def checked(a, b):
    torch._check(a.shape[0] % b.shape[0] == 0)
    return a.view(-1, b.shape[0]) + b


def less(a, b):
    torch._check(a.shape[0] < b.shape[0])
    return b[: a.shape[0]] + a


def either(a, b):
    torch._check((a.shape[0] > 5) | (b.shape[0] > 4))
    return a.sum() + b


def specialised(x):
    return torch.arange(math.ceil(x.shape[0] * 0.5)) + torch.ones(2) + x.sum()


PROGRAMS = {
    "product": (lambda x, y: x.flatten() + y, [[3, 5], [15]]),
    "square": (lambda x, y: x.view(y.shape[0], y.shape[0]) @ y, [[25], [5]]),
    "sum": (lambda x, y, z: torch.cat([x, y]) + z, [[3], [5], [8]]),
    "divisor": (lambda x: x.reshape(4, -1), [[12]]),
    "view": (lambda x: x.view(x.shape[0], 4, -1), [[3, 20]]),
    "remainder": (checked, [[12], [4]]),
    "less": (less, [[3], [7]]),
    "either": (either, [[3], [7]]),
    "branch": (lambda a, b: a.sum() + b if a.shape[0] * 2 > b.shape[0] else a.sum() - b, [[6], [7]]),
    "even": (lambda a: a * 2 if a.shape[0] % 2 == 0 else a * 3, [[7]]),
    "bit": (lambda a: a + 1 if a.shape[0] & 1 else a - 1, [[7]]),
    "max": (lambda a, b, c: torch.zeros(max(a.shape[0], b.shape[0])) + c, [[3], [7], [7]]),
    "distance": (lambda a, b: a[: abs(a.shape[0] - b.shape[0])] + b.sum(), [[9], [3]]),
    "float": (specialised, [[4]]),
    "pool": (lambda x: torch.nn.functional.avg_pool2d(x, 2), [[1, 1, 8, 8]]),
    "slices": (lambda x, y: x[::2] + y, [[9], [5]]),
    "first": (lambda x: x[0] + x[-1], [[4, 3]]),
    "linear": (nn.Linear(4, 3), [[5, 4]]),
    "squeezed": (lambda x: x.squeeze(0), [[3, 4]]),
}
# Sizes that torch's program accepts, but with a result that differs from what it promises.
OTHERWISE = {"squeezed": (0, 1)}


@keeps_guards
@pytest.mark.parametrize("name", PROGRAMS)
def test_a_spec_takes_what_the_program_takes(name):
    function, examples = PROGRAMS[name]
    module = function if isinstance(function, nn.Module) else Calls(function)
    dynamic = tuple({d: D for d, size in enumerate(sizes) if size > 1 and name != "linear" or d == 0} for sizes in examples)
    if name == "pool":
        dynamic = ({2: D, 3: D},)
    shapes = dynamic if isinstance(function, nn.Module) else (dynamic,)
    program = export(module, tuple(map(torch.randn, examples)), dynamic_shapes=shapes)
    with warnings.catch_warnings():
        warnings.simplefilter("error", GuardWarning)
        described = spec(program)
    called, random, taken, refused = program.module(), Random(name), 0, 0
    for n in range(120):
        sizes = [[random.randrange(0, 13) if d in dims else size for d, size in enumerate(s)] for s, dims in zip(examples, dynamic)]
        if n % 2 and name in ("product", "square", "sum"):
            sizes[{"square": 0}.get(name, -1)] = [
                {"product": math.prod(sizes[0]), "square": sizes[-1][0] ** 2, "sum": sizes[0][0] + sizes[1][0]}[name]
            ]
        if any(size in OTHERWISE.get(name, ()) for s in sizes for size in s):
            continue
        try:
            called(*map(torch.ones, sizes))
            expected = True
        except (AssertionError, RuntimeError, IndexError, ZeroDivisionError):
            expected = False
        assert accepts(described, sizes) == expected, sizes
        taken, refused = taken + expected, refused + (not expected)
    assert taken > 0 and (refused > 0 or name in ("linear", "squeezed"))


def test_guards_are_data_and_follow_from_nothing_else():
    class Three(nn.Module):
        def forward(self, x, y, z):
            return (x.flatten() + y).view(z.shape[0], -1) + z[:, None]

    program = export(Three(), (torch.randn(3, 4), torch.randn(12), torch.randn(3)), dynamic_shapes=({0: D, 1: D}, {0: D}, {0: D}))
    described = spec(program)
    assert described["version"] == 2
    assert {"text": "y.size(0) == x.size(0) * x.size(1)", "check": ["==", [1, 0], ["*", [0, 0], [0, 1]]]} in described["guards"]
    texts = [guard["text"] for guard in described["guards"]]
    assert len(texts) == len(set(texts))

    named = Dim("n", max=9)
    derived = export(Calls(lambda x, y: x[: y.shape[0]] + y), (torch.randn(4), torch.randn(3)), dynamic_shapes=(({0: named + 1}, {0: named}),))
    assert spec(derived)["version"] == 1  # its linear dimensions say everything


def test_what_cannot_be_written_is_told():
    program = export(Calls(lambda x: x + 1), (torch.randn(4),))
    program._guards_code = ["L['args'][0].size()[0].bit_length() == 3"]
    with pytest.warns(GuardWarning, match=r"bit_length\(\) == 3 of its inputs, which the compiled model cannot check"):
        spec(program)


@keeps_guards
def test_programs_that_were_saved_keep_their_guards(tmp_path):
    program = export(Calls(checked), (torch.randn(12), torch.randn(4)), dynamic_shapes=(({0: D}, {0: D}),))
    torch.export.save(program, tmp_path / "program.pt2")
    assert spec(torch.export.load(tmp_path / "program.pt2"))["guards"] == spec(program)["guards"]


def test_small_sizes_are_tried_without_a_trace():
    class Counts(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("count", torch.zeros(4))

        def forward(self, x):
            self.count.add_(x.sum(0))
            return x + self.count

    module = Counts()
    program = export(module, (torch.ones(3, 4),), dynamic_shapes=({0: D},))
    assert spec(program)["inputs"][0]["shape"][0]["min"] == 0
    assert not module.count.any() and not program.state_dict["count"].any()


class Holds(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.arange(4.0))
        self.register_buffer("buffer", torch.arange(4.0) * 10)
        self.other = torch.arange(4.0) * 100

    def forward(self, x):
        return x + 2 * self.weight + 3 * self.buffer + 5 * self.other


class Writes(nn.Module):
    def forward(self, a, b):
        a.add_(1)
        return a - 2 * b


def examples():
    x, grid, holds = torch.arange(4.0), torch.arange(12.0).view(3, 4), Holds()
    nested = Calls(lambda z, k: z["a"][0] - 2 * z["a"][1] + 3 * k)
    yield "same", Writes(), (x, x)
    yield "view", Writes(), (x, x.view(4))
    yield "data", Writes(), (x, x.data)
    yield "numpy", Writes(), (x, torch.from_numpy(x.numpy()))
    yield "rows", Writes(), (grid[0], grid[1])
    yield "strided", Writes(), (grid[:, 0], grid[:, 1])
    yield "transposed", Writes(), (grid[:, :3], grid[:, :3].t())
    yield "expanded", Calls(lambda a, b: a - 2 * b), (x[:1].expand(4),) * 2
    yield "empty", Writes(), (x[:0], x[:0])
    yield "nested", nested, ({"a": [x, x]}, x)
    for tensor in (holds.weight, holds.buffer, holds.other, holds.weight.data, holds.buffer.view(4)):
        yield "weight", holds, (tensor,)


@pytest.mark.parametrize(("name", "module", "args"), list(examples()))
def test_examples_that_share_memory_are_told_apart(name, module, args):
    program = _exported(Model(module, args))
    leaves, form = pytree.tree_flatten(args)
    for example, leaf in zip(pytree.tree_leaves(program.example_inputs), leaves):
        assert example.stride() == leaf.stride() and torch.equal(example, leaf)

    def fresh():
        return pytree.tree_unflatten([torch.arange(float(t.numel())).view(t.shape) * (i + 2) for i, t in enumerate(leaves)], form)

    assert torch.equal(program.module()(*fresh()), module(*fresh()))


def test_shapes_that_go_by_tensors_are_found():
    x = torch.arange(4.0)
    shapes = torch.export.ShapesCollection()
    shapes[x] = {0: Dim("n")}
    (a, b) = spec(_exported(Model(Writes(), (x, x), dynamic_shapes=shapes)))["inputs"]
    assert a["shape"] == b["shape"] == [{"symbol": "n", "min": 0, "max": None}]


def test_programs_of_one_example_in_two_places_are_refused(tmp_path):
    x, holds = torch.arange(4.0), Holds()
    for module, args, names in ((Writes(), (x, x), "'a' and 'b'"), (holds, (holds.buffer,), "'b_buffer' and 'x'")):
        with pytest.raises(ValueError, match=f"{names} were exported with one tensor as the example of both"):
            aoti.export(tmp_path / "model.pt2", Model(export(module, args)))


@pytest.mark.skipif(not hasattr(aoti, "load"), reason="the compiled part is not built")
def test_a_compiled_model_checks_its_guards(tmp_path):
    def run(x, y, z):
        torch._check(z.shape[0] % 3 == 0)
        return (x.flatten() + y).sum() + z, torch.nn.functional.linear(x, x)

    a = torch.randn(3, 5)
    shapes = (({0: D, 1: D}, {0: D}, {0: D}),)
    path = aoti.export(tmp_path / "model.pt2", Model(Calls(run), (a, a.flatten(), torch.randn(6)), dynamic_shapes=shapes), threads=1)
    model = aoti.load(path)
    for sizes in ([3, 5], [15], [6]), ([1, 4], [4], [3]), ([0, 4], [0], [0]), ([7, 2], [14], [9]):
        inputs = [torch.randn(size) for size in sizes]
        if math.prod(sizes[0]) >= 4:  # as in torch, which records that both are at least 2
            for found, expected in zip(model(*inputs), run(*inputs)):
                torch.testing.assert_close(found, expected)
    with pytest.raises(
        aoti.InputError,
        match=r"input 1 'args_1': wrong input shape: found args_1\.size\(0\) = 4, args_0\.size\(0\) = 4, "
        r"args_0\.size\(1\) = 6; expected args_1\.size\(0\) == args_0\.size\(0\) \* args_0\.size\(1\)",
    ):
        model(torch.ones(4, 6), torch.ones(4), torch.ones(3))
    with pytest.raises(aoti.InputError, match=r"found args_2\.size\(0\) = 4; expected args_2\.size\(0\) % 3 == 0"):
        model(torch.ones(4, 6), torch.ones(24), torch.ones(4))
    assert "args_2.size(0) % 3 == 0" in aoti.inspect(path)[0].guards
    assert "guard      args_2.size(0) % 3 == 0" in str(aoti.inspect(path))


def test_sizes_that_inductor_writes_into_the_code_are_guarded(tmp_path):
    """It takes a pool's windows from the example's size, although the exported program has none."""

    def pooled(x, y):
        return nn.functional.adaptive_avg_pool1d(x, 2) + y.sum()

    model = Model(Calls(pooled), (torch.randn(1, 3, 5), torch.randn(4)), dynamic_shapes=(({2: D}, {0: D}),))
    with pytest.warns(GuardWarning, match=r"compiled the model for args_0\.size\(2\) == 5 only"):
        path = aoti.export(tmp_path / "model.pt2", model, threads=1)
    compiled = aoti.load(path)
    for size in (1, 7):
        inputs = torch.randn(1, 3, 5), torch.randn(size)
        torch.testing.assert_close(compiled(*inputs), pooled(*inputs))
    for size in (1, 3, 10):
        with pytest.raises(aoti.InputError, match=r"expected args_0\.size\(2\) == 5"):
            compiled(torch.randn(1, 3, size), torch.randn(4))


def test_what_the_program_demands_in_other_words_is_not_told(tmp_path):
    model = Model(Calls(lambda x: x.reshape(2, -1) + 1), (torch.randn(6, 3),), dynamic_shapes=(({0: D},),))
    with warnings.catch_warnings():
        warnings.simplefilter("error", GuardWarning)
        compiled = aoti.load(aoti.export(tmp_path / "model.pt2", model, threads=1))
    torch.testing.assert_close(compiled(torch.ones(8, 3)), torch.full((2, 12), 2.0))
    with pytest.raises(aoti.InputError, match="expected"):
        compiled(torch.ones(5, 3))


def test_which_of_two_sizes_is_smaller_is_noted():
    from torch._inductor.sizevars import SizeVarAllocator

    from aoti._assumptions import assumptions_noted

    program = export(Calls(lambda x: x + 1), (torch.randn(5, 3),), dynamic_shapes=(({0: D},),))
    size = next(n for n in program.graph.nodes if n.op == "placeholder").meta["val"].shape[0].node
    with assumptions_noted({}) as noted:
        sizes = SizeVarAllocator(size.shape_env)
        assert sizes.evaluate_min(size.expr, 9) == size.expr and sizes.evaluate_max(size.expr, 4) == size.expr
    assert {str(relation) for relation in noted} >= {f"{size.expr} <= 9", f"4 <= {size.expr}"}


INDEXED = {
    "read": lambda x: x[torch.arange(2)] + 1,
    "gathered": lambda x: x.gather(0, torch.zeros(1, 3, dtype=torch.long)) + 1,
    "written": lambda x: (x + 0).index_put((torch.arange(2),), torch.tensor(7.0)),
    "scattered": lambda x: x.scatter(0, torch.zeros(1, 3, dtype=torch.long), 7.0),
    "embedded": lambda x: nn.functional.embedding(torch.arange(2), x) * 2,
}


class AllIndexed(nn.Module):
    def forward(self, *tensors):
        return [function(x) for function, x in zip(INDEXED.values(), tensors)]


@pytest.mark.parametrize("tried", [True, False])
def test_indices_are_checked_against_small_sizes(tmp_path, monkeypatch, tried):
    """Inductor assumes that each dynamic size is at least 2, and so omits checks of indices that are always less."""
    if not tried:
        monkeypatch.setattr("aoti._guards._computes", lambda *_: True)
    examples = tuple(torch.randn(5 + i, 3) for i in range(len(INDEXED)))
    shapes = {"tensors": tuple({0: D} for _ in examples)}
    model = aoti.load(aoti.export(tmp_path / "model.pt2", Model(AllIndexed(), examples, dynamic_shapes=shapes), threads=1))
    for i, (name, function) in enumerate(INDEXED.items()):
        for size in (3, 1, 0):
            inputs = [x if k != i else torch.randn(size, 3) for k, x in enumerate(examples)]
            try:
                expected = function(inputs[i])
            except (IndexError, RuntimeError):
                error, text = (aoti.InputError, "or more") if tried else (aoti.RunError, common.OUT_OF_BOUNDS)
                with pytest.raises(error, match=text):
                    model(*inputs)
            else:
                torch.testing.assert_close(model(*inputs)[i], expected, msg=f"{name} {size}")


def test_sizes_that_only_fake_kernels_take_are_refused(tmp_path):
    """An empty interpolated tensor has nothing to read; a maximum along another dimension is empty."""

    def larger(x, y, z):
        attended = nn.functional.scaled_dot_product_attention(z, z, z)
        return nn.functional.interpolate(x, size=7, mode="linear"), y.max(1).values, attended

    examples = torch.randn(1, 3, 6), torch.randn(4, 3), torch.randn(1, 2, 5, 8)
    model = Model(Calls(larger), examples, dynamic_shapes=(({2: D}, {0: D}, {2: D}),))
    compiled = aoti.load(aoti.export(tmp_path / "model.pt2", model, threads=1))
    for sizes in ((1, 0, 1), (6, 1, 2), (9, 5, 7)):
        inputs = torch.randn(1, 3, sizes[0]), torch.randn(sizes[1], 3), torch.randn(1, 2, sizes[2], 8)
        torch.testing.assert_close(compiled(*inputs), larger(*inputs))
    with pytest.raises(aoti.InputError, match="found 0, expected 1 or more"):
        compiled(torch.randn(1, 3, 0), *examples[1:])
    with pytest.raises(aoti.InputError, match="found 0, expected 1 or more"):
        compiled(*examples[:2], torch.randn(1, 2, 0, 8))

    named = Model(Calls(larger), examples, dynamic_shapes=(({2: Dim("width", min=0, max=64)}, {0: D}, {2: D}),))
    with pytest.warns(GuardWarning, match="does not run on all sizes of 'width': those below 1 are refused"):
        assert spec(_exported(named))["inputs"][0]["shape"][2]["min"] == 1


@pytest.mark.skipif(common.TORCH < (2, 13), reason="this torch's models only print why they fail")
@pytest.mark.parametrize("threads", [1, 2])
def test_assertions_on_data_hold(tmp_path, threads):
    def asserted(x, y):
        torch._assert_async(x[0] > 0)
        torch._assert_async(y.sum() < 5, "the sum is too large")
        return x + 1

    examples = torch.ones(4), torch.ones(3)
    model = aoti.load(aoti.export(tmp_path / "model.pt2", Model(Calls(asserted), examples), threads=threads), threads=threads)
    torch.testing.assert_close(model(*examples), examples[0] + 1)
    with pytest.raises(aoti.RunError, match="expected a tensor with a nonzero value, found zero"):
        model(-examples[0], examples[1])
    with pytest.raises(aoti.RunError, match="the sum is too large"):
        model(examples[0], 2 * examples[1])
    torch.testing.assert_close(model(*examples), examples[0] + 1)


def test_names_of_arguments_come_before_names_like_those_of_args():
    class Named(nn.Module):
        def forward(self, x_1, x):
            torch._check(x_1.shape[0] * 2 < x[1].shape[0] ** 2)
            return x_1.sum() + x[0] + x[1].sum()

    examples = torch.ones(9), [torch.ones(5), torch.ones(6)]
    guards = spec(export(Named(), examples, dynamic_shapes=({0: D}, [{0: D}, {0: D}])))["guards"]
    assert [guard["check"] for guard in guards] == [["<", ["*", 2, [0, 0]], ["*", [2, 0], [2, 0]]]]


class Keywords(nn.Module):
    def forward(self, p, **kw):
        torch._check(kw["it"].shape[0] % p.shape[0] == 0)
        return kw["it"].view(-1, p.shape[0]) + p


class Keys(nn.Module):
    def forward(self, d):
        return d["it's"] + 1


def test_arguments_whose_names_torch_cannot_check_are_taken(tmp_path):
    """For these, torch's own function that checks guards does not run, or is not Python."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        program = export(Keywords(), (torch.ones(2),), {"it": torch.ones(4)}, dynamic_shapes={"p": {0: D}, "kw": {"it": {0: D}}})
        model = aoti.load(aoti.export(tmp_path / "keywords.pt2", Model(program), threads=1))
    for p, it in ((2, 4), (3, 9), (1, 0)):
        assert model(torch.ones(p), it=torch.ones(it)).tolist() == [[2.0] * p] * (it // p)
    with pytest.raises(aoti.InputError, match=r"it.size\(0\) % p.size\(0\)" if keeps_guards.args[0] is False else ""):
        model(torch.ones(3), it=torch.ones(4))

    examples = ({"it's": torch.ones(2)},)
    model = aoti.load(aoti.export(tmp_path / "keys.pt2", Model(Keys(), examples), threads=1))
    assert model(*examples).tolist() == [2.0, 2.0]


def test_products_in_cpp_refuse_an_empty_batch(tmp_path):
    module, x = nn.Linear(64, 32).eval(), torch.randn(4, 64)
    options = {"max_autotune": True, "max_autotune_gemm_backends": "CPP"}
    model = Model(module, (x,), dynamic_shapes=({0: D},), options=options)
    compiled = aoti.load(aoti.export(tmp_path / "model.pt2", model, threads=1))
    torch.testing.assert_close(compiled(x[:1]), module(x[:1]).detach(), rtol=1e-4, atol=1e-4)
    with pytest.raises(aoti.InputError, match="found 0, expected 1 or more"):
        compiled(x[:0])
