"""What trainers print, one declaration each.

The forms are those of the trainers' own sources, which `where` names. A new one is a few lines:
its lines as templates (see console_lines), those that say which step they are of first.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from scaling_cli.adapters.console_lines import COUNTER, EVALUATION, Template, template

LN_2 = 0.6931471805599453


@dataclass(frozen=True)
class Form:
    """How a trainer prints.

    `lines` hold a step. Those of `after` are of the last step before them, those of `before` of
    the next one. `prefixes`: a template -> what its names begin with. `names` puts another name
    for what is printed, where that alone would be mistaken. `counter` is a printed name that is
    the step wherever a line has it. `in_bits` are losses that are printed to base 2.
    """

    name: str
    where: str
    lines: tuple[str, ...]
    after: tuple[str, ...] = ()
    before: tuple[str, ...] = ()
    names: Mapping[str, str] = field(default_factory=dict)
    prefixes: Mapping[str, str] = field(default_factory=dict)
    counter: str = ""
    below: bool = False  # indented lines `name=value` are of the last step before them
    in_bits: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    rows: bool = False  # dicts that say an epoch and no step
    boxes: bool = False  # tables of names and numbers, one for each step
    any_trainer: bool = False  # asked only where no trainer's own form is found
    counts: str = ""  # what the step counts, where it is none: "epoch", "samples"

    @cached_property
    def templates(self) -> tuple[tuple[str, Template], ...]:
        """Its templates, each with the kind of its lines."""
        kinds = {"lines": self.lines, "after": self.after, "before": self.before}
        return tuple((kind, template(text)) for kind, texts in kinds.items() for text in texts)

    @cached_property
    def words(self) -> tuple[tuple[tuple[bytes, ...], ...], tuple[tuple[bytes, ...], ...]]:
        """The words of its lines that hold a step, and of the others: what these hold as it
        stands."""
        steps = [made.words for kind, made in self.templates if kind == "lines"]
        others = [made.words for kind, made in self.templates if kind != "lines"]
        others += [(b"=",)] * self.below
        return (*steps, *[(b"epoch",)] * self.rows, *[(b"|",)] * self.boxes), tuple(others)


FORMS = (
    Form(
        "modded-nanogpt",
        "KellerJordan/modded-nanogpt train_gpt.py",
        ("^step:{step}/{total_steps} val_loss:{val_loss} {*}",
         "^step:{step}/{total_steps} {*}"),
    ),
    Form(
        "llm.c",
        "karpathy/llm.c train_gpt2.cu, train_gpt2.py",
        ("step {step}/{total_steps} | loss {train_loss} {*}",
         "step {step}/{total_steps} | train loss {train_loss} {*}",
         "step {step}/{total_steps}: train loss {train_loss} {*}",
         "step {step}: train loss {train_loss} (took {...}"),
        after=("val loss {val_loss}", "HellaSwag: {}/{} = {hellaswag}"),
    ),
    Form(
        "llm.c (main.log)",
        "karpathy/llm.c llmc/logger.h",
        ("^s:{step} tel:{val_loss}", "^s:{step} trl:{train_loss} {*}",
         "^s:{step} eval:{hellaswag}"),
    ),
    Form(
        "nanoGPT",
        "karpathy/nanoGPT train.py",
        ("step {step}: train loss {eval/train_loss}, val loss {val_loss}",
         "iter {step}: loss {train_loss}, time {dt}ms, mfu {mfu}%",
         "iter {step}: loss {train_loss}"),
    ),
    Form(
        "build-nanogpt",
        "karpathy/build-nanogpt train_gpt2.py",
        ("step {step} | loss: {train_loss} | lr {lr} | {*}",),
        before=("^validation loss: {val_loss}", "HellaSwag accuracy: {}/{}={hellaswag}"),
    ),
    Form(
        "build-nanogpt (log.txt)",
        "karpathy/build-nanogpt train_gpt2.py",
        ("^{step} val {val_loss}", "^{step} train {train_loss}", "^{step} hella {hellaswag}"),
    ),
    Form(
        "nanochat",
        "karpathy/nanochat scripts/base_train.py",
        ("step {step}/{total_steps} ({}) | {*}", "step {step} ({}%) | {*}",
         "Step {step} | Validation bpb: {Validation bpb}", "Step {step} | {*}",
         "Step {step}/{total_steps} | Training loss: {train_loss}| {*}"),
        names={"num_tokens": "tokens of a line"},
    ),
    Form(
        "torchtitan",
        "pytorch/torchtitan torchtitan/components/metrics.py",
        ("validate step: {step} loss: {val_loss} {*}", "step: {step} loss: {train_loss} {*}"),
        prefixes={"validate step: {step} loss: {val_loss} {*}": "validate/"},
    ),
    Form(
        "lingua",
        "facebookresearch/lingua apps/main/train.py",
        ("step: {step} acc: {} loss: {train_loss} {*}",),
        names={"flops": "flops_per_second_per_gpu"},
    ),
    Form(
        "nanotron",
        "huggingface/nanotron src/nanotron/trainer.py",
        ("iteration: {step} / {total_steps} | {*}",),
        names={"lm_loss": "train_loss"},
    ),
    Form(
        "litgpt",
        "Lightning-AI/litgpt litgpt/pretrain.py",
        ("Epoch {epoch} | iter {} step {step} | loss train: {train_loss}, val: {} | {*}",
         "iter {} step {step}: loss {train_loss}, {*}",
         "iter {} | step {step}: loss {train_loss}, {*}"),
        after=("iter {}: val loss {val_loss}, val time: {}",
               "step {}: val loss {val_loss}, val time: {}",  # an iteration, whatever it says
               "Final evaluation | val loss: {val_loss}"),
    ),
    Form(
        "MaxText",
        "AI-Hypercomputer/maxtext src/maxtext/common/metric_logger.py",
        ("completed step: {step}, {*}",
         "Completed eval after train step {step}, loss={eval_loss}, {*}",
         "eval metrics after step: {step}, loss={eval_loss}, {*}",
         "average loss after step={step}: {*}", "average loss after step={step}, {*}"),
        names={"loss": "train_loss"},
        prefixes={"Completed eval after train step {step}, loss={eval_loss}, {*}": "eval/",
                  "eval metrics after step: {step}, loss={eval_loss}, {*}": "eval/"},
    ),
    Form(
        "Composer",
        "mosaicml/composer composer/loggers/console_logger.py, file_logger.py",
        ("[epoch={epoch}][batch={step}/{total_steps}]", "[epoch={epoch}][batch={step}]",
         "[batch={step}/{total_steps}]", "[metric][batch={step}]: {*}"),
        after=("^Train {*}", "^Eval {*}"),
        names={"time/batch": "batches before"},  # one less than the batch of the line's head
    ),
    Form(
        "Composer (by tokens or samples)",
        "mosaicml/composer composer/loggers/console_logger.py",
        ("^Train time/batch: {step}",),  # its head counts what the duration is said in
        after=("^Train {*}", "^Eval {*}"),
    ),
    Form(
        "NeMo",
        "NVIDIA/NeMo nemo/lightning/pytorch/callbacks/progress_printer.py",
        ("Training epoch {epoch}, iteration {step}/{} | {*}",),
        counter="global_step",
    ),
    Form(
        "Megatron-LM",
        "NVIDIA/Megatron-LM megatron/training/training.py; Megatron-DeepSpeed, Bridge, GPT-NeoX",
        ("iteration {step}/{total_steps} | {*}",
         "^validation loss at iteration {step} on {...}validation set | {*}",
         "^validation loss at iteration {step} | {*}", "^valid loss at iteration {step} | {*}",
         "{@} loss at iteration {step} on {...}validation set | {*}",
         "{@} loss at iteration {step} | {*}", "validation results at iteration {step} | {*}"),
        after=("^validation loss at the end of training for val data | {*}",
               "^valid loss at the end of training for val data | {*}",
               "{@} loss at the end of training for val data | {*}",
               "at the end of training for val data | {*}"),
        names={"lm_loss": "lm loss", "lm_loss value": "lm loss value"},
    ),
    Form(
        "OLMo",
        "allenai/OLMo olmo/train.py; OLMo-core src/olmo_core/train/callbacks/console_logger.py",
        ("[step={step}/{total_steps}]", "[step={step}/{total_steps},epoch={epoch}",
         "[step={step}/{}epoch={epoch}"),
        below=True,
    ),
    Form(
        "Hugging Face Trainer",
        "huggingface/transformers src/transformers/trainer_callback.py; LLaMA-Factory, ms-swift,"
        " axolotl",
        (),
        rows=True,
    ),
    Form(
        "fairseq",
        "facebookresearch/fairseq fairseq/logging/progress_bar.py",
        ("| train_inner | {*}", "| valid | {*}", "| train | {*}",
         "| epoch {epoch}: {} / {} {*}", "| epoch {epoch} | valid on 'valid' subset | {*}",
         "| epoch {epoch} | loss{*}"),
        prefixes={"| train_inner | {*}": "train_inner/", "| valid | {*}": "valid/",
                  "| train | {*}": "train/", "| epoch {epoch}: {} / {} {*}": "train_inner/",
                  "| epoch {epoch} | valid on 'valid' subset | {*}": "valid/",
                  "| epoch {epoch} | loss{*}": "train/"},
        counter="num_updates",
        in_bits={"val_loss": ("valid/nll_loss", "valid/loss"),
                 "train_loss": ("train_inner/nll_loss", "train_inner/loss", "train/nll_loss",
                                "train/loss")},
    ),
    Form(
        "levanter",
        "stanford-crfm/levanter src/levanter/callbacks",
        ("Progress on:train {step}it/{total_steps}it {...}postfix:{*}",),
        after=(":: validation loss: {val_loss}", ":: {@} validation loss: {val_loss}"),
        names={"loss": "train_loss"},
    ),
    Form(
        "CLU",
        "google/CommonLoopUtils clu/metric_writers/logging_writer.py: t5x, scenic, big_vision",
        ("logging_writer.py:{}] [{step}] collection={@} {*}",
         "logging_writer.py:{}] [{step}] {*}"),
    ),
    Form(
        "Lightning",
        "Lightning-AI/pytorch-lightning src/lightning/pytorch/callbacks/progress/tqdm_progress.py",
        ("Epoch {epoch}: {...}| {step}/{} [{...}, {*}",
         "Epoch {epoch}/{} {...} {step}/{} {...}it/s {*}"),  # rich_progress.py
        counter="global_step",
    ),
    Form(
        "Keras",
        "keras-team/keras keras/src/utils/progbar.py",
        ("^Epoch {step}/{total_steps}",),
        after=("/step - {*}", "/sample - {*}"),
        counts="epoch",
    ),
    Form(
        "PyTorch's example",
        "pytorch/examples mnist/main.py",
        ("Train Epoch: {epoch} [{step}/{total_steps} ({}%)] {*}",
         "Train Epoch: {epoch} [{step}/{total_steps}] {*}"),
        after=("Test set: Average loss: {test_loss}",),
        any_trainer=True,
        counts="samples",
    ),
    Form(
        "PyTorch's ImageNet example",
        "pytorch/examples imagenet/main.py",
        ("Epoch: [{epoch}][{step}/{total_steps}] {*}",),
        any_trainer=True,
    ),
    Form(
        "boxes of names and numbers",
        "openai/baselines baselines/logger.py; DLR-RM/stable-baselines3 common/logger.py",
        (),
        boxes=True,
        any_trainer=True,
    ),
    Form(
        "a step and names",
        "any trainer",
        ("^[{step}/{total_steps}] {*}", "Iter(train) [{step}/{total_steps}] {*}",
         "Step... ({step} | {*}", "Step... ({step}/{total_steps} | {*}",
         "Epoch {epoch}, batch {step}, {*}",  # icefall
         "Train: {epoch} [{step}/{...}] {*}",  # timm
         ".py:{}] [{step}] {*}",  # absl: google-research, zihangdai/xlnet
         COUNTER + "global[ _]step|optimi[sz]er[ _]step|num_updates",
         COUNTER + "step_i|step|iteration|iter|it|update"),
        after=(EVALUATION,),
        any_trainer=True,
    ),
    Form(
        "a progress bar",
        "any trainer",
        ("| {step}/{total_steps} [{...}, {*}",),
        any_trainer=True,
    ),
    Form(
        "an epoch and names",
        "any trainer",
        (COUNTER + "epoch",),
        any_trainer=True,
        counts="epoch",
    ),
)  # fmt: skip

# Settings that logs print once, whatever the trainer: a template, and what its numbers multiply.
SETTINGS = (
    "[hyperparameter]: n_params: {params}",
    "[hyperparameter]: global_train_batch_size: {global_train_batch_size}",
    "[hyperparameter]: max_seq_len: {max_seq_len}",
    "number of parameters: {params}",
    "number of parameters {params}",
    "number of trainable parameters = {trainable_params}",
    "number parameters: {params}",
    "size: {params} total parameters",
    "total parameters: {params}",
    "total params: {params}",
    "num. shared model params: {params}",
    "num_parameters: {params}",
    "| num_parameters | {params}",
    "non-embedding parameters: {params_non_embedding}",
    "{...}length: {seq_len} | global_batch_size: {global_batch_size} | train_steps: {total_steps}",
    "global_batch_size: {global_batch_size} | {...}length: {seq_len} | train_steps: {total_steps}",
    "tokens per iteration will be: {batch_tokens}",
    "total desired batch size: {batch_tokens}",
    "total batch size {batch_tokens} => gradient accumulation",
    "global batch size {global_batch_size}, sequence length {seq_len}, total steps {total_steps}",
    "total optimization steps = {total_steps}",
    "num epochs = {num_train_epochs}",
    "total train batch size (w. parallel, distributed & accumulation) = {global_train_batch_size}",
)
