"""The JSON documents of the commands, each declared once: as a type for whoever reads them in
Python, and as what `derive` makes a JSON Schema of.

Numbers are in base units (counts, FLOPs; a loss in the unit of its runs). Errors such as `mape` are
fractions. What is not known is null, a bound that is open too.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, NotRequired, TypedDict


class Open:
    """In an Annotated object type: it has further keys, of this type."""

    def __init__(self, value: Any) -> None:
        self.value = value


Number = float | None
Group = Annotated[
    dict[str, str | float | bool | None], "the values of the keys that runs are grouped by"
]
FitId = Annotated[str | None, "the saved fit; null for a paper's coefficients or a failed fit"]
Level = Annotated[Number, "central share of the intervals; null where there are none"]
Target = Annotated[str, "the column that `loss` stands for"]
Inputs = Annotated[dict[str, float], "column to value"]
Origins = Annotated[dict[str, dict[str, int]], "column to where it is read from, to runs"]


class Notice(TypedDict):
    """Something that has to be said with an answer; `scalefit explain CODE` has its mend."""

    code: str
    severity: Literal["info", "warning", "severe"]
    message: str


class ErrorBody(TypedDict):
    """What is wrong, where, and how to mend it."""

    code: Annotated[str, "for programs: input, usage, fit, unreachable, output, system, ..."]
    message: str
    mend: Annotated[str, "empty where there is none"]


class Error(TypedDict):
    """In place of the answer of any command that is refused; the exit code is not 0."""

    error: ErrorBody


class Ends(TypedDict):
    low: bool
    high: bool


class Interval(TypedDict):
    low: Number
    high: Number


class Estimate(TypedDict):
    """A parameter with its interval."""

    value: Number
    low: Number
    high: Number


class Accounting(TypedDict):
    """How compute is counted: the sum of factor x params^power x tokens over the terms."""

    name: str
    terms: Annotated[list[list[float]], "factor and power of each"]


class Origin(TypedDict):
    """A fit that gave an answer, and what it rests on."""

    fit_id: FitId
    group: Group
    n_runs: int
    where: str | None
    holdout: str | None
    made: Annotated[str | None, "time, ISO 8601"]
    version: str


# -------------------------------------------------------------------------------- runs


class Ingest(TypedDict):
    """`scalefit ingest`."""

    store: str
    runs: int
    new: int
    replaced: int
    unchanged: int
    not_read: Annotated[int, "runs whose files are as they were"]
    mapped: Origins
    vanished: Annotated[list[str], "runs that are no more at their source"]
    seconds: float
    summary: Annotated[str, "all of it in one line"]
    also_logged: list[str]
    missing: Annotated[dict[str, list[str]], "column to the runs that lack it"]
    warnings: list[Notice]


class PreviewRun(TypedDict):
    run_id: str
    source: str
    first_step: int | None
    last_step: int | None
    points: int
    metrics: list[str]


class ConsoleForm(TypedDict):
    """How the lines of a console log are read."""

    form: str
    matches: list[str]


class IngestPreview(TypedDict):
    """`scalefit ingest` with `dry_run=`."""

    dry_run: Literal[True]
    runs: list[PreviewRun]
    mapped: Origins
    console: dict[str, ConsoleForm]
    warnings: list[Notice]


class Ending(TypedDict):
    status: str
    steps: Number
    ended: Annotated[bool | None, "null: nothing says so"]
    planned_steps: Number
    done: Annotated[Number, "share of the plan"]
    ended_by: str | None


class Run(Ending):
    """A run at its final point."""

    run_id: str
    name: str
    source: str
    group: str
    params: Number
    tokens: Number
    flops: Number
    loss: Number
    warnings: list[Notice]


class Runs(TypedDict):
    """`scalefit runs`."""

    runs: list[Run]


class Column(TypedDict):
    taken_from: str
    value: Number
    over: Annotated[list[str], "names that were there too"]


class Metric(TypedDict):
    points: int
    steps: Annotated[list[int], "the first and the last"]
    first: Number
    last: Number
    lowest: Number
    lowest_step: int


class Show(Ending):
    """`scalefit show`: a run in full."""

    run_id: str
    run_key: str
    name: str
    source: str
    group: str
    tags: list[str]
    created_at: str
    columns: dict[str, Column]
    metrics: dict[str, Metric]
    config: dict[str, Any]
    warnings: list[Notice]


class Forgotten(TypedDict):
    """`scalefit runs forget` and `scalefit fits forget`."""

    forgotten: list[str]


class Mapping(TypedDict):
    """`scalefit init`."""

    path: Annotated[str | None, "null where it went to stdout"]
    text: Annotated[str, "the scalefit.toml"]


# -------------------------------------------------------------------------------- laws and fits


class Law(TypedDict):
    """A law as it is declared."""

    id: str
    title: str
    family: str
    formula: str
    variables: list[str]
    parameters: list[str]
    target: str
    objective: str
    source: str
    evidence: str
    verified: bool
    aliases: list[str]
    published: list[str]
    unverified: list[str]
    caveats: list[str]
    recipe: list[str]
    paper_objective: str | None


class Laws(TypedDict):
    """`scalefit laws`."""

    laws: list[Law]


class Objective(TypedDict):
    name: str | None
    value: Number


class Scores(TypedDict):
    """On held-out runs; `bias` is the signed mean error, `coverage` the share inside intervals."""

    n: Number
    mape: Number
    bias: Number
    coverage: Number


class HeldOutRow(TypedDict):
    """A held-out run, beside its params, tokens or what else the law reads."""

    run_id: str
    observed: Number
    predicted: Number
    low: Number
    high: Number
    error: Number


class Fold(TypedDict):
    cut: float
    n_fitted: int
    n_held_out: int


class RecordFold(Fold):
    """A fit to the smaller runs alone, and how it missed the larger ones."""

    error: Number
    bias: Number
    stated: Annotated[Number, "the error that its intervals stated"]
    below: Number
    above: Number


class FitRecord(TypedDict):
    """What such fits missed; how far intervals were widened by it."""

    along: str
    others: float
    freedom: NotRequired[Number]
    folds: list[RecordFold]
    below: Number
    above: Number


class Line(TypedDict):
    direction: list[float]
    low: float
    high: float
    seen: bool


class Explored(TypedDict):
    """The directions in the columns' logs along which the runs vary."""

    columns: list[str]
    lines: list[Line]
    two: NotRequired[
        Annotated[dict[str, list[float]], "columns of two sizes, where a third is needed"]
    ]


