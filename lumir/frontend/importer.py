"""The walk over an ONNX graph: each node is evaluated, handed to its handler, expanded, or reported."""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import onnx

from lumir.diagnostics import InternalError, LumirError
from lumir.dialects import RuleError, build
from lumir.dialects.base import show
from lumir.dtypes import mlir_type
from lumir.frontend import emit
from lumir.frontend.context import NodeContext, Services
from lumir.frontend.fold_sizes import fold_sizes
from lumir.frontend.folding import FOLD_LIMIT, fold, is_foldable
from lumir.frontend.functions import Functions, resolve
from lumir.frontend.model import Model
from lumir.frontend.problems import NodeProblem, Problem, Refused
from lumir.frontend.ragged import STRUCTURAL, extent_shape, follow, rule_of
from lumir.frontend.reasons import no_handler
from lumir.frontend.registry import Handler, Result, find_handler
from lumir.frontend.schema import check_node
from lumir.frontend.topology import node_name
from lumir.frontend.values import POISON, Operand, Poison, Ragged, Tensor, TensorSequence, Value
from lumir.frontend.weight_table import WeightTable
from lumir.mlir import ir
from lumir.size_text import add_symbol, declared_symbols
from lumir.sizes import Dim, Size, high, size_of
from lumir.symbols import Symbol, Undecided


@dataclass(frozen=True)
class Frame:
    """Where nodes are imported: what names mean, which opsets hold, what node names start with, who called.

    `attributes` are the values of a function's attributes; `calls` the functions being expanded, outermost first.
    """

    scope: dict[str, Operand]
    opsets: Mapping[str, int]
    prefix: str = ""
    attributes: Mapping[str, onnx.AttributeProto] = field(default_factory=dict)
    calls: tuple[str, ...] = ()


@dataclass(frozen=True)
class Site:
    """A node under import, with its place and its inputs."""

    node: onnx.NodeProto
    name: str
    domain: str
    opset: int
    inputs: Sequence[Operand]
    frame: Frame

    @property
    def is_poisoned(self) -> bool:
        return any(isinstance(x, Poison) for x in self.inputs)


