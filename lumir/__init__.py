"""lumir: an ahead-of-time compiler for neural networks."""

__version__ = "0.1.0"
