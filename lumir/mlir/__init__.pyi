# The bindings are compiled and come without type stubs: to the type checker everything in them is unknown.
from typing import Any

def __getattr__(name: str) -> Any: ...