class Tied(TypedDict):
    """Parameters that groups share, and the test of whether they do."""

    parameters: list[str]
    groups: list[Group]
    objective: float
    untied_objective: Number
    p_value: Number
    untied: dict[str, Estimate]


class Basis(TypedDict):
    """The runs and the command behind a fit."""

    runs: list[str]
    runs_digest: str
    contents: str
    made: str
    where: str | None
    by: list[str]
    holdout: str | None
    mapping: str | None
    command: str | None


class FailedFit(TypedDict):
    """A group that could not be fitted; its warnings say why."""

    fit_id: FitId
    law: str
    group: Group
    n_observations: int
    status: Literal["ok", "failed"]
    objective: Objective
    parameters: dict[str, Estimate]
    metrics: Annotated[dict[str, Number], "r2, rmse, mape and what else applies"]
    holdout: Scores | None
    warnings: list[Notice]


class Fit(FailedFit):
    """A fitted law."""

    surface: Annotated[str, "the law whose formula it has"]
    recipe: Annotated[str, "how it was fitted: robust, paper, auto, ..."]
    prior: str | None
    n_runs: int
    predicted_finals: Annotated[list[dict[str, Any]], "runs that go on, by their forecast end"]
    constants: dict[str, float]
    unknown: Annotated[list[str], "parameters that the runs say nothing of"]
    explored: Explored | None
    derived: dict[str, Number]
    derived_intervals: dict[str, Interval]
    compute: Accounting
    noise: Annotated[float, "deviation of a run's loss from the law, relative where it is in logs"]
    drift: float
    record: FitRecord | None
    level: float
    resamples: int
    seed: int
    domain: Annotated[dict[str, list[float]], "column to its lowest and highest fitted value"]
    columns: dict[str, str]
    tied: Tied | None
    then: Annotated[Fit | None, "the link from the loss to a score"]
    holdout_rows: list[Annotated[HeldOutRow, Open(float | str | bool | None)]]
    rests_on: Basis | None


