"""What an exported program requires of the sizes of its inputs."""

from __future__ import annotations

import ast
import contextlib
import functools
import inspect
import logging
import math
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping
from random import Random
from typing import Any, Union

import sympy
import torch
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind, OutputKind, TensorArgument
from torch.fx import GraphModule, Node
from torch.utils import _pytree as pytree
from torch.utils._sympy.functions import FloorDiv
from torch.utils._sympy.printers import PythonPrinter
from torch.utils._sympy.value_ranges import ValueRanges, bound_sympy

# ["operation", operand, …], or [input, dimension], or a number.
Check = Union["list[Any]", int, float]
Ranges = Mapping[sympy.Expr, "ValueRanges[Any]"]

_OPERATORS: dict[type[ast.AST], str] = {
    ast.Add: "+",
    ast.Sub: "-",
    ast.Mult: "*",
    ast.FloorDiv: "//",
    ast.Mod: "%",
    ast.Div: "/",
    ast.Pow: "**",
    ast.BitAnd: "&",
    ast.BitOr: "|",
    ast.BitXor: "^",
    ast.Eq: "==",
    ast.NotEq: "!=",
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
    ast.And: "and",
    ast.Or: "or",
}
# As torch's printers write them: the operation, and how it is shown.
_FUNCTIONS = {
    "float": ("float", "float"),
    "torch.sym_float": ("float", "float"),
    "max": ("max", "max"),
    "torch.sym_max": ("max", "max"),
    "min": ("min", "min"),
    "torch.sym_min": ("min", "min"),
    "int": ("trunc", "math.trunc"),
    "math.trunc": ("trunc", "math.trunc"),
    "math.floor": ("floor", "math.floor"),
    "math.ceil": ("ceil", "math.ceil"),
    "round": ("round", "round"),
    "math.sqrt": ("sqrt", "math.sqrt"),
    "torch._sym_sqrt": ("sqrt", "math.sqrt"),
}
_TO_INTEGER = ("trunc", "floor", "ceil", "round")
_NAMES = {"__builtins__": {"abs": abs, "float": float, "max": max, "min": min, "round": round}, "math": math}
# Compiled for sizes of at least 2, these call a kernel that divides by the last two sizes.
_NEVER_EMPTY = ("aten.scaled_dot_product_attention.default", "aten._scaled_dot_product_flash_attention_for_cpu.default")
# Well below a loader's limits.
_DEEPEST, _LONGEST = 40, 4000


class GuardWarning(UserWarning):
    """An exported program requires something of its inputs that a compiled model cannot check; or a compiled model
    requires, and checks, something that the program does not."""


class _Unknown(Exception):
    """A relation contains something that a package cannot express."""


_UNREADABLE = (_Unknown, SyntaxError, RecursionError, ArithmeticError, ValueError)


class _Sizes(ast.NodeTransformer):
    """Replaces x.size(0) by its value, since x may have the name of a function."""

    def __init__(self, tensors: Mapping[str, torch.Tensor]) -> None:
        self.tensors = tensors

    def visit_Call(self, node: ast.Call) -> ast.AST:
        if isinstance(node.func, ast.Attribute) and node.func.attr == "size":
            name, dimension = node.func.value.id, node.args[0].value  # type: ignore[attr-defined]
            return ast.Constant(self.tensors[name].size(dimension))
        return self.generic_visit(node)


