"""all-MiniLM-L6-v2 for the demo and the benchmark: its tokenizer, and onnxruntime as the peer."""

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import onnxruntime
import tokenizers

from lumir.frontend.huggingface import load_huggingface

Feeds = dict[str, np.ndarray]


class Tokenizer:
    """Texts -> the model's inputs, int64 [len(texts), seq]; longer texts are cut, shorter ones padded."""

    def __init__(self, model: Path, seq: int):
        self._tokenizer = tokenizers.Tokenizer.from_file(str(model / "tokenizer.json"))
        self._tokenizer.enable_truncation(seq)
        self._tokenizer.enable_padding(length=seq)

    def __call__(self, texts: Sequence[str]) -> Feeds:
        encoded = self._tokenizer.encode_batch(list(texts))
        fields = {"input_ids": "ids", "attention_mask": "attention_mask", "token_type_ids": "type_ids"}
        return {name: np.array([getattr(e, field) for e in encoded], np.int64) for name, field in fields.items()}


class OnnxRuntime:
    """The same graph on onnxruntime's CPU provider, at full optimisation."""

    def __init__(self, model: Path, threads: int):
        proto, folder = load_huggingface(model)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = threads, 3
        options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(folder))
        providers = ["CPUExecutionProvider"]
        self._session = onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=providers)
        self._names = [output.name for output in self._session.get_outputs()]

    def __call__(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return dict(zip(self._names, map(np.asarray, self._session.run(self._names, dict(feeds))), strict=True))


def medians(calls: Sequence[Callable[[], object]], rounds: int = 10, repeats: int = 4) -> list[float]:
    """The median seconds of each call.

    The calls take turns, so that the machine treats them alike. Before each turn, a pause and a call that is not timed:
    threads of the other one may still be spinning.
    """
    times: list[list[float]] = [[] for _ in calls]
    for _ in range(rounds):
        for call, seconds in zip(calls, times, strict=True):
            time.sleep(0.05)
            call()
            seconds += [_seconds(call) for _ in range(repeats)]
    return [float(np.median(seconds)) for seconds in times]


def _seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start