class Fits(TypedDict):
    """`scalefit fit`."""

    fits: list[Fit | FailedFit]


class NamedFit(Fit):
    names: list[str]


class FitsShow(TypedDict):
    """`scalefit fits show`."""

    fits: list[NamedFit]


class SavedFit(TypedDict):
    fit_id: str
    names: list[str]
    set: Annotated[int, "fits that were made together have one number"]
    answers: Annotated[bool, "whether commands ask it when none is named"]
    law: str
    target: str
    group: Group
    runs: int
    where: str | None
    saved: str | None
    mape: Number


class SavedFits(TypedDict):
    """`scalefit fits`."""

    fits: list[SavedFit]


class FitName(TypedDict):
    """`scalefit fits name`."""

    name: str
    fits: list[str]


class Behind(TypedDict):
    """How far a law is behind the best one, and whether that is more than chance."""

    mape: Number
    standard_error: Number
    decided: bool


class Score(TypedDict):
    law: str
    holdout_mape: Number
    bias: Number
    coverage: Number
    folds: int
    fold_mape: list[Number]
    n_parameters: int
    behind_best: Behind


class FailedLaw(TypedDict):
    law: str
    message: str


class Comparison(TypedDict):
    """Laws on the runs of one group, the best first."""

    group: Group
    cut: str
    folds: list[Fold]
    ranking: list[Score]
    best: str | None
    sentence: str
    failed: list[FailedLaw]
    warnings: list[Notice]


class Compare(TypedDict):
    """`scalefit compare`."""

    groups: list[Comparison]


# -------------------------------------------------------------------------------- answers


class Prediction(TypedDict):
    """The target of one new run; `low` and `high` bound the central `level`."""

    fit_id: FitId
    law: str
    group: Group
    inputs: Inputs
    target: Target
    loss: Number
    low: Number
    high: Number
    level: Level
    quantiles: dict[str, Number]
    warnings: list[Notice]


class Predict(TypedDict):
    """`scalefit predict`."""

    predictions: list[Prediction]
    origin: list[Origin]


class Solution(TypedDict):
    """Where the prediction has a value along one variable."""

    fit_id: FitId
    law: str
    group: Group
    variable: str
    value: Number
    low: Number
    high: Number
    target: Target
    loss: float
    level: Number
    inputs: Inputs
    warnings: list[Notice]


class Solve(TypedDict):
    """`scalefit predict` with `solve=`."""

    solutions: list[Solution]
    origin: list[Origin]


class Rule(Prediction):
    value: Annotated[Number, "the same as `loss`: what the rule gives"]


class Hparams(TypedDict):
    """`scalefit hparams`."""

    hparams: list[Rule]
    silent: Annotated[list[str], "what rules that give nothing lack"]
    origin: list[Origin]


class Chosen(TypedDict):
    """What a law lets one choose beside params and tokens."""

    value: float
    low: Number
    high: Number
    at_end: Annotated[bool, "whether it lies at an end of what was searched"]


