# type: ignore  # torch and transformers are needed to regenerate, not to test
"""The tiny networks behind the fixtures: real transformers classes, small configurations, random weights.

Needs torch and transformers; only `make_models.py` imports it. Each function returns an `Architecture`: a module whose
forward takes and returns plain tensors, by name, and which of their dimensions are symbolic.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import transformers as hf
from torch import Tensor, nn

TOKENS = {0: "batch", 1: "seq"}


@dataclass
class Architecture:
    """A module with named tensors.

    Attributes:
        module: forward takes `inputs` in order and returns `outputs` in order.
        inputs: example tensors by name.
        symbols: for each input, dimension -> symbol name; an input that is not listed is static.
        outputs: output names.
    """

    module: nn.Module
    inputs: dict[str, Tensor]
    symbols: dict[str, dict[int, str]]
    outputs: list[str]


class Adapter(nn.Module):
    """Calls a transformers model by keyword and picks the output fields: exporters want tensors in, tensors out."""

    def __init__(self, model: nn.Module, names: Sequence[str], fields: Sequence[str], **fixed: Any):
        super().__init__()
        self.model, self.names, self.fields, self.fixed = model, tuple(names), tuple(fields), fixed

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        out = self.model(**dict(zip(self.names, tensors, strict=True)), **self.fixed)
        return tuple(getattr(out, field) for field in self.fields)


class DecodeStep(nn.Module):
    """One decode step of a causal model: `past_key_values.N.{key,value}` in, `present.N.{key,value}` out."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        input_ids, attention_mask, *past = tensors
        cache = hf.DynamicCache(tuple(zip(past[::2], past[1::2], strict=True)))
        out = self.model(input_ids=input_ids, attention_mask=attention_mask, past_key_values=cache, use_cache=True)
        present = [tensor for layer in cache.layers for tensor in (layer.keys, layer.values)]
        return (out.logits, *present)


def randomize(module: nn.Module, seed: int) -> None:
    """Gives every parameter and running statistic a value that keeps activations near unit variance.

    Weights are normal with standard deviation 1/sqrt(fan-in), norms scatter around one, biases around zero:
    attention is neither uniform nor one-hot, and a swapped or missing operand moves the result.
    """
    rng = torch.Generator().manual_seed(seed)
    for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
        if not tensor.is_floating_point() or name.endswith("inv_freq"):
            continue
        noise = torch.randn(tensor.shape, generator=rng)
        if name.endswith("running_var"):
            value = 0.5 + torch.rand(tensor.shape, generator=rng)
        elif tensor.ndim < 2:
            value = 0.2 * noise + (1.0 if name.endswith("weight") else 0.0)
        else:
            value = noise / _fan_in(name, tensor) ** 0.5
        with torch.no_grad():
            tensor.copy_(value)


def _fan_in(name: str, tensor: Tensor) -> int:
    if "experts" in name:
        return tensor.shape[-1]
    if name.endswith((".c_attn.weight", ".c_proj.weight", ".c_fc.weight")):  # GPT-2's Conv1D is [in, out]
        return tensor.shape[0]
    return tensor[0].numel()


def _tokens(vocab: int) -> dict[str, Tensor]:
    ids = torch.randint(0, vocab, (2, 9), generator=torch.Generator().manual_seed(0))
    mask = torch.ones(2, 9, dtype=torch.int64)
    mask[1, 6:] = 0
    return {"input_ids": ids, "attention_mask": mask}


def _causal(model: nn.Module, vocab: int, *, positions: bool = False) -> Architecture:
    inputs = _tokens(vocab)
    if positions:
        inputs["position_ids"] = torch.arange(9).expand(2, 9).clone()
    adapter = Adapter(model, list(inputs), ["logits"], use_cache=False)
    return Architecture(adapter, inputs, dict.fromkeys(inputs, TOKENS), ["logits"])


def bert(attention: str = "sdpa") -> Architecture:
    config = hf.BertConfig(
        vocab_size=101, hidden_size=48, num_hidden_layers=2, num_attention_heads=4, intermediate_size=96,
        max_position_embeddings=40, attn_implementation=attention,
    )  # fmt: skip
    inputs = {**_tokens(101), "token_type_ids": torch.zeros(2, 9, dtype=torch.int64)}
    outputs = ["last_hidden_state", "pooler_output"]
    adapter = Adapter(hf.BertModel(config), list(inputs), outputs)
    return Architecture(adapter, inputs, dict.fromkeys(inputs, TOKENS), outputs)