class Importer:
    """Imports nodes at the current insertion point and collects what could not be imported.

    Args:
        model: the model, for its functions and opsets.
        weights: makes constants and weights.
        arguments: the names of the graph inputs that are arguments of the function.
    """

    def __init__(self, model: Model, weights: WeightTable, arguments: Sequence[str]):
        self.weights, self.arguments = weights, arguments
        self.functions = Functions(model.proto.functions)
        self.problems: list[Problem] = []
        self._computed: dict[ir.Value, Dim] = {}  # the symbol of each size that the model computes

    def nodes(self, nodes: Sequence[onnx.NodeProto], frame: Frame) -> None:
        """Import nodes in order; the frame's scope gains their outputs."""
        for index, node in enumerate(nodes):
            site = self._site(resolve(node, frame.attributes), index, frame)
            with ir.Location.name(site.name):
                results = self._attempt(site)
            for output, result in zip(node.output, [*results, *[None] * len(node.output)], strict=False):
                if output:
                    frame.scope[output] = result

    def _site(self, node: onnx.NodeProto, index: int, frame: Frame) -> Site:
        domain = "" if node.domain == "ai.onnx" else node.domain
        inputs = [frame.scope.get(key) if key else None for key in node.input]
        return Site(node, frame.prefix + node_name(node, index), domain, frame.opsets.get(domain, 1), inputs, frame)

    def _attempt(self, site: Site) -> Sequence[Operand]:
        try:
            return self._import(site)
        except NodeProblem as problem:
            self._report(site, str(problem), problem.invalid)
        except RuleError as error:
            self._report(site, str(error), True)
        except Undecided as error:
            self._report(site, f"{error}: {error.hint}", False)
        except LumirError:
            raise
        except Exception as error:
            if isinstance(error, TypeError | AttributeError) and (shapes := _symbolic(site.inputs)):
                self._report(site, f"is not supported on dimensions that have no fixed size, {shapes}", False)
                return [POISON] * len(site.node.output)
            raise InternalError(
                f"the importer failed: {type(error).__name__}: {error}",
                op=f"onnx.{site.node.op_type}",
                node=site.name,
                values={f"input {i}": x for i, x in enumerate(site.inputs)},
                hint="please report this with the model",
            ) from error
        return [POISON] * len(site.node.output)

    def _import(self, site: Site) -> Sequence[Operand]:
        handler = find_handler(site.domain, site.node.op_type, site.opset)
        if handler is None or self.functions.is_local(site.node):
            return self._expand(site)
        if site.is_poisoned:
            return [POISON] * len(site.node.output)
        check_node(site.node, site.domain, site.opset)
        folded, undecided = self._fold(site)
        if folded is not None:
            return folded
        context = NodeContext(site.node, site.opset, _values(site.inputs), _SiteServices(self, site))
        if any(isinstance(x, Ragged) for x in site.inputs) and site.node.op_type not in STRUCTURAL:
            try:
                return self._follow(context, handler)
            except Refused as refused:
                return self._served(context, handler, refused)
        results = handler(context)
        operands = [self._operand(result) for result in (results if isinstance(results, list | tuple) else [results])]
        undecided = undecided or next((x.undecided for x in site.inputs if isinstance(x, Tensor) and x.undecided), "")
        for operand in operands:
            if undecided and isinstance(operand, Tensor) and not operand.is_known:
                operand.undecided = undecided
        return operands

    def _follow(self, context: NodeContext, handler: Handler) -> Sequence[Operand]:
        """A node of whose inputs a part counts: the handler works on the whole, and the rule says what counts then."""
        inputs = context.inputs
        whole = [x.tensor if isinstance(x, Ragged) else x for x in inputs]
        context = NodeContext(context.node, context.opset, whole, context.services)
        if context.op == "Shape":
            return [self._operand(extent_shape(context, inputs[0]))]
        rule = rule_of(context)
        return [follow(rule, context, inputs, self._operand(handler(context)))]  # pyright: ignore[reportArgumentType]

    def _served(self, context: NodeContext, handler: Handler, refused: Refused) -> list[Operand]:
        """The node on what counts of its inputs alone; refused where the sizes leave open what its result is."""
        try:
            results = handler(self._with_sizes(context))
        except Undecided:
            raise refused from None
        return [self._operand(result) for result in (results if isinstance(results, list | tuple) else [results])]

    def _with_sizes(self, context: NodeContext) -> NodeContext:
        """The node with what counts of its inputs cut out: their sizes become symbols, which the model computes."""
        inputs = [self._cut_out(x, context.services) if isinstance(x, Ragged) else x for x in context.inputs]
        return NodeContext(context.node, context.opset, inputs, context.services)

    def _cut_out(self, x: Ragged, services: Services) -> Tensor:
        room, sizes = x.tensor.shape, []
        for size, most in zip(x.extent, room, strict=True):
            if isinstance(size, ir.Value) and size not in self._computed:
                self._computed[size] = services.size(emit.cast(size, emit.type_("int64")), high(most))
            sizes.append(self._computed[size] if isinstance(size, ir.Value) else size)
        rank = len(room)
        value = build("slice", x.tensor.value(), starts=[0] * rank, sizes=sizes, steps=[1] * rank)
        return Tensor(ir.RankedTensorType(value.type), value=value)

    def _operand(self, result: Result) -> Operand:
        if result is None or isinstance(result, Tensor | TensorSequence | Ragged | Poison):
            return result
        if isinstance(result, np.ndarray):
            return self.weights.known(result)
        return Tensor(ir.RankedTensorType(result.type), value=result)

    def _fold(self, site: Site) -> tuple[list[Operand] | None, str]:
        """The node's outputs where they are known at import; else None, and the comparison that leaves them open."""
        known = [x for x in site.inputs if isinstance(x, Tensor) and x.is_known and x.size <= FOLD_LIMIT]
        if site.domain or len(known) < sum(x is not None for x in site.inputs):
            return None, ""
        inputs = [x if isinstance(x, Tensor) else None for x in site.inputs]
        if any(x.is_symbolic for x in known):
            try:
                results = fold_sizes(site.node, inputs, site.opset)
            except Undecided as error:
                return None, f"{error}: {error.hint}"
            return None if results is None else [self._sizes(array, dtype) for array, dtype in results], ""
        if not is_foldable(site.node.op_type):
            return None, ""
        arrays = fold(site.node, [x and x.array() for x in inputs], site.opset)
        return None if arrays is None else [self.weights.known(array) for array in arrays], ""

    def _sizes(self, array: np.ndarray, dtype: np.dtype) -> Tensor:
        """A tensor of sizes and numbers that has an integer type."""
        if array.dtype != object:
            return self.weights.known(array)
        type_ = ir.RankedTensorType.get(array.shape, mlir_type(dtype))
        make = functools.partial(emit.sizes_value, array)
        return Tensor(type_, load=lambda: array, emit=lambda: emit.cast(make(), type_.element_type))

    def _expand(self, site: Site) -> Sequence[Operand]:
        function = self.functions.find(site.node, site.domain, site.frame.opsets, site.inputs)
        if function is None:
            if site.is_poisoned and self.functions.may_expand(site.node, site.domain, site.opset):
                return [POISON] * len(site.node.output)
            raise no_handler(site.node.op_type, site.domain, site.opset)
        self.functions.check_call(function.key, site.frame.calls, site.name)
        scope = dict(zip(function.inputs, [*site.inputs, *[None] * len(function.inputs)], strict=False))
        inner = Frame(
            scope, function.opsets, f"{site.name}/", function.bind(site.node), (*site.frame.calls, function.key)
        )
        self.nodes(function.nodes, inner)
        return [scope.get(name) for name in function.outputs]

    def _report(self, site: Site, reason: str, invalid: bool) -> None:
        operands = ["-" if x is None else str(x) for x in site.inputs]
        domain = site.domain or "ai.onnx"
        self.problems.append(Problem(site.name, site.node.op_type, domain, site.opset, operands, reason, invalid))


