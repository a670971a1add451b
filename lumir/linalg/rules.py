"""The table of lowering rules, one per lumir op: its operands as signless tensors in, linalg values out."""

from collections.abc import Callable
from typing import Any

from lumir.dialects import attributes_of, shape_of_type
from lumir.linalg.generic import signless
from lumir.mlir import ir
from lumir.sizes import Shape

Rule = Callable[..., Any]
RULES: dict[str, Rule] = {}


class Source:
    """What a rule may ask of the op it lowers: its attributes as Python values, and its types with signedness."""

    def __init__(self, op: ir.OpView):
        self.op = op
        self.attributes = attributes_of(op)
        self.operand_types = [ir.RankedTensorType(v.type) for v in op.operands]
        self.result_types = [ir.RankedTensorType(v.type) for v in op.results]

    def __getattr__(self, name: str) -> Any:
        try:
            return self.attributes[name]
        except KeyError:
            raise AttributeError(name) from None

    @property
    def shape(self) -> Shape:
        """The first result's shape."""
        return shape_of_type(self.result_types[0])

    @property
    def element(self) -> ir.Type:
        """The first result's element type, signless."""
        return signless(self.result_types[0].element_type)

    @property
    def unsigned(self) -> bool:
        """The first operand holds unsigned integers."""
        kind = self.operand_types[0].element_type
        return isinstance(kind, ir.IntegerType) and (kind.is_unsigned or kind.width == 1)


def rule(name: str) -> Callable[[Rule], Rule]:
    """Register `function(source, *operands) -> value or values` as the lowering of `lumir.<name>`."""

    def enter(function: Rule) -> Rule:
        RULES[name] = function
        return function

    return enter
