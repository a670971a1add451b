"""Rules of the composite ops: computed in float32 or wider, rounded once."""

import numpy as np

from lumir.reference.rules import Call, narrow, rule, widen


@rule("softmax")
def softmax(call: Call, x: np.ndarray) -> np.ndarray:
    wide, axis = widen(x), call["axis"]
    if wide.size == 0:
        return x
    shifted = wide - wide.max(axis, keepdims=True)
    total = np.exp(shifted).sum(axis, keepdims=True)
    return narrow(shifted - np.log(total) if call["log"] else np.exp(shifted) / total, call.dtypes[0])


@rule("normalize")
def normalize(call: Call, x: np.ndarray) -> np.ndarray:
    wide = widen(x)
    axes = tuple(range(call["axis"] % x.ndim, x.ndim))
    if call["center"]:
        wide = wide - wide.mean(axes, keepdims=True)
    variance = np.square(wide).mean(axes, keepdims=True)
    return narrow(wide / np.sqrt(variance + wide.dtype.type(call["epsilon"])), call.dtypes[0])


@rule("attention")
def attention(call: Call, query: np.ndarray, key: np.ndarray, value: np.ndarray, *mask: np.ndarray) -> np.ndarray:
    q, k, v = widen(query), widen(key), widen(value)
    repeat = q.shape[1] // max(k.shape[1], 1)
    k, v = np.repeat(k, repeat, axis=1), np.repeat(v, repeat, axis=1)
    scores = np.matmul(q, k.swapaxes(-1, -2)) * q.dtype.type(call["scale"])
    if call["softcap"] > 0:
        scores = call["softcap"] * np.tanh(scores / call["softcap"])
    place = np.arange(scores.shape[-1])
    distance = place - np.arange(scores.shape[-2])[:, None] - call["offset"]
    for extra in mask:
        kind = extra.dtype.kind
        kept = place < extra if kind == "i" else extra
        scores = np.where(kept, scores, -np.inf) if kind in "bi" else scores + widen(extra)
        distance = distance - extra if kind == "i" else distance
    if call["causal"]:
        scores = np.where(distance > 0, -np.inf, scores)
    if call["window"]:
        scores = np.where(distance <= -call["window"], -np.inf, scores)
    top = scores.max(-1, keepdims=True, initial=-np.inf)
    weights = np.exp(scores - np.where(np.isneginf(top), 0, top))
    total = weights.sum(-1, keepdims=True)
    weights = np.divide(weights, total, out=np.zeros_like(weights), where=total != 0)
    return narrow(np.matmul(weights, v), call.dtypes[0])
