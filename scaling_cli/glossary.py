"""The words of this project, each with its one meaning: `scalefit explain WORD`."""

from __future__ import annotations

WORDS = {
    "run": "one training of one model, with its settings, its logged history and its final point",
    "ladder": "a set of runs of several sizes, trained alike, that a law is fitted to",
    "recipe": "how a group of runs was trained: data, architecture, optimiser. Nothing else",
    "group": "the runs that share the values of the keys of `by=` (or of `[run] group`); each group"
    " is fitted by itself",
    "law": "a formula for the target over scale, such as E + A / params^alpha + B / tokens^beta",
    "link": "a formula from the loss to another metric, such as an accuracy, that follows a law:"
    " `law=chinchilla` `then=ladder`",
    "target": "the column that is predicted: the loss, unless `y=` names another",
    "procedure": "how a fit is made: `auto` (weighs laws and uses a prior), `robust`, or `paper`"
    " (as the law's authors did)",
    "prior": "what is known of ladders of language models before these runs; `auto` starts from it",
    "fit": "a law's parameters for the runs of a group, with intervals, warnings, and what it"
    " rests on",
    "predict": "to say the target of a run that is not among the fitted ones; also: forecast",
    "extrapolate": "to predict beyond the largest run; how far is said in decades (powers of ten)"
    " of compute",
    "held out": "kept out of a fit on purpose (`holdout=`), to see how well it predicts them",
    "resample": "a fit to runs drawn anew, with replacement, from the same runs; from many of them"
    " come the intervals",
    "interval": "the range in which a value lies with the probability of its level; of a"
    " prediction: the value of one new run",
    "level": "the share of cases that an interval is meant to cover: 90 %, or what `level=` says",
    "budget": "compute that may be spent on one training run, in FLOPs",
    "split": "how a budget is divided between parameters and tokens",
    "frontier": "the lowest loss that each budget can reach, over all splits",
    "training curve": "the loss of one run over its steps",
    "schedule": "the learning rate of a run over its steps",
    "warning": "what there is to know before a number is relied on: a code, a severity (info,"
    " warning, severe) and a sentence; `severe` means: do not rely on it",
    "store": "the folder or URL that holds ingested runs and saved fits (`store=`)",
    "source": "where runs are read from: a file, a folder, a URL, or a service such as W&B",
    "mapping": "scalefit.toml: which logged names are params, tokens and loss in these runs",
}
