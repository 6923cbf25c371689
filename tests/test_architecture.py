"""Exact FLOPs of decoders: against the table of a paper, and from the settings of trainers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from scaling_cli.architecture import Architecture
from scaling_cli.cli import app
from scaling_cli.errors import InputError

# Hoffmann et al. 2022, table A4: layers, width, MLP, heads, head size, and their FLOPs over 6 N D.
# Tables A4 and A9 follow from appendix F without embeddings and logits, 2,048 tokens, 32,000 words,
# and N with one matrix of the vocabulary and a projection of relative positions in every layer.
PAPER = [
    (10, 640, 2560, 10, 64, 1.03, 74e6),
    (20, 1024, 4096, 16, 64, 1.10, 306e6),
    (24, 1280, 5120, 10, 128, 1.08, 552e6),
    (26, 1792, 7168, 14, 128, 1.04, 1143e6),
    (28, 2048, 8192, 16, 128, 1.03, 1593e6),
    (40, 3584, 14336, 28, 128, 0.99, 6796e6),
]


@pytest.mark.parametrize(("layers", "width", "mlp", "heads", "size", "ratio", "params"), PAPER)
def test_the_table_of_the_chinchilla_paper(
    layers: float, width: float, mlp: float, heads: float, size: float, ratio: float, params: float
) -> None:
    model = Architecture(
        layers, width, heads, 2048, 32_000, mlp, head_size=size, relative_positions=True
    )
    assert model.params == pytest.approx(params, rel=0.01)
    assert round(model.flops_per_token(head=False) / (6 * model.params), 2) == ratio


LLAMA = {
    "model_type": "llama", "hidden_size": 4096, "num_hidden_layers": 32, "vocab_size": 128256,
    "num_attention_heads": 32, "num_key_value_heads": 8, "intermediate_size": 14336,
    "max_position_embeddings": 8192, "tie_word_embeddings": False,
}  # fmt: skip
MIXTRAL = {
    "model_type": "mixtral", "hidden_size": 4096, "num_hidden_layers": 32, "vocab_size": 32000,
    "num_attention_heads": 32, "num_key_value_heads": 8, "intermediate_size": 14336,
    "max_position_embeddings": 4096, "num_local_experts": 8, "num_experts_per_tok": 2,
    "tie_word_embeddings": False,
}  # fmt: skip


@pytest.mark.parametrize(
    ("config", "total", "active"), [(LLAMA, 8.03e9, 8.03e9), (MIXTRAL, 46.7e9, 12.9e9)]
)
def test_published_models_have_the_parameters_that_they_have(
    config: dict[str, Any], total: float, active: float
) -> None:
    """Llama 3 8B and Mixtral 8x7B, by the settings that stand beside their weights."""
    model = Architecture.of_config(config)
    assert model.params == pytest.approx(total, rel=0.003)
    assert model.params_active == pytest.approx(active, rel=0.003)


SAME = Architecture(12, 768, 12, 1024, 50304, 3072)


@pytest.mark.parametrize(
    "config",
    [
        {"n_layer": 12, "n_head": 12, "n_embd": 768, "block_size": 1024, "vocab_size": 50304},
        {"model.num-layers": 12, "model.num-attention-heads": 12, "model.hidden-size": 768}
        | {"model.seq-length": 1024, "padded_vocab_size": 50304, "ffn_hidden_size": 3072},
        {"model.d_model": 768, "model.n_layers": 12, "model.n_heads": 12, "model.mlp_ratio": 4}
        | {"model.max_sequence_length": 1024, "model.vocab_size": 50304},
    ],
    ids=["nanoGPT", "Megatron", "OLMo"],
)
def test_one_model_by_the_names_of_several_trainers(config: dict[str, Any]) -> None:
    assert Architecture.of_config(config) == SAME


def test_what_makes_attention_and_experts_cheaper_or_dearer() -> None:
    plain = SAME.flops_per_token()
    longer = Architecture(12, 768, 12, 2048, 50304, 3072).flops_per_token()
    assert longer - plain == pytest.approx(3 * 12 * 1024 * (4 * 768 + 3 * 12))
    shared = Architecture(12, 768, 12, 1024, 50304, 3072, kv_heads=4).flops_per_token()
    assert plain - shared == pytest.approx(3 * 12 * 2 * 2 * 768 * 512)
    gated = Architecture(12, 768, 12, 1024, 50304, 2048, gated=True)
    assert gated.params == SAME.params
    sparse = Architecture(12, 768, 12, 1024, 50304, 3072, experts=8, active=1)
    assert sparse.flops_per_token() == pytest.approx(plain + 3 * 12 * 2 * 768 * 8)
    assert sparse.params > 4 * SAME.params


def test_what_is_missing_is_named() -> None:
    with pytest.raises(InputError, match="the sequence, vocabulary of the model"):
        Architecture.of_config({"n_layer": 12, "n_head": 12, "n_embd": 768})
    with pytest.raises(InputError, match="the mlp of the model"):
        Architecture.of_config({k: v for k, v in LLAMA.items() if k != "intermediate_size"})
    with pytest.raises(InputError, match="experts_per_token"):
        Architecture.of_config({k: v for k, v in MIXTRAL.items() if k != "num_experts_per_tok"})
    with pytest.raises(InputError, match="9 of 8 experts"):
        Architecture(1, 64, 1, 64, 64, 64, experts=8, active=9)


def test_a_mapping_takes_exact_flops(tmp_path: Path) -> None:
    config = {"n_layer": 12, "n_head": 12, "n_embd": 768, "block_size": 1024, "vocab_size": 50304}
    row = {"run_id": "r", "n_params": 124e6, "tokens": 1e9, "loss": 3.0} | config
    (tmp_path / "runs.jsonl").write_text(json.dumps(row))
    (tmp_path / "scalefit.toml").write_text('[columns]\nflops = "exact_flops_per_token * tokens"\n')
    line = ["--config", str(tmp_path / "scalefit.toml"), "--store", str(tmp_path / "store")]
    made = CliRunner().invoke(app, ["ingest", str(tmp_path / "runs.jsonl"), *line])
    assert made.exit_code == 0, made.stderr
    shown = CliRunner().invoke(app, ["runs", "--json", *line])
    (run,) = json.loads(shown.stdout)["runs"]
    assert run["flops"] == pytest.approx(1e9 * SAME.flops_per_token())
