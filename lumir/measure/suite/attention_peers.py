"""What torch offers for attention: the kernels of `scaled_dot_product_attention`, and `flex_attention`, compiled."""

from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from typing import Any

from lumir.measure.suite.benchmark import Peer

KERNELS = {"cudnn": "CUDNN_ATTENTION", "flash": "FLASH_ATTENTION", "efficient": "EFFICIENT_ATTENTION"}


def sdpa_peers(causal: bool = False, *, masked: bool = False) -> Mapping[str, Peer]:
    """SDPA as it chooses itself, and each of its kernels; the memory-efficient one under a mask alone, where others
    fail."""
    kernels = [name for name in KERNELS if masked or name != "efficient"]
    found = {"sdpa": partial(_sdpa, causal=causal)}
    return found | {name: partial(_restricted, kernel=KERNELS[name], causal=causal) for name in kernels}


def flex_peer(window: int = 0, softcap: float = 0.0) -> Mapping[str, Peer]:
    """The last `window` keys of a causal attention, as a block mask; scores within a soft cap."""
    return {"flex": partial(_flex, window=window, softcap=softcap)}


def lengths_peers(causal: bool) -> Mapping[str, Peer]:
    """SDPA under a mask of the whole cache, or of as much of it as the longest batch has, which the host must know."""
    return {name: partial(_masked, cut=cut, causal=causal) for name, cut in (("masked", False), ("cut", True))}


def _masked(torch: Any, q: Any, k: Any, v: Any, lengths: Any, cut: bool, causal: bool) -> Callable[[], Any]:
    kept = int(lengths.max()) if cut else k.shape[2]
    places, last = torch.arange(kept, device="cuda"), lengths
    if causal:
        last = lengths - q.shape[2] + 1 + torch.arange(q.shape[2], device="cuda")[:, None]
    k, v = (x[:, :, :kept].contiguous() for x in (k, v))
    return _sdpa(torch, q, k, v, places < last, causal=False)


def _sdpa(torch: Any, q: Any, k: Any, v: Any, *masks: Any, causal: bool) -> Callable[[], Any]:
    grouped = q.shape[1] != k.shape[1]
    sdpa = torch.nn.functional.scaled_dot_product_attention
    whole = [mask.expand(*q.shape[:3], k.shape[2]) for mask in masks]
    return lambda: sdpa(q, k, v, *whole, is_causal=causal, enable_gqa=grouped)


def _restricted(torch: Any, *operands: Any, kernel: str, causal: bool) -> Callable[[], Any]:
    """One of SDPA's kernels, whatever it would choose itself."""
    from torch.nn.attention import SDPBackend, sdpa_kernel  # pyright: ignore[reportMissingImports]

    run = _sdpa(torch, *operands, causal=causal)

    def restricted() -> Any:
        with sdpa_kernel(getattr(SDPBackend, kernel)):
            return run()

    return restricted


def _flex(torch: Any, q: Any, k: Any, v: Any, window: int, softcap: float) -> Callable[[], Any]:
    from torch.nn.attention.flex_attention import create_block_mask  # pyright: ignore[reportMissingImports]

    more: dict[str, Any] = {"enable_gqa": q.shape[1] != k.shape[1]}
    if window:
        more["block_mask"] = create_block_mask(
            lambda _b, _h, i, j: (j <= i) & (j > i - window), None, None, q.shape[2], k.shape[2]
        )
    if softcap:
        more["score_mod"] = lambda score, _b, _h, _i, _j: softcap * torch.tanh(score / softcap)
    run = _compiled(torch, tuple(q.shape), tuple(k.shape), window, softcap)
    return lambda: run(q, k, v, **more)


@lru_cache(maxsize=1)
def _compiled(torch: Any, *_shapes: Any) -> Callable[..., Any]:
    """For these shapes alone; what was compiled for others is dropped first, as torch keeps eight versions."""
    from torch.nn.attention.flex_attention import flex_attention  # pyright: ignore[reportMissingImports]

    torch._dynamo.reset()
    return torch.compile(flex_attention, dynamic=False)
