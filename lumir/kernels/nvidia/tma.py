"""The copy engine of Hopper GPUs (TMA): boxes of a tensor map between global and swizzled shared memory."""

from collections.abc import Sequence

from lumir.kernels.nvidia.mma import constant_i32
from lumir.mlir import arith, ir, llvm, nvvm

Value = ir.Value


def load_box(
    shared: Value,
    tensor_map: Value,
    place: Sequence[Value | int],
    barrier: Value,
    blocks: Value | int | None = None,
    offsets: Sequence[Value] = (),
) -> None:
    """Start a copy of a box into shared memory; `barrier` counts its bytes. One thread calls it.

    Args:
        shared: where the box goes, a multiple of 128 bytes (1024 for the widest swizzle).
        place: the box's first element along each dimension of the map, the innermost first; may lie outside the
            tensor, also below zero.
        blocks: a bit (i16) for each block of the cluster that gets the box, at the same address with a barrier at the
            same address; by default this one alone.
        offsets: of a map in im2col mode, how far (i16) each pixel moves along each spatial dimension.
    """
    mask = None
    if blocks is not None:
        i16 = ir.IntegerType.get_signless(16)
        mask = arith.ConstantOp(i16, ir.IntegerAttr.get(i16, blocks)).result if isinstance(blocks, int) else blocks
    mode = ir.Attribute.parse("#nvvm.tma_load_mode<im2col>") if offsets else None
    nvvm.cp_async_bulk_tensor_shared_cluster_global(
        _cluster_pointer(shared), tensor_map, _coordinates(place), barrier, offsets, multicast_mask=mask, mode=mode
    )


def store_box(tensor_map: Value, shared: Value, place: Sequence[Value | int]) -> None:
    """Start a copy of a box from shared memory; what lies outside the tensor is not written. One thread calls it.

    The threads that wrote the box to shared memory have called `fence_async_proxy` before.
    """
    nvvm.cp_async_bulk_tensor_global_shared_cta(tensor_map, shared, _coordinates(place))


def commit_stores() -> None:
    """The stores that this thread started since the last call are one group."""
    nvvm.cp_async_bulk_commit_group()


def wait_stores_read(pending: int) -> None:
    """Wait until all but the last `pending` groups of this thread have read their shared memory."""
    nvvm.cp_async_bulk_wait_group(pending, read=True)


def wait_stores(pending: int) -> None:
    """Wait until all but the last `pending` groups of this thread have been written."""
    nvvm.cp_async_bulk_wait_group(pending)


def fence_async_proxy() -> None:
    """Let the copy engine and wgmma see what this thread wrote to shared memory before."""
    kind, space = (ir.Attribute.parse(f"#nvvm.{text}") for text in ("proxy_kind<async.shared>", "shared_space<cta>"))
    nvvm.fence_proxy(kind, space=space)


def prefetch_map(tensor_map: Value) -> None:
    """Bring a tensor map, which is a parameter of the kernel, to the cache."""
    nvvm.prefetch(tensor_map, tensormap=True)


def _coordinates(place: Sequence[Value | int]) -> list[Value]:
    return [constant_i32(at) if isinstance(at, int) else at for at in place]


def _cluster_pointer(shared: Value) -> Value:
    """A pointer to this block's shared memory as one into the cluster's."""
    return llvm.AddrSpaceCastOp(ir.Type.parse("!llvm.ptr<7>"), shared).result