class Allocation(TypedDict):
    """A budget split between params and tokens."""

    fit_id: FitId
    law: str
    group: Group
    budget_flops: float
    budget_low: Number
    budget_high: Number
    training_flops: Number
    params: Number
    params_low: Number
    params_high: Number
    tokens: Number
    tokens_low: Number
    tokens_high: Number
    tokens_per_param: Number
    target: Target
    loss: Number
    loss_low: Number
    loss_high: Number
    cost_of_double_params: Annotated[Number, "relative loss at twice the params"]
    cost_of_half_params: Number
    valley_low: Annotated[Number, "params from which on the loss is close to the best"]
    valley_high: Number
    open: Annotated[list[str], "bounds that the resamples leave open"]
    binding: Annotated[list[str], "constraints that hold the split"]
    cost_of_binding: Number
    choices: Annotated[dict[str, Chosen], "column to its best value"]
    size: Annotated[str, "the column that `params` stands for"]
    decades_beyond: Annotated[Number, "of compute, past the largest fitted run"]
    level: Level
    compute: Accounting
    warnings: list[Notice]


class Refit(TypedDict):
    """The split by a fit without a part of its runs, or by another law."""

    kind: Literal["run", "size", "rung", "law"]
    left_out: Annotated[str, "the run, size or budget; of `law` the other law"]
    params: Number
    loss: Number


class Sensitivity(TypedDict):
    """What a split leans on, by refits."""

    refits: list[Refit]
    again: Annotated[Number, "the loss by a refit to all runs"]
    sentences: list[str]


class CostedAllocation(Allocation):
    cost: NotRequired[Cost]
    sensitivity: NotRequired[Sensitivity]


class Optimal(TypedDict):
    """`scalefit optimal`."""

    allocations: list[CostedAllocation]
    origin: list[Origin]


class Cost(TypedDict):
    """What training takes of a machine."""

    device: str
    peak_flops: float
    peak_source: str
    mfu: float
    mfu_source: str
    training_flops: Number
    gpu_hours: Number
    devices: Number
    days: Number
    price: Number
    cost: Number


class Track(TypedDict):
    """The record of a fit on runs that it had not seen."""

    n: int
    errors: list[Number]
    times_largest: list[float] | None
    inside: int | None
    cut: Number
    rms: Number
    sentence: str


class NextRun(TypedDict):
    """The run that narrows a forecast most."""

    params: float
    tokens: float
    flops: float
    share: Annotated[float, "of the budget"]
    before: Number
    after: Number
    sentence: str


class Memo(TypedDict):
    sentence: str
    allocation: Allocation
    record: Track
    doubt: Annotated[dict[str, float], "shares of the doubt by what they come from"]
    weakest: str
    next_run: NextRun | None
    cost: Cost | None
    sensitivity: Sensitivity | None


class Plan(TypedDict):
    """`scalefit plan`."""

    kind: Literal["plan"]
    plans: list[Memo]
    origin: list[Origin]


class DesignedRun(TypedDict):
    run: str
    params: float
    tokens: float
    flops: float
    seed: int


class DesignOf(TypedDict):
    name: str
    runs: list[DesignedRun]
    spend_flops: float
    expected_half_width: Annotated[Number, "relative, of the interval at the target"]


class Design(TypedDict):
    """`scalefit design`."""

    kind: Literal["design"]
    target: Allocation
    spend_flops: float
    level: float
    trials: Annotated[int, "simulated experiments that each design was tried on"]
    half_width_before: Number
    design: DesignOf
    others: list[DesignOf]
    origin: list[Origin]


class Lesson(TypedDict):
    """What refits to repeated simulations said."""

    target_flops: float
    repeats: int
    half_width: Number
    error: Number
    covered: Number
    effect: Number
    power: Number
    wrong: Number


class SimulatedRun(TypedDict):
    run_id: str
    loss: Number


class Simulate(TypedDict):
    """`scalefit simulate`."""

    kind: Literal["simulate"]
    law: str
    source: str
    noise: float
    runs: list[Annotated[SimulatedRun, Open(float | str | None)]]
    lesson: Lesson | None


class Standing(TypedDict):
    recipe: str
    fit_id: FitId
    params: Number
    tokens: Number
    loss: Number
    loss_low: Number
    loss_high: Number
    compute_multiple: Annotated[Number, "compute that the baseline takes for the same loss"]
    compute_multiple_low: Number
    compute_multiple_high: Number
    p_best: Number


