"""What the bindings import when they first meet an op of this dialect; without it they look for it at every op."""

from lumir.dialects import OPS

__all__ = ["OPS"]