def vit() -> Architecture:
    config = hf.ViTConfig(
        image_size=16, patch_size=4, hidden_size=48, num_hidden_layers=2, num_attention_heads=3, intermediate_size=96,
        num_labels=10,
    )  # fmt: skip
    pixels = {"pixel_values": torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))}
    adapter = Adapter(hf.ViTForImageClassification(config), list(pixels), ["logits"])
    return Architecture(adapter, pixels, {"pixel_values": {0: "batch"}}, ["logits"])


def resnet() -> Architecture:
    config = hf.ResNetConfig(
        embedding_size=8, hidden_sizes=[16, 24, 32], depths=[1, 2, 1], layer_type="bottleneck", num_labels=10
    )
    pixels = {"pixel_values": torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))}
    adapter = Adapter(hf.ResNetForImageClassification(config), list(pixels), ["logits"])
    return Architecture(adapter, pixels, {"pixel_values": {0: "batch"}}, ["logits"])


def gpt2() -> Architecture:
    config = hf.GPT2Config(
        vocab_size=97, n_positions=40, n_embd=48, n_layer=2, n_head=4, bos_token_id=1, eos_token_id=2
    )
    return _causal(hf.GPT2LMHeadModel(config), 97)


def _llama_model() -> nn.Module:
    config = hf.LlamaConfig(
        vocab_size=103, hidden_size=48, intermediate_size=112, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, head_dim=12, max_position_embeddings=64,
    )  # fmt: skip
    return hf.LlamaForCausalLM(config)


def llama() -> Architecture:
    return _causal(_llama_model(), 103)


def llama_positions() -> Architecture:
    """Llama with `position_ids` as an input: without it the rotary tables have a batch of one, which ONNX's
    RotaryEmbedding does not broadcast, and the opset-23 export runs at batch one alone.
    """
    return _causal(_llama_model(), 103, positions=True)


def llama_decode() -> Architecture:
    past = {
        f"past_key_values.{layer}.{kind}": torch.randn(2, 2, 5, 12, generator=torch.Generator().manual_seed(layer))
        for layer in range(2)
        for kind in ("key", "value")
    }
    inputs = {
        "input_ids": torch.tensor([[3], [7]]),
        "attention_mask": torch.ones(2, 6, dtype=torch.int64),
        **past,
    }
    symbols = {"input_ids": {0: "batch"}, "attention_mask": {0: "batch", 1: "past + 1"}}
    symbols |= {name: {0: "batch", 2: "past"} for name in past}
    present = [name.replace("past_key_values", "present") for name in past]
    return Architecture(DecodeStep(_llama_model()), inputs, symbols, ["logits", *present])


def qwen3() -> Architecture:
    config = hf.Qwen3Config(
        vocab_size=107, hidden_size=40, intermediate_size=88, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, head_dim=16, max_position_embeddings=64, tie_word_embeddings=True,
    )  # fmt: skip
    return _causal(hf.Qwen3ForCausalLM(config), 107)


def whisper_encoder() -> Architecture:
    config = hf.WhisperConfig(
        num_mel_bins=8, d_model=48, encoder_layers=2, encoder_attention_heads=4, encoder_ffn_dim=96,
        max_source_positions=15, decoder_layers=1, decoder_attention_heads=4, vocab_size=64,
        pad_token_id=0, bos_token_id=1, eos_token_id=2, decoder_start_token_id=1,
    )  # fmt: skip
    features = {"input_features": torch.randn(2, 8, 30, generator=torch.Generator().manual_seed(0))}
    encoder = hf.WhisperModel(config).get_encoder()
    adapter = Adapter(encoder, list(features), ["last_hidden_state"])
    return Architecture(adapter, features, {"input_features": {0: "batch"}}, ["last_hidden_state"])


def mixtral() -> Architecture:
    config = hf.MixtralConfig(
        vocab_size=109, hidden_size=32, intermediate_size=56, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, num_local_experts=4, num_experts_per_tok=2, max_position_embeddings=64,
        experts_implementation="batched_mm",
    )  # fmt: skip
    return _causal(hf.MixtralForCausalLM(config), 109)


BUILDERS: dict[str, Callable[..., Architecture]] = {
    builder.__name__: builder
    for builder in (bert, vit, resnet, gpt2, llama, llama_positions, llama_decode, qwen3, whisper_encoder, mixtral)
}
