"""Grouped convolutions of few channels as ones of fewer groups, whose filters are zero for the other channels."""

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from lumir.dialects import attributes_of, build
from lumir.dialects.constants import constant
from lumir.dtypes import numpy_dtype
from lumir.graph.rewrite import rewrite
from lumir.graph.values import element, shape
from lumir.mlir import ir
from lumir.passes.registry import register_pass
from lumir.sizes import typical

CHANNELS = 64
"""What the copy engine of a GPU brings of a pixel at once, in elements of 16 bits."""
PLACES = 1024
"""Of a result: with fewer, tensor cores wait for their operands whatever they multiply."""


@register_pass
@dataclass(frozen=True)
class MergeGroups:
    """Let tensor cores multiply 64 channels of a grouped convolution at once, zeros included, where groups have fewer.

    Copies of a few channels at a time take longer than 16 times the products do. Only channels that are not finite can
    tell the difference: a zero times an infinity of another group is a NaN.
    Depthwise convolutions stay: they have no products to share.

    Requires: before `lumir-fold-constants`, which computes the filters.
    Guarantees: `channels_last` convolutions with groups of 2 to 32 channels, a divisor of 64, and many places, have
    groups of 64 channels, if so many groups there are.

        %0 = lumir.conv(%x, %w) groups 32               %1 = lumir.mul(%w, eye) as [o, 3, 3, 64]
             [n, h, w, 128], [o, 3, 3, 4]       ->      %0 = lumir.conv(%x, %1) groups 2
    """

    name: ClassVar[str] = "lumir-merge-groups"

    def run(self, module: ir.Module) -> None:
        rewrite(module, {"conv": [merge_groups]})


def merge_groups(op: ir.Operation) -> ir.Value | None:
    attributes, (image, filters) = attributes_of(op), op.operands
    count, *window, channels = shape(filters)
    if not attributes["channels_last"] or not isinstance(element(image), (ir.F16Type, ir.BF16Type)):
        return None
    groups = attributes["groups"]
    merged = groups_merged(channels, groups, typical(math.prod(shape(op.results[0])[:-1])))
    if merged == 1:
        return None
    apart = [groups // merged, merged, count // groups, *window, 1, channels]
    ones = np.eye(merged, dtype=numpy_dtype(element(filters))).reshape(merged, 1, *(1 for _ in window), merged, 1)
    spread = build("mul", build("reshape", filters, shape=apart), constant(ones))
    filters = build("reshape", spread, shape=[count, *window, CHANNELS])
    return build("conv", image, filters, **attributes | {"groups": groups // merged})


def groups_merged(channels: int, groups: int, places: int) -> int:
    """How many groups of so many channels become one, where the result has so many places; 1 where they stay."""
    merged = CHANNELS // channels if 1 < channels < CHANNELS and CHANNELS % channels == 0 else 1
    return merged if groups % merged == 0 and places >= PLACES else 1