class Inputs:
    """The tensors among a program's arguments, and their sizes in the program's symbols."""

    def __init__(self, ep: ExportedProgram) -> None:
        self.ep = ep
        values = {node.name: node.meta.get("val") for node in ep.graph.nodes if node.op == "placeholder"}
        specs = [item for item in ep.graph_signature.input_specs if item.kind is InputKind.USER_INPUT]
        self.leaves = [i for i, item in enumerate(specs) if isinstance(item.arg, TensorArgument)]
        self.names = [specs[i].arg.name for i in self.leaves]
        self.values = [values[name] for name in self.names]
        examples = pytree.tree_leaves(ep.example_inputs) if ep.example_inputs is not None else []
        self.examples = examples if len(examples) == len(specs) else None
        self.sizes = {
            (i, d): sympy.expand(size.node.expr) if isinstance(size, torch.SymInt) else sympy.Integer(size)
            for i, value in enumerate(self.values)
            for d, size in enumerate(value.shape)
        }
        # For each symbol, a size that is scale * symbol + offset; the symbol itself, if some size is.
        self.roots: dict[sympy.Symbol, tuple[tuple[int, int], int, int]] = {}
        for place, size in self.sizes.items():
            line = linear(size)
            if line is not None and (line[0] not in self.roots or self.roots[line[0]][1:] != (1, 0) == line[1:]):
                self.roots[line[0]] = (place, line[1], line[2])

    @functools.cached_property
    def solved(self) -> dict[sympy.Symbol, sympy.Expr]:
        """Each symbol as an expression of sizes."""
        found = {}
        for symbol, (place, scale, offset) in self.roots.items():
            size = _symbol(place) - offset
            found[symbol] = size if scale == 1 else FloorDiv(size, sympy.Integer(scale))
        return found

    @functools.cached_property
    def module(self) -> GraphModule:
        return module_of(self.ep)

    @functools.cached_property
    def guards(self) -> list[str]:
        """The guards that torch keeps, in the form that `_holds` reads; without those that cannot be read."""
        found = []
        for text in _texts(self.ep):
            with contextlib.suppress(*_UNREADABLE):
                found += [part["text"] for part in _Reader(self).read(text)]
        return found

    @functools.cached_property
    def sources(self) -> dict[str, int | None]:
        """The index of each tensor argument, by its name in torch's guards; None for arguments that are not tensors."""
        spec = self.ep.call_spec.in_spec
        if spec is None:
            return {}
        args, kwargs = pytree.tree_unflatten(list(range(spec.num_leaves)), spec)
        bound = inspect.signature(self.module.forward).bind(*args, **kwargs)
        tensors = {leaf: i for i, leaf in enumerate(self.leaves)}
        names, others = [], []
        for path, leaf in pytree.tree_leaves_with_path(dict(bound.arguments)):
            names += [(f"L['flat_args'][{leaf}]", leaf), ("L" + pytree.keystr(path), leaf)]
            if match := re.fullmatch(r"(.+)_(\d+)", str(getattr(path[0], "key", ""))):  # from *args, or a name of that form
                others.append((f"L['{match[1]}'][{match[2]}]" + pytree.keystr(path[1:]), leaf))
        found: dict[str, int | None] = {}
        for name, leaf in [*names, *others]:
            found.setdefault(ast.unparse(ast.parse(name, mode="eval")), tensors.get(leaf))
        return found

    def tensor_of(self, source: str) -> int | None:
        if source not in self.sources and (of_keywords := re.match(r"L\['\w+'\](?=\[')", source)):
            source = "L" + source[of_keywords.end() :]  # the program does not keep the name of **kwargs
        return self.sources.get(source)


def module_of(ep: ExportedProgram) -> GraphModule:
    """The program's module, without torch's guard checks: the code that torch generates for these is not always valid
    Python, for instance if keyword arguments or dict keys have unusual names."""
    module = type(ep).module
    return module(ep, check_guards=False) if "check_guards" in inspect.signature(module).parameters else module(ep)


def linear(size: sympy.Expr) -> tuple[sympy.Symbol, int, int] | None:
    """The symbol, scale and offset of a size that is linear in one symbol."""
    if len(size.free_symbols) != 1:
        return None
    (symbol,) = size.free_symbols
    scale, offset = size.coeff(symbol, 1), size.coeff(symbol, 0)
    if not scale.is_Integer or not offset.is_Integer or size != scale * symbol + offset:
        return None
    return symbol, int(scale), int(offset)