class _SiteServices:
    """The importer's services for the handler of one node."""

    def __init__(self, importer: Importer, site: Site):
        self._importer, self._site = importer, site

    def constant(self, array: np.ndarray) -> ir.Value:
        return self._importer.weights.constant(array)

    def tensor(self, array: np.ndarray) -> Tensor:
        return self._importer.weights.known(array)

    def inline(self, graph: onnx.GraphProto, inputs: Sequence[Operand], label: str = "") -> list[Operand]:
        scope: dict[str, Operand] = {
            proto.name: self._importer.weights.initializer(proto) for proto in graph.initializer
        }
        own = [item.name for item in graph.input if item.name not in scope]
        scope |= dict(zip(own, inputs, strict=True))
        prefix = f"{self._site.name}/{label}/" if label else f"{self._site.name}/"
        inner = replace(self._site.frame, scope={**self._site.frame.scope, **scope}, prefix=prefix)
        self._importer.nodes(graph.node, inner)
        return [inner.scope[output.name] for output in graph.output]

    def size(self, value: ir.Value, high: int) -> Dim:
        taken, name = declared_symbols(), self._site.name.replace("`", "'")
        while name in taken:
            name += "'"
        add_symbol(symbol := Symbol(name, 0, high))
        build("bind", value, results=[], symbol=name)
        return size_of(symbol)

    def origins(self, value: ir.Value) -> list[str]:
        return origins(value, self._importer.arguments)


def origins(value: ir.Value, arguments: Sequence[str]) -> list[str]:
    """The names of the function's arguments that a value is computed from, in order."""
    found, seen, stack = set(), set(), [value]
    while stack:
        value = stack.pop()
        if isinstance(value.owner, ir.Block):
            found.add(ir.BlockArgument(value).arg_number)
        elif value.owner not in seen:
            seen.add(value.owner)
            stack.extend(value.owner.operands)
    return [arguments[int(index)] for index in sorted(found)]


def _symbolic(inputs: Sequence[Operand]) -> str:
    """The shapes of the inputs that have a dimension without a fixed size."""
    shapes = [x.shape for x in inputs if isinstance(x, Tensor)]
    return ", ".join(show(shape) for shape in shapes if any(isinstance(d, Size) for d in shape))


def _values(inputs: Sequence[Operand]) -> list[Value]:
    values = [x for x in inputs if not isinstance(x, Poison)]
    assert len(values) == len(inputs), "poisoned nodes are not imported"
    return values
