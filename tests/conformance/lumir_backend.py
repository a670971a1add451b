"""lumir as an `onnx.backend.base.Backend`.

    import tests.conformance.lumir_backend as lumir_backend
    lumir_backend.prepare(model, device="CPU").run([x, y])

An ONNX test does not say its inputs' sizes, and hands over as an input what a model would know before it runs, like the
shape of a Reshape. So a model is compiled when it is run: sizes are those of the arrays, and an input whose value the
compiler asks for is made a constant. `Prepared.fixed` names those inputs.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import onnx
from onnx import numpy_helper
from onnx.backend.base import Backend, BackendRep

import lumir.api
from lumir.diagnostics import UnsupportedError
from lumir.runtime.executable import Executable

Named = dict[str, np.ndarray]
DEVICES = {"CPU": "cpu", "CUDA": "cuda"}
_ASKED = re.compile(r"computed from graph input (.*?)(?:;|$)")
_QUOTED = re.compile(r"'([^']*)'")


class Prepared(BackendRep):
    """A model that is compiled for the inputs of each run.

    Attributes:
        fixed: the names of the inputs that became constants.
    """

    def __init__(self, model: onnx.ModelProto, target: str):
        self.model, self.target = model, target
        self.fixed: set[str] = set()
        weights = {item.name for item in model.graph.initializer}
        self.inputs = [item for item in model.graph.input if item.name not in weights]

    def run(self, inputs: Any, **kwargs: Any) -> tuple[np.ndarray, ...]:
        """The outputs, in the graph's order.

        Raises:
            UnsupportedError, UserError: the model cannot be compiled for these inputs.
        """
        return self.execute(self.compile(inputs), inputs)

    def execute(self, executable: Executable, inputs: Any) -> tuple[np.ndarray, ...]:
        """The outputs of what `compile` gave for these inputs."""
        found = executable.run({name: value for name, value in self._named(inputs).items() if name not in self.fixed})
        return tuple(found[item.name] for item in self.model.graph.output)

    def _named(self, inputs: Any) -> Named:
        return {item.name: value for item, value in zip(self.inputs, inputs, strict=False)}

    def compile(self, inputs: Any) -> Executable:
        """Compile for the sizes of these values, with as few of them made constants as the compiler needs."""
        named, self.fixed = self._named(inputs), set()
        while True:
            model = with_constants(self.model, {name: named[name] for name in sorted(self.fixed)})
            try:
                rest = [item for item in self.inputs if item.name not in self.fixed]
                return lumir.api.compile(model, target=self.target, dims=sizes(rest, named))
            except UnsupportedError as error:
                asked = asked_values(error) - self.fixed
                if not asked:
                    raise
                self.fixed |= asked


class LumirBackend(Backend):
    """Compiles with lumir, for a CPU or an NVIDIA GPU."""

    targets: ClassVar[Mapping[str, str]] = DEVICES

    @classmethod
    def supports_device(cls, device: str) -> bool:
        return device.partition(":")[0] in cls.targets

    @classmethod
    def prepare(cls, model: onnx.ModelProto, device: str = "CPU", **kwargs: Any) -> Prepared:
        return Prepared(model, cls.targets[device.partition(":")[0]])

    @classmethod
    def run_model(
        cls, model: onnx.ModelProto, inputs: Any, device: str = "CPU", **kwargs: Any
    ) -> tuple[np.ndarray, ...]:
        return cls.prepare(model, device).run(inputs)


def asked_values(error: UnsupportedError) -> set[str]:
    """The graph inputs whose values the compiler says it needs."""
    return {name for line in error.problems for part in _ASKED.findall(line) for name in _QUOTED.findall(part)}


def with_constants(model: onnx.ModelProto, constants: Named) -> onnx.ModelProto:
    """The model with these inputs as initializers."""
    if not constants:
        return model
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    kept = [item for item in model.graph.input if item.name not in constants]
    del changed.graph.input[:]
    changed.graph.input.extend(kept)
    changed.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in constants.items())
    return changed


def sizes(inputs: Sequence[onnx.ValueInfoProto], values: Mapping[str, Any]) -> dict[str, int]:
    """Sizes for what the inputs' types leave open, read off their values."""
    found: dict[str, int] = {}
    for item in inputs:
        if item.name in values:
            found |= _sizes(item.name, item.type, values[item.name])
    return found


def _sizes(name: str, type_: onnx.TypeProto, value: Any, named: bool = True) -> dict[str, int]:
    match type_.WhichOneof("value"):
        case "optional_type":
            inner = {} if value is None else _sizes(name, type_.optional_type.elem_type, value)
            return {f"{name}.given": int(value is not None)} | inner
        case "sequence_type":
            found = {f"{name}.length": len(value)}
            for i, each in enumerate(value):
                found |= _sizes(f"{name}[{i}]", type_.sequence_type.elem_type, each, named=False)
            return found
    extent, tensor = getattr(value, "shape", ()), type_.tensor_type
    if not tensor.HasField("shape"):
        return {f"{name}.rank": len(extent)} | {f"{name}.{axis}": size for axis, size in enumerate(extent)}
    dims = enumerate(zip(tensor.shape.dim, extent, strict=False))
    open_ = [(axis, dim, size) for axis, (dim, size) in dims if dim.WhichOneof("value") != "dim_value"]
    return {dim.dim_param if named and dim.dim_param else f"{name}.{axis}": size for axis, dim, size in open_}


prepare = LumirBackend.prepare
run_model = LumirBackend.run_model
supports_device = LumirBackend.supports_device