def guards_of(inputs: Inputs, ranges: Ranges) -> list[dict[str, Any]]:
    """The relations that a program requires and that do not follow from ranges and from sizes that are linear in one
    symbol, in `spec`'s form. A GuardWarning reports one that this form cannot express."""
    reader = _Reader(inputs)
    found: dict[str, dict[str, Any]] = {}
    of_sizes = list(_texts_of_sizes(inputs))
    for text in [*of_sizes, *_texts(inputs.ep), *_texts_of_assertions(inputs)]:
        for part in _parts(reader, text, "the exported program requires"):
            if text in of_sizes or not _follows(part["check"], inputs, ranges):
                found.setdefault(str(part["check"]), part)
    return list(found.values())


def _parts(reader: _Reader, text: str, demand: str) -> list[dict[str, Any]]:
    """The relations in a text; none, and a GuardWarning, if they cannot be expressed."""
    try:
        return list(reader.read(text))
    except _UNREADABLE as error:
        warnings.warn(
            f"{demand} {text} of its inputs, which the compiled model cannot check ({error}): inputs that break it give "
            "wrong results, or end the process",
            GuardWarning,
            stacklevel=3,
        )
        return []


def guards_of_code(
    relations: Iterable[sympy.Basic], inputs: Inputs, ranges: Ranges, known: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """`known`, the guards of a program, and the relations that its compiled code relies on and that do not follow from
    these guards and the ranges. A GuardWarning reports each that refuses inputs which the program accepts."""
    reader = _Reader(inputs)
    found = {str(guard["check"]): guard for guard in known}
    for relation in relations:
        if not relation.free_symbols or not relation.free_symbols <= inputs.roots.keys():
            continue
        text = PythonPrinter().doprint(relation.xreplace(inputs.solved))
        for part in _parts(reader, text, "the compiled code expects"):
            if str(part["check"]) in found or _follows(part["check"], inputs, ranges):
                continue
            found[str(part["check"])] = part
            if not _is_narrower(relation, known, inputs, ranges):
                continue
            warnings.warn(
                f"Inductor compiled the model for {part['text']} only, as the example inputs have it; other inputs, which "
                "the exported program accepts, are refused",
                GuardWarning,
                stacklevel=2,
            )
    return list(found.values())


def _is_narrower(relation: sympy.Basic, known: list[dict[str, Any]], inputs: Inputs, ranges: Ranges) -> bool:
    """Whether a relation fails for some of 200 random sizes for which the program's guards hold."""
    random = Random(0)
    for _ in range(200):
        numbers = {}
        for symbol in inputs.roots:
            bounds = ranges.get(symbol, ValueRanges(0, 64))
            numbers[symbol] = sympy.Integer(random.randint(int(bounds.lower), int(min(bounds.lower + 64, bounds.upper))))
        with contextlib.suppress(ZeroDivisionError):
            if relation.xreplace(numbers) is sympy.true:
                continue
        sizes = [[_known(size, numbers) or 0 for size in value.shape] for value in inputs.values]
        tensors = {name: torch.empty(shape, device="meta") for name, shape in zip(inputs.names, sizes)}
        if all(_holds(guard["text"], tensors) for guard in known):
            return True
    return False


def _holds(text: str, tensors: Mapping[str, torch.Tensor]) -> bool:
    """Whether a guard holds for the tensors, evaluating its text."""
    numbers = _Sizes(tensors).visit(ast.parse(text, mode="eval"))
    try:
        return bool(eval(compile(ast.fix_missing_locations(numbers), "", "eval"), _NAMES))
    except (ArithmeticError, ValueError):  # such as the square root of a negative number
        return False


def ranges_of(inputs: Inputs, named: Mapping[sympy.Symbol, str]) -> Ranges:
    """The ranges of the program's sizes.

    Torch assumes that dynamic sizes are at least 2 while it exports, unless the user names them, but lets the program
    run on 0 and 1. Not all programs can: `x[0]` has no meaning for size 0. So the program is run on these sizes: first
    with fake tensors, then, since fake kernels accept some sizes that real ones refuse, on slices of copies of the
    example inputs.

    named: symbols whose range the user gave; a GuardWarning is given if the program does not run on all of it.
    """
    ranges = dict(inputs.ep.range_constraints)
    floors = {symbol: ranges[symbol].lower if symbol in named else 0 for symbol in inputs.roots if symbol in ranges}
    small = [symbol for symbol, floor in floors.items() if floor < 2 and ranges[symbol].lower <= 2]
    if not small or inputs.examples is None:
        return ranges
    examples = {
        symbol: (int(inputs.examples[inputs.leaves[i]].shape[d]) - offset) // scale
        for symbol, ((i, d), scale, offset) in inputs.roots.items()
    }
    if not _runs(inputs, examples):
        return ranges

    def takes(sizes: Mapping[sympy.Symbol, int]) -> bool:
        numbers = {**examples, **sizes}
        return _runs(inputs, numbers) and _computes(inputs, numbers)

    least = dict.fromkeys(small, 2)
    for symbol in small:
        for size in (1, 0):
            if size < floors[symbol] or not takes({symbol: size}):
                break
            least[symbol] = size
    for size in (0, 1, 2):
        least = {symbol: max(size, number) for symbol, number in least.items()}
        if size == 2 or takes(least):
            break
    for symbol, name in named.items():
        if least.get(symbol, 0) > floors.get(symbol, 0):
            warnings.warn(
                f"the program does not run on all sizes of '{name}': those below {least[symbol]} are refused",
                GuardWarning,
                stacklevel=2,
            )
    for key, bounds in ranges.items():
        if key in least:
            ranges[key] = ValueRanges(least[key], bounds.upper)
    for key, bounds in inputs.ep.range_constraints.items():
        if not key.is_Symbol and bounds.lower <= 2 and key.free_symbols & set(small):
            ranges[key] = ValueRanges(max(0, bound_sympy(key, ranges).lower), bounds.upper)
    return ranges


def _runs(inputs: Inputs, numbers: Mapping[sympy.Symbol, int]) -> bool:
    """Whether the program returns the promised sizes for these input sizes, or its guards refuse them."""
    from torch._subclasses.fake_tensor import FakeTensorMode
    from torch.fx.experimental.symbolic_shapes import ShapeEnv

    known = functools.partial(_known, numbers=numbers)

    def divides_by_zero(node: Node) -> bool:
        tensors = [arg.meta["val"] for arg in node.args[:3] if isinstance(arg, Node)]
        return str(node.target) in _NEVER_EMPTY and 0 in [known(size) for tensor in tensors for size in tensor.shape[-2:]]

    if any(divides_by_zero(node) for node in inputs.ep.graph.nodes if node.op == "call_function"):
        return False
    log = logging.getLogger("torch._subclasses.fake_tensor")  # logs each refusal
    was, log.disabled = log.disabled, True
    try:
        with FakeTensorMode(allow_non_fake_inputs=True, shape_env=ShapeEnv()) as mode, torch.no_grad():
            module = inputs.module
            state = {name: mode.from_tensor(tensor) for name, tensor in [*module.named_parameters(), *module.named_buffers()]}
            leaves = list(inputs.examples or [])
            for leaf, value in zip(inputs.leaves, inputs.values):
                sizes, strides = tuple(map(known, value.shape)), tuple(map(known, value.stride()))
                leaves[leaf] = torch.empty_strided(sizes, strides, dtype=value.dtype, device=value.device)
            if _refuses(inputs, leaves):
                return True
            args, kwargs = pytree.tree_unflatten(leaves, inputs.ep.call_spec.in_spec)
            results = pytree.tree_leaves(torch.func.functional_call(module, state, args, kwargs))
    except Exception as error:
        return _is_refusal(error)
    finally:
        log.disabled = was
    promised = {node.name: node.meta.get("val") for node in inputs.ep.graph.nodes}
    outputs = [item.arg for item in inputs.ep.graph_signature.output_specs if item.kind is OutputKind.USER_OUTPUT]
    return all(
        known(size) in (None, found)
        for output, result in zip(outputs, results)
        if isinstance(output, TensorArgument) and isinstance(result, torch.Tensor)
        for size, found in zip(promised[output.name].shape, result.shape)
    )


def _computes(inputs: Inputs, numbers: Mapping[sympy.Symbol, int]) -> bool:
    """Whether the program runs on slices of its example inputs, or its guards refuse them."""
    leaves = list(inputs.examples or [])
    for leaf, value in zip(inputs.leaves, inputs.values):
        for d, size in enumerate(value.shape):
            count = _known(size, numbers)
            if count is not None and count > leaves[leaf].shape[d]:
                return False
            leaves[leaf] = leaves[leaf].narrow(d, 0, leaves[leaf].shape[d] if count is None else count)
        leaves[leaf] = leaves[leaf].detach().clone()
    if _refuses(inputs, leaves):
        return True
    state = {name: buffer.clone() for name, buffer in inputs.module.named_buffers()}
    args, kwargs = pytree.tree_unflatten(leaves, inputs.ep.call_spec.in_spec)
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            torch.func.functional_call(inputs.module, state, args, kwargs)
    except Exception as error:
        return _is_refusal(error)
    return True


def _refuses(inputs: Inputs, leaves: list[Any]) -> bool:
    tensors = {name: leaves[leaf] for name, leaf in zip(inputs.names, inputs.leaves)}
    return not all(_holds(text, tensors) for text in inputs.guards)


def _known(size: int | torch.SymInt, numbers: Mapping[sympy.Symbol, int]) -> int | None:
    value = size.node.expr.xreplace(numbers) if isinstance(size, torch.SymInt) else size
    return int(value) if isinstance(value, int) or value.is_Integer else None


def _is_refusal(error: Exception) -> bool:
    return any(text in str(error) for text in ("Runtime assertion failed", "Expected input at"))


def _texts_of_sizes(inputs: Inputs) -> Iterator[str]:
    """Relations for sizes that are expressions of other sizes."""
    for place, size in inputs.sizes.items():
        if size.free_symbols and linear(size) is None:
            yield f"{_symbol(place)} == {PythonPrinter().doprint(size.xreplace(inputs.solved))}"


def _symbol(place: tuple[int, int]) -> sympy.Symbol:
    return sympy.Symbol(f"size_{place[0]}_{place[1]}", integer=True, positive=True)


def _texts_of_assertions(inputs: Inputs) -> Iterator[str]:
    """What the program asserts about sizes when it runs; compiled code asserts it, too, but with other messages."""
    for node in inputs.ep.graph.nodes:
        if node.target is torch.ops.aten._assert_scalar.default and isinstance(node.args[0], Node):
            holds = node.args[0].meta.get("val")
            if isinstance(holds, torch.SymBool) and holds.node.expr.free_symbols <= inputs.roots.keys():
                yield PythonPrinter().doprint(holds.node.expr.xreplace(inputs.solved))


def _texts(ep: ExportedProgram) -> list[str]:
    """The guards that torch keeps, as Python text."""
    if hasattr(ep, "_guards_code"):
        return list(ep._guards_code)
    # Torch 2.8 keeps none in the program; they are in the environment of its export.
    vals = (node.meta.get("val") for node in ep.graph.nodes)
    env = next((value.fake_mode.shape_env for value in vals if hasattr(value, "fake_mode")), None)
    if env is None:
        return []
    names = {
        symbol: sympy.Symbol(source.name() if callable(source.name) else source.name, integer=True, positive=True)
        for symbol, sources in env.var_to_sources.items()
        for source in sources[:1]
    }
    guards = [guard.expr for guard in env.guards if guard.expr.free_symbols <= names.keys()]
    return [text for guard in guards if "L['self']" not in (text := PythonPrinter().doprint(guard.xreplace(names)))]


class _Reader:
    """Reads relations as torch writes them in Python."""

    def __init__(self, inputs: Inputs) -> None:
        self.inputs = inputs

    def read(self, text: str) -> Iterator[dict[str, Any]]:
        """The relations in a text, in the spec's form."""
        check, shown = self.visit(ast.parse(text.strip(), mode="eval").body)
        for part, node in zip(check[1:], shown.values) if check[0] == "and" else [(check, shown)]:
            if _depth(part) > _DEEPEST or len(str(part)) > _LONGEST:
                raise _Unknown("it is too long")
            written = ast.unparse(node)
            if self.inputs.examples is not None:
                tensors = [self.inputs.examples[leaf] for leaf in self.inputs.leaves]
                if not _holds(written, dict(zip(self.inputs.names, tensors))):
                    raise _Unknown("the example inputs break it")
            yield {"text": written, "check": part}

    def visit(self, node: ast.expr) -> tuple[Any, Any]:
        """An expression in the spec's form, and as text."""
        if isinstance(node, ast.Constant) and type(node.value) in (int, float):
            if abs(node.value) >= 1 << 62:
                raise _Unknown(f"{node.value} is too large")
            return node.value, node
        if isinstance(node, ast.Name) and (match := re.fullmatch(r"size_(\d+)_(\d+)", node.id)):
            return self.size(int(match[1]), int(match[2]))
        if isinstance(node, ast.Subscript):
            return self.size(*self.place(node))
        if isinstance(node, ast.UnaryOp):
            check, shown = self.visit(node.operand)
            if isinstance(node.op, ast.USub):
                negative = -check if isinstance(check, (int, float)) else ["*", -1, check]
                return negative, ast.UnaryOp(node.op, shown)
            if isinstance(node.op, ast.Not):
                return ["not", check], ast.UnaryOp(node.op, shown)
        if isinstance(node, ast.BinOp):
            return self.binary(node)
        if isinstance(node, ast.BoolOp):
            parts = [self.visit(value) for value in node.values]
            return _flat(_OPERATORS[type(node.op)], *(part for part, _ in parts)), ast.BoolOp(
                node.op, [shown for _, shown in parts]
            )
        if isinstance(node, ast.Compare):
            return self.compare(node)
        if isinstance(node, ast.Call) and not node.keywords:
            return self.call(node)
        raise _Unknown(f"{ast.unparse(node)} has no form in a package")

    def size(self, i: int, d: int) -> tuple[Any, Any]:
        return [i, d], ast.parse(f"{self.inputs.names[i]}.size({d})", mode="eval").body

    def place(self, node: ast.Subscript) -> tuple[int, int]:
        """The input and dimension of L['x'].size()[0]."""
        called, index = node.value, node.slice
        if isinstance(called, ast.Call) and isinstance(called.func, ast.Attribute) and called.func.attr == "size":
            tensor = self.inputs.tensor_of(ast.unparse(called.func.value))
            if tensor is not None and isinstance(index, ast.Constant):
                return tensor, index.value
        raise _Unknown(f"{ast.unparse(node)} is no size of an input")

    def binary(self, node: ast.BinOp) -> tuple[Any, Any]:
        (left, shown_left), (right, shown_right) = self.visit(node.left), self.visit(node.right)
        shown = ast.BinOp(shown_left, node.op, shown_right)
        operation = _OPERATORS.get(type(node.op), "")
        if operation == "**" and not _is_real(left) and isinstance(right, int):
            if not 1 <= right <= 16:
                raise _Unknown(f"{ast.unparse(node)} is too large")
            return ["*", *[left] * right] if right > 1 else left, shown
        if not operation or (operation in ("//", "%", "&", "|", "^") and (_is_real(left) or _is_real(right))):
            raise _Unknown(f"{ast.unparse(node)} has no form in a package")
        return _flat(operation, left, right), shown

    def compare(self, node: ast.Compare) -> tuple[Any, Any]:
        parts, shown = zip(*(self.visit(operand) for operand in [node.left, *node.comparators]))
        if not all(type(op) in _OPERATORS for op in node.ops):
            raise _Unknown(f"{ast.unparse(node)} has no form in a package")
        checks = [[_OPERATORS[type(op)], left, right] for op, left, right in zip(node.ops, parts, parts[1:])]
        nodes = [ast.Compare(left, [op], [right]) for op, left, right in zip(node.ops, shown, shown[1:])]
        if len(checks) == 1:
            return checks[0], nodes[0]
        return ["and", *checks], ast.BoolOp(ast.And(), nodes)

    def call(self, node: ast.Call) -> tuple[Any, Any]:
        parts = [self.visit(argument) for argument in node.args]
        called = ast.unparse(node.func)
        if called == "abs" and len(parts) == 1:
            return ["max", parts[0][0], ["*", -1, parts[0][0]]], ast.Call(node.func, [parts[0][1]], [])
        operation, name = _FUNCTIONS.get(called, ("", ""))
        if not operation or (len(parts) < 2) == (operation in ("max", "min")):
            raise _Unknown(f"{ast.unparse(node)} has no form in a package")
        shown = ast.Call(ast.parse(name, mode="eval").body, [part for _, part in parts], [])
        checks = [check for check, _ in parts]
        if operation in _TO_INTEGER and not _is_real(checks[0]):
            return checks[0], shown
        return _flat(operation, *checks), shown


def _flat(operation: str, *operands: Any) -> list[Any]:
    """Makes a + (b + c) one sum of three, if the order of evaluation does not change the result."""
    parts: list[Any] = []
    for i, operand in enumerate(operands):
        joins = operation in ("+", "*", "and", "or", "max", "min") and isinstance(operand, list) and operand[0] == operation
        parts += operand[1:] if joins and (i == 0 or not _is_real(operand)) else [operand]
    return [operation, *parts]


def _is_real(check: Check) -> bool:
    if not isinstance(check, list):
        return isinstance(check, float)
    operation, *operands = check
    if operation in ("/", "**", "float", "sqrt"):
        return True
    return operation in ("+", "-", "*", "max", "min") and any(map(_is_real, operands))


def _depth(check: Check) -> int:
    return 1 + max(map(_depth, check[1:]), default=0) if isinstance(check, list) and isinstance(check[0], str) else 1


def _polynomial(check: Check, inputs: Inputs) -> sympy.Expr | None:
    """A check in the program's symbols, if it only adds and multiplies integers; otherwise None."""
    if isinstance(check, int):
        return sympy.Integer(check)
    if not isinstance(check, list):
        return None
    if isinstance(check[0], int):
        return inputs.sizes[check[0], check[1]]
    parts = [_polynomial(operand, inputs) for operand in check[1:]]
    if check[0] not in ("+", "-", "*") or None in parts:
        return None
    return {"+": sympy.Add(*parts), "*": sympy.Mul(*parts), "-": parts[0] - parts[-1]}[check[0]]


def _follows(check: list[Any], inputs: Inputs, ranges: Ranges) -> bool:
    """Whether a relation holds for all sizes in their ranges, given that sizes linear in one symbol are tied."""
    if check[0] not in ("==", "!=", "<", "<=", ">", ">="):
        return False
    left, right = (_polynomial(operand, inputs) for operand in check[1:])
    if left is None or right is None:
        return False
    difference = sympy.expand(left - right)
    if not difference.free_symbols <= ranges.keys():
        return False
    bounds = bound_sympy(difference, ranges)
    return bool(
        {
            "==": bounds.lower == 0 == bounds.upper,
            "!=": bounds.lower > 0 or bounds.upper < 0,
            "<": bounds.upper < 0,
            "<=": bounds.upper <= 0,
            ">": bounds.lower > 0,
            ">=": bounds.lower >= 0,
        }[check[0]]
    )
