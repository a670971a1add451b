"""Recipes by group; importing this fills the table."""

from tests.fuzz.recipes import (  # noqa: F401
    contraction,
    conversion,
    elementwise,
    indexing,
    normalization,
    patterns,
    pooling,
    quantized,
    reduction,
    resampling,
    shaping,
    sizing,
)
from tests.fuzz.recipes.table import RECIPES

__all__ = ["RECIPES"]