class AtBudget(TypedDict):
    """All recipes at one budget."""

    budget_flops: float
    recipes: list[Standing]
    best: str | None
    candidates: list[str]
    verdict: str
    best_loss_expected: Number
    optimism: Number
    warnings: list[Notice]


class Meeting(TypedDict):
    before: str
    after: str
    flops: Number
    flops_low: Number
    flops_high: Number
    share: Annotated[Number, "of the resamples that cross at all"]


class SideBySide(TypedDict):
    """Recipes at several budgets."""

    kind: Literal["recipes"]
    baseline: str
    target: Target
    level: float
    budgets: list[AtBudget]
    crossings: list[Meeting]


class Recipes(SideBySide):
    """`scalefit recipes`."""

    origin: list[Origin]


class CrossingOf(TypedDict):
    first: str
    second: str
    along: str
    at: Number
    low: Number
    high: Number
    level: float
    share: Number
    before: str
    after: str
    searched: list[float]
    open: Ends
    warnings: list[Notice]


class Crossing(TypedDict):
    """`scalefit crossing`."""

    crossing: CrossingOf
    origin: list[Origin]


class EquivalentOf(TypedDict):
    first: str
    second: str
    flops: float
    target: Target
    loss: Number
    multiple: Annotated[Number, "compute of the second for the loss of the first"]
    low: Number
    high: Number
    level: float
    open: Ends
    warnings: list[Notice]


class Equivalent(TypedDict):
    """`scalefit equivalent`."""

    equivalences: list[EquivalentOf]
    origin: list[Origin]


class Exponent(TypedDict):
    name: str
    exponent: str
    value: Number
    low: Number
    high: Number
    level: float
    theory: Number
    p_value: Number
    warnings: list[Notice]


class Floor(TypedDict):
    """What endless compute leaves of a recipe's loss."""

    name: str
    value: float
    low: Number
    high: Number


class Asymptotes(TypedDict):
    """The floors of two recipes."""

    floors: list[Floor]
    difference: Annotated[float, "the first's less the second's"]
    low: Number
    high: Number
    p_lower: Annotated[Number, "share of pairs of resamples in which the first's is lower"]
    level: float
    warnings: list[Notice]


class Slope(TypedDict):
    """`scalefit slope`."""

    slopes: list[Exponent]
    ratios: list[Exponent]
    asymptotes: Annotated[Asymptotes | None, "null for one recipe, or where a law has no floor"]
    origin: list[Origin]


class ItemCluster(TypedDict):
    """Items of like difficulty."""

    items: int
    first: Annotated[float, "their mean score at the least compute"]
    last: Annotated[float, "at the most"]
    predictable: bool
    why_not: str


class ItemForecast(TypedDict):
    """The score of all items at a compute."""

    flops: float
    subset: Annotated[float, "the score of the items that are carried on"]
    score: float
    low: float
    high: float
    level: float


class Items(TypedDict):
    """`scalefit items`."""

    forecasts: list[ItemForecast]
    clusters: list[ItemCluster]
    items: int
    alone: Annotated[int, "items in no cluster"]
    mapping_error: Annotated[float, "by which the runs are missed from subset to all items"]


class CurvePoint(TypedDict):
    step: int
    loss: Number
    low: Number
    high: Number


class Curve(TypedDict):
    """`scalefit curve`: the logged steps of a run and those to come."""

    run: str
    law: str
    points: list[CurvePoint]
    final: CurvePoint
    level: float
    seen: Annotated[int, "the last logged step that the forecast rests on"]
    siblings: list[str]
    warnings: list[Notice]
    parameters: NotRequired[dict[str, Estimate]]


class Candidate(TypedDict):
    schedule: str
    family: str
    usual: bool
    loss: float
    low: Number
    high: Number
    behind: Annotated[float, "relative, of the best"]
    decided: bool
    beyond: list[str]


class Schedule(TypedDict):
    """`scalefit schedule`."""

    law: str
    steps: int
    level: float
    runs: list[str]
    parameters: dict[str, Estimate]
    missed: Number
    best: Candidate
    schedules: list[Candidate]
    warnings: list[Notice]


