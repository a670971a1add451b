"""Recipes by group; importing this fills the table."""

from tests.fuzz.recipes import (  # noqa: F401
    contraction,
    contributed,
    control,
    conversion,
    elementwise,
    indexing,
    large,
    normalization,
    patterns,
    pooling,
    qdq,
    quantized,
    recurrent,
    reduction,
    resampling,
    shaping,
    sizing,
)
from tests.fuzz.recipes.table import RECIPES

__all__ = ["RECIPES"]
