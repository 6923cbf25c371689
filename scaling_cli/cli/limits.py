"""What the commands that split a budget share: the options that hold a split."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from scaling_cli.cli.common import assignments, one_of, positive

if TYPE_CHECKING:
    from scaling_cli.planning.budget import Constraints

MaxParamsOption = Annotated[
    str | None, typer.Option(help="The largest model that can be served.", metavar="N")
]
MinParamsOption = Annotated[str | None, typer.Option(help="The smallest one.", metavar="N")]
MaxTokensOption = Annotated[
    str | None, typer.Option(help="The most tokens to train on.", metavar="D")
]
UniqueTokensOption = Annotated[
    str | None,
    typer.Option(help="Tokens of the corpus, for a law that knows repeats.", metavar="U"),
]
InferenceTokensOption = Annotated[
    str | None,
    typer.Option(help="Tokens to be served; the budget pays for them too.", metavar="D"),
]
AtOption = Annotated[
    list[str] | None,
    typer.Option("--at", help="Value of a law's further variable.", metavar="VAR=VALUE"),
]


def constraints(
    tokens_per_param: str | None = None,
    max_params: str | None = None,
    min_params: str | None = None,
    max_tokens: str | None = None,
    unique_tokens: str | None = None,
    inference_tokens: str | None = None,
    at: Sequence[str] | None = None,
) -> Constraints:
    """What the options of these names hold; InputError where they contradict each other."""
    from scaling_cli.planning.budget import Constraints
    from scaling_cli.quantities import parse_positive

    one_of(tokens_per_param=tokens_per_param, max_params=max_params)
    one_of(tokens_per_param=tokens_per_param, min_params=min_params)
    one_of(tokens_per_param=tokens_per_param, max_tokens=max_tokens)
    further = assignments(at or [], "--at")
    if unique_tokens is not None:
        further["unique_tokens"] = parse_positive(unique_tokens, "--unique-tokens")
    return Constraints(
        min_params=positive(min_params, "--min-params"),
        max_params=positive(max_params, "--max-params"),
        max_tokens=positive(max_tokens, "--max-tokens"),
        tokens_per_param=positive(tokens_per_param, "--tokens-per-param"),
        inference_tokens=positive(inference_tokens, "--inference-tokens") or 0.0,
        at=further,
    )
