"""Weights by reference: where the bytes of each `lumir.weight` are, and how to see them without copying.

A weight's `path` is relative to the store's folder. The path `:memory:` names an array that the importer was handed in
memory; `spill` writes those to a file and gives each an ordinary place.
"""

import mmap
from pathlib import Path

import numpy as np

from lumir.artifact.dtypes import PACKED_4BIT, byte_size, pack_4bit, unpack_4bit
from lumir.diagnostics import UserError
from lumir.dtypes import numpy_dtype
from lumir.mlir import ir

MEMORY = ":memory:"
ALIGNMENT = 64


class WeightStore:
    """The bytes behind a module's weights.

    Args:
        folder: what relative paths start at.
    """

    def __init__(self, folder: Path | str = "."):
        self.folder = Path(folder)
        self.memory: dict[str, np.ndarray] = {}
        self._maps: dict[str, mmap.mmap] = {}

    def array(self, weight: ir.OpView) -> np.ndarray:
        """The weight as a read-only array of its type's shape and dtype, mapped from disk where it lies on disk.

        4-bit elements, which lie there two in a byte, are unpacked.
        """
        name, path = weight.attributes["sym_name"].value, weight.attributes["path"].value
        if path == MEMORY:
            return self.memory[name]
        type_ = ir.RankedTensorType(weight.attributes["type"].value)
        dtype, dims = numpy_dtype(type_.element_type), tuple(type_.shape)
        offset, nbytes = weight.attributes["offset"].value, byte_size(dtype.name, dims)
        mapped = self._map(path, name)
        if offset + nbytes > len(mapped):
            raise UserError(
                f"weight '{name}' ends outside its file",
                code="weight-short",
                values={"file": path, "bytes needed": offset + nbytes, "bytes found": len(mapped)},
                hint="the file is truncated, or does not belong to this model",
            )
        data = np.frombuffer(mapped, np.uint8, nbytes, offset)
        return unpack_4bit(data, dtype.name, dims) if dtype.name in PACKED_4BIT else data.view(dtype).reshape(dims)

    def _map(self, path: str, name: str) -> mmap.mmap | bytes:
        if path not in self._maps:
            file = self.folder / path
            if not file.is_file():
                raise UserError(
                    f"the file that holds weight '{name}' is missing",
                    code="weight-missing",
                    values={"file": str(file)},
                    hint="keep the model's weight files beside it",
                )
            if file.stat().st_size == 0:
                return b""
            with file.open("rb") as opened:
                self._maps[path] = mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)
        return self._maps[path]

    def spill(self, module: ir.Module, path: Path) -> None:
        """Write the weights held in memory to `path` and point the module at it, so that its text stands alone."""
        offset = 0
        with path.open("wb") as file:
            for op in module.body.operations:
                if op.operation.name != "lumir.weight" or op.attributes["path"].value != MEMORY:
                    continue
                file.write(b"\0" * (-offset % ALIGNMENT))
                offset += -offset % ALIGNMENT
                op.attributes["path"] = ir.StringAttr.get(str(path))
                op.attributes["offset"] = ir.IntegerAttr.get(ir.IntegerType.get_signless(64), offset)
                array = self.memory[op.attributes["sym_name"].value]
                packed = pack_4bit(array) if array.dtype.name in PACKED_4BIT else np.ascontiguousarray(array)
                offset += file.write(packed.tobytes())
