"""Contexts with the lumir dialect and those of extensions loaded."""

from lumir import dialects
from lumir.extensions import load_dialects
from lumir.mlir import ir


def make_context() -> ir.Context:
    """A context in which lumir IR parses, verifies and prints."""
    context = ir.Context()
    with context, ir.Location.unknown():
        dialects.load()
        load_dialects(context)
    return context