class Check(TypedDict):
    """What one rule says of one run."""

    run: Annotated[str | None, "null where the rule applied to no run"]
    rule: str
    name: str
    status: Literal["pass", "fail", "skip"]
    observed: float | str | None
    expected: float | str | None
    message: str
    step: int | None
    details: dict[str, Any]


class Checks(TypedDict):
    """`scalefit check`; the exit code is 1 where it is not ok."""

    ok: bool
    checks: list[Check]


class Watch(TypedDict):
    """`scalefit watch`: the last look."""

    run: str
    step: int
    planned_steps: Number
    tokens: Number
    loss: Number
    low: Number
    high: Number
    ended: str
    checks: list[Check]


class Report(TypedDict):
    """`scalefit report` and `scalefit demo`."""

    runs: list[Run]
    fits: list[Fit]
    allocations: list[Allocation]
    recipes: NotRequired[SideBySide | None]
    checks: NotRequired[list[Check] | None]
    forecasts: NotRequired[Annotated[list[Curve], "of runs that go on, or of one half way"]]
    origin: list[Origin]


class Explanation(TypedDict):
    kind: str
    name: str
    meaning: str
    mend: str
    severities: list[str]


class Explain(TypedDict):
    """`scalefit explain`."""

    explanations: list[Explanation]


class Verify(TypedDict):
    """`scalefit store verify`; refused where there are problems."""

    ok: bool
    store: str
    commits: int
    segments: int
    runs: int
    points: int
    fits: int
    unnamed: list[str]
    problems: list[Notice]


class ConfigSetting(TypedDict):
    name: str
    value: Annotated[str, "of a secret only that it is set"]
    origin: Annotated[str, "the variable that says so, or the command line or a default"]


class ConfigProblem(TypedDict):
    where: Annotated[str, "the file or the variable"]
    what: str
    mend: str


class ConfigCheck(TypedDict):
    """`scalefit config check`; refused where there are problems."""

    ok: bool
    file: Annotated[str | None, "the mapping file; null where there is none"]
    settings: list[ConfigSetting]
    problems: list[ConfigProblem]
    remarks: list[str]


class Compact(TypedDict):
    """`scalefit store compact`."""

    store: str
    segments_before: int
    segments_after: int
    files_removed: int
    bytes_removed: int


class Schemas(TypedDict):
    """`scalefit schema`; with a name, the JSON Schema itself."""

    schemas: list[str]


class Export(TypedDict):
    """`scalefit store export`."""

    path: str
    shape: str
    rows: int


JsonSchema = TypedDict("JsonSchema", {"$schema": str, "title": str})

# What a command answers -> its document; a command that has several has them all.
DOCUMENTS: dict[str, tuple[Any, ...]] = {
    "ingest": (Ingest, IngestPreview),
    "init": (Mapping,),
    "runs": (Runs,),
    "show": (Show,),
    "runs forget": (Forgotten,),
    "laws": (Laws,),
    "fit": (Fits,),
    "fits": (SavedFits,),
    "fits show": (FitsShow,),
    "fits name": (FitName,),
    "fits forget": (Forgotten,),
    "compare": (Compare,),
    "predict": (Predict, Solve),
    "optimal": (Optimal,),
    "plan": (Plan,),
    "design": (Design,),
    "simulate": (Simulate,),
    "recipes": (Recipes,),
    "crossing": (Crossing,),
    "equivalent": (Equivalent,),
    "slope": (Slope,),
    "hparams": (Hparams,),
    "items": (Items,),
    "curve": (Curve,),
    "schedule": (Schedule,),
    "check": (Checks,),
    "watch": (Watch,),
    "report": (Report,),
    "explain": (Explain,),
    "schema": (Schemas, Annotated[JsonSchema, Open(Any)]),
    "config check": (ConfigCheck,),
    "demo": (Report,),
    "store verify": (Verify,),
    "store compact": (Compact,),
    "store export": (Export,),
    "error": (Error,),
}
