"""The launch list of a planned module, in the artifact's terms."""

from typing import Any

from lumir.artifact.launches import Bind, Copy, Launch
from lumir.artifact.manifest import KernelEntry
from lumir.artifact.plan import Plan
from lumir.artifact.tensor_map import TensorMap
from lumir.artifact.tensors import BufferRef, Result, TensorSpec
from lumir.dialects import as_sizes, from_attribute, shape_of_type, sizes_from
from lumir.dims import Symbols, as_texts
from lumir.dtypes import dtype_name
from lumir.kernels.launch_sizes import SCALARS
from lumir.mlir import ir
from lumir.module import LISTS, SHAPES, body_of, main_of, node_names, symbols, symbols_in
from lumir.plan.buffers import nbytes_of
from lumir.size_text import declare


def plan_of(module: ir.Module) -> Plan:
    """The plan that a module says after step 8."""
    known = symbols_in(module)
    with declare(known):
        return _plan_of(module, known)


def _plan_of(module: ir.Module, known: Symbols) -> Plan:
    main, functions = main_of(module), symbols(module)
    block = body_of(main)
    returned = list(block.operations)[-1].operands
    launches: list[Launch | Copy | Bind] = []
    for op in block.operations:
        if op.operation.name == "lumir.bind":
            (place,) = from_attribute(op.attributes["lumir.buffers"])
            launches.append(Bind(op.attributes["symbol"].value, _buffer(place)))
        if op.operation.name != "func.call":
            continue
        launch = _launch(op, functions[op.attributes["callee"].value])
        if launch.workgroups:
            launches.append(launch)
    for source, target in from_attribute(main.attributes["lumir.copies"]):
        ref = _buffer(target)
        launches.append(Copy(nbytes_of(returned[ref.index].type), (_buffer(source), ref)))
    return Plan(
        inputs=tuple(_specs(main, "arg_attrs", [a.type for a in block.arguments])),
        outputs=tuple(_specs(main, "res_attrs", [v.type for v in returned])),
        launches=tuple(launches),
        arena_bytes=main.attributes["lumir.arena_bytes"].value,
        symbols=dict(sorted(as_texts(known).items())),
        counter_bytes=main.attributes["lumir.counter_bytes"].value if "lumir.counter_bytes" in main.attributes else 0,
        input_lists=_lists(module, "inputs"),
        output_lists=_lists(module, "outputs"),
        output_shapes=_shapes(module),
    )


def _shapes(module: ir.Module) -> dict[str, str]:
    attributes = module.operation.attributes
    return from_attribute(attributes[SHAPES]) if SHAPES in attributes else {}


def _lists(module: ir.Module, kind: str) -> dict[str, int | None]:
    attributes = module.operation.attributes
    lengths = from_attribute(attributes[LISTS])[kind] if LISTS in attributes else {}
    return {name: None if length < 0 else length for name, length in lengths.items()}


def kernel_entries(module: ir.Module) -> dict[str, KernelEntry]:
    """The kernels of a module after step 7, by name."""
    entries = {}
    for name, function in symbols(module).items():
        if "lumir.dispatch" not in function.attributes:
            continue
        ptx = f"kernels/{name}.ptx"
        code = symbols(module)[f"{name}.kernel"]
        entries[name] = KernelEntry(
            file=ptx if code.attributes["format"].value == "ptx" else "kernels/host.bin",
            symbol=name,
            block=function.attributes["lumir.block"].value,
            shared_bytes=function.attributes["lumir.shared_bytes"].value,
            family=function.attributes["lumir.family"].value,
            schedule=from_attribute(function.attributes["lumir.schedule"]),
            cluster=_optional(function, "lumir.cluster", (1, 1, 1)),
            pdl="lumir.pdl" in function.attributes,
        )
    return entries


def _optional(function: ir.OpView, name: str, default: Any) -> Any:
    return from_attribute(function.attributes[name]) if name in function.attributes else default


def _launch(call: ir.OpView, function: ir.OpView) -> Launch:
    x, y, z = sizes_from(function.attributes["lumir.grid"])
    scalars = sizes_from(function.attributes[SCALARS]) if SCALARS in function.attributes else ()
    nodes = tuple(dict.fromkeys(node_names(call.location)))
    first = len(call.operands)
    results = [
        Result(first + i, nodes[-1] if nodes else "", *_dtype_and_shape(value.type))
        for i, value in enumerate(call.results)
    ]
    buffers = from_attribute(call.attributes["lumir.buffers"])
    return Launch(
        function.attributes["sym_name"].value,
        (x, y, z),
        tuple(map(_buffer, buffers)),
        scalars,
        nodes,
        tuple(results),
        tensor_maps_of(function),
    )


def tensor_maps_of(function: ir.OpView) -> tuple[TensorMap, ...]:
    """What the kernel of a dispatch wants of them."""
    return tuple(_tensor_map(fields) for fields in _optional(function, "lumir.tensor_maps", ()))


def _tensor_map(fields: dict[str, Any]) -> TensorMap:
    (offset,), dims, strides = map(as_sizes, ([fields["offset"]], fields["dims"], fields["strides"]))
    return TensorMap(**fields | {"offset": offset, "dims": dims, "strides": strides})


def _buffer(text: str) -> BufferRef:
    space, _, rest = text.partition(":")
    if space == "weight":
        return BufferRef.weight(rest)
    if space == "counters":
        return BufferRef.counters()
    number = int(rest)
    return {"arena": BufferRef.arena, "input": BufferRef.input, "output": BufferRef.output}[space](number)


def _dtype_and_shape(type_: ir.Type) -> tuple[str, tuple[int, ...]]:
    return dtype_name(ir.RankedTensorType(type_).element_type), shape_of_type(type_)


def _specs(main: ir.OpView, attribute: str, types: list[ir.Type]) -> list[TensorSpec]:
    named = from_attribute(main.attributes[attribute]) if attribute in main.attributes else ({},) * len(types)
    return [
        TensorSpec(names.get("lumir.name", f"{attribute[:3]}{i}"), *_dtype_and_shape(type_))
        for i, (names, type_) in enumerate(zip(named, types, strict=True))
    ]
