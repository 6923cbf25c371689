"""The exact FLOPs of training a decoder: of its matrices, attention over the sequence, and head.

Counted as Hoffmann et al. 2022 (2203.15556, appendix F) do: a multiplication and an addition are
two FLOPs, and the backward pass costs twice the forward one. A look-up of embeddings costs none. Of
experts those count that a token is sent to.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from scaling_cli.errors import InputError
from scaling_cli.spelling import last_part

TRAINING = 3.0  # passes: one forward, and twice that backward
PER_TOKEN = "exact_flops_per_token"  # as expressions of a mapping call it

# What trainers call the parts, in a spelling without case, dashes and underscores: Transformers,
# Megatron-LM, GPT-NeoX, nanoGPT and nanochat, OLMo, torchtitan, Levanter, MaxText.
NAMES: Mapping[str, tuple[str, ...]] = {
    "layers": ("numhiddenlayers", "numlayers", "nlayers", "nlayer", "depth", "numdecoderlayers"),
    "width": ("hiddensize", "dmodel", "nembd", "embeddim", "hiddendim", "dim", "baseembdim"),
    "heads": ("numattentionheads", "nheads", "nhead", "numheads", "numqueryheads"),
    "kv_heads": ("numkeyvalueheads", "nkvheads", "nkvhead", "numquerygroups", "numkvheads"),
    "head_size": ("headdim", "kvchannels", "kvsize", "headsize", "dhead"),
    "mlp": ("intermediatesize", "ffnhiddensize", "dff", "ffwsize", "mlphiddensize", "mlpdim"),
    "mlp_ratio": ("mlpratio", "ffwratio", "expansionratio"),
    "vocabulary": ("paddedvocabsize", "vocabsize", "embeddingsize"),
    "sequence": ("seqlength", "seqlen", "sequencelength", "blocksize", "maxseqlen",
                 "maxsequencelength", "maxpositionembeddings", "nctx", "maxtargetlength"),
    "experts_per_token": ("numexpertspertok", "numexpertspertoken", "moeroutertopk", "topk",
                          "moetopk"),
    "experts": ("numlocalexperts", "numexperts", "moenumexperts", "nroutedexperts"),
    "expert_mlp": ("moeintermediatesize", "moeffnhiddensize"),
    "shared_experts": ("nsharedexperts", "numsharedexperts"),
}  # fmt: skip
GATED = ("swiglu", "geglu", "gatedlinearunit", "reglu", "usegatedmlp", "gatedmlp")
GATED_TYPES = ("llama", "mistral", "mixtral", "qwen", "gemma", "olmo", "deepseek", "phi3")


@dataclass(frozen=True)
class Architecture:
    """A decoder by the sizes of its parts; `mlp` is the width of an MLP's hidden layer, of one
    expert where there are experts, and `active` how many of these a token passes."""

    layers: float
    width: float
    heads: float
    sequence: float
    vocabulary: float
    mlp: float
    head_size: float | None = None
    kv_heads: float | None = None
    gated: bool = False
    experts: float = 1.0
    active: float = 1.0
    tied: bool = True
    relative_positions: bool = False

    def __post_init__(self) -> None:
        sizes = {name: value for name, value in vars(self).items() if value is not None}
        wrong = [name for name, value in sizes.items() if value <= 0 and value is not False]
        if wrong:
            raise InputError(f"{' and '.join(wrong)} of a model must be above zero")
        if self.active > self.experts:
            raise InputError(f"{self.active:g} of {self.experts:g} experts cannot be active")

    @property
    def queries(self) -> float:
        """Width of all queries together."""
        return self.heads * (self.head_size or self.width / self.heads)

    @property
    def keys(self) -> float:
        """Width of all keys, or values, together: fewer heads where they are shared."""
        return self.queries * (self.kv_heads or self.heads) / self.heads

    @property
    def attention_params(self) -> float:
        """Of a layer: queries, keys, values, output, and a projection of relative positions."""
        known = 2 * self.width * self.queries + 2 * self.width * self.keys
        return known + (self.width * self.queries if self.relative_positions else 0.0)

    @property
    def mlp_params(self) -> float:
        """Of one MLP: two matrices, or three where it is gated."""
        return (3 if self.gated else 2) * self.width * self.mlp

    @property
    def embedding_params(self) -> float:
        return self.width * self.vocabulary * (1 if self.tied else 2)

    @property
    def params(self) -> float:
        """All of the matrices; norms and biases are left out, which are below a hundredth."""
        router = self.width * self.experts if self.experts > 1 else 0.0
        layer = self.attention_params + self.experts * self.mlp_params + router
        return self.layers * layer + self.embedding_params

    @property
    def params_active(self) -> float:
        """Those that a token passes."""
        idle = (self.experts - self.active) * self.mlp_params
        return self.params - self.layers * idle

    def flops_per_token(self, head: bool = True) -> float:
        """FLOPs that training on one token costs; without the `head` those of the layers alone."""
        router = self.width * self.experts if self.experts > 1 else 0.0
        projected = 2 * self.width * self.queries + 2 * self.width * self.keys
        matrices = 2 * (projected + self.active * self.mlp_params + router)
        attention = 4 * self.sequence * self.queries + 3 * self.heads * self.sequence
        logits = 2 * self.width * self.vocabulary if head else 0.0
        return TRAINING * (self.layers * (matrices + attention) + logits)

    @classmethod
    def of_config(cls, config: Mapping[str, Any]) -> Architecture:
        """From a run's settings, whichever of the known trainers wrote them; InputError names what
        they lack."""
        settings = dict(_settings(config))
        sizes = {
            part: next((settings[name] for name in names if name in settings), None)
            for part, names in NAMES.items()
        }
        known = {name: float(value) for name, value in sizes.items() if value and _is_size(value)}
        gated = _is_gated(settings)
        if "width" in known and "mlp" not in known:
            ratio = known.get("mlp_ratio", None if gated else 4.0)
            if ratio is not None:
                known["mlp"] = ratio * known["width"]
        experts = known.get("experts", 1.0)
        if experts > 1 and "expert_mlp" in known:
            known["mlp"] = known["expert_mlp"]
        needed = ["layers", "width", "heads", "sequence", "vocabulary", "mlp"]
        needed += ["experts_per_token"] if experts > 1 else []
        missing = [name for name in needed if name not in known]
        if missing:
            raise InputError(
                f"the settings do not say the {', '.join(missing)} of the model",
                f"Known names are {', '.join(NAMES[missing[0]][:4])}, in any spelling.",
            )
        shared = known.get("shared_experts", 0.0) if experts > 1 else 0.0
        active = known["experts_per_token"] + shared if experts > 1 else 1.0
        return cls(
            layers=known["layers"],
            width=known["width"],
            heads=known["heads"],
            sequence=known["sequence"],
            vocabulary=known["vocabulary"],
            mlp=known["mlp"],
            head_size=known.get("head_size"),
            kv_heads=known.get("kv_heads"),
            gated=gated,
            experts=experts + shared,
            active=active,
            tied=bool(settings.get("tiewordembeddings", settings.get("weighttying", True))),
        )


def _settings(config: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The settings by the last part of their names; those that stand higher come last and count."""
    for key in sorted(config, key=lambda key: -len(re.findall(r"[./]", key))):
        name = last_part(key).replace("_", "").replace("-", "").lower()
        yield name, config[key]


def _is_size(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 1e15


def _is_gated(settings: Mapping[str, Any]) -> bool:
    """Whether the MLP multiplies two branches, by a switch, an activation or the kind of model."""
    if any(settings.get(name) is True for name in GATED):
        return True
    words = [str(settings.get(name, "")).lower() for name in ("hiddenact", "activationtype")]
    words += [str(settings.get(name, "")).lower() for name in ("activation", "mlptype", "mlpclass")]
    if any(mark in word for word in words for mark in ("swiglu", "geglu", "glu")):
        return True
    kind = str(settings.get("modeltype", "")).lower()
    return kind.startswith(GATED_TYPES)
