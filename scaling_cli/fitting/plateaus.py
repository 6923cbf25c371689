"""What is known of a score before a run has spoken: a share of right answers lies between 0 and 1.

A link rises from a guess to a plateau. Runs near chance show neither the steepness nor the plateau;
left free, both follow their noise, and what says that the plateau is open does not converge. So the
plateaus of a share are bounded, unless the user says where they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from scaling_cli.fitting.assembly import noise_of
from scaling_cli.fitting.problem import Design, FitOptions, Frame
from scaling_cli.fitting.result import Fit
from scaling_cli.fitting.solver import Prior, Solution, solve
from scaling_cli.fitting.surface import Surface
from scaling_cli.fitting.targets import is_share
from scaling_cli.notes import Note
from scaling_cli.records import Floats

LEAST = 1e-3  # of a plateau: below it a share is none
LEAST_RISE = 0.02  # as wide as the noise of some thousand questions
# Steepness on a column over its middle value: at 40 a rise from a tenth to nine tenths takes 11 %
# of the loss. Published links take 30 % and more; what is steeper follows the noise of two runs.
STEEP = (0.1, 40.0)
USUAL = (3.0, 20.0)  # of most links, on that scale
SPAN = 4.0  # a rise that no run has seen is drawn from a quarter of the widest upwards
LOOSE = 0.5  # standard deviation of its log, and of the steepness's, about what was drawn
# What the known end (loss 0, score 1) of a link by checkpoints counts for, in rows. The upper
# plateau of a resample is drawn from as much of the rise to it upwards: scores saturate below one.
END_ROWS, SATURATED = 3.0, 0.75
SEEN = 0.5  # of the widest rise that the resamples allow: above its middle a sigmoid turns to it


def bounded(design: Design, options: FitOptions) -> FitOptions:
    """The options, the plateaus of a share bounded where the user leaves them free."""
    if not design.law.plateaus or not is_share(design.names["target"]):
        return options
    if np.min(design.target) < 0 or np.max(design.target) > 1:  # of another unit, which is said
        return options
    guess, rise, _ = design.law.plateaus
    lowest = float(options.fixed.get(guess, min(np.min(design.target), 1 - 2 * LEAST_RISE)))
    middle = float(np.median(design.target))
    known: Mapping[str, tuple[float, float]] = {
        guess: (LEAST, max(2 * LEAST, middle)),
        rise: (LEAST_RISE, 1 - max(0.0, lowest)),
    }
    free = {name: ends for name, ends in known.items() if name not in options.fixed}
    return replace(options, bounds={**free, **options.bounds})


def no_step(design: Design, frame: Frame) -> Frame:
    """The frame with a rise that is no step between two runs, where the target is a share."""
    law = design.law
    if not law.plateaus or not is_share(design.names["target"]) or law.plateaus[2] in frame.fixed:
        return frame
    return replace(frame, bounds={**frame.bounds, law.plateaus[2]: STEEP})


def held(design: Design, surface: Surface, found: Solution) -> Floats | None:
    """The fit [free] whose rise and steepness are near usual ones where no run shows them, from the
    optima `found`; None where the target is no share.

    Against rows that show them the prior is nothing: it weighs as one row that misses by the noise.
    """
    usual = _ranges(design, surface)
    if usual is None:
        return None
    centre = {at: np.full(1, np.log((low + high) / 2)) for at, (low, high) in usual.items()}
    noise = noise_of(surface.residuals(found.theta[found.best()][None])[0], len(surface.free))
    prior = _prior(centre, len(surface.free), noise)
    _end_known(prior, design, surface, np.ones(1))
    again = solve(surface, np.ones((1, len(surface.target))), found.theta, prior)
    theta: Floats = again.theta[again.best()]
    return theta


def opened(
    design: Design, surface: Surface, theta: Floats, count: int, random: np.random.Generator
) -> Prior | None:
    """A prior for each of `count` resamples of the fit `theta` [free] that draws the rise and the
    steepness anew, so that those which no run has seen are as open as they are."""
    usual = _ranges(design, surface)
    if usual is None:
        return None
    drawn = {at: np.log(random.uniform(low, high, count)) for at, (low, high) in usual.items()}
    noise = noise_of(surface.residuals(theta[None])[0], len(theta))
    prior = _prior(drawn, len(theta), noise)
    _end_known(prior, design, surface, random.uniform(SATURATED, 1.0, count))
    return prior


def _end_known(prior: Prior, design: Design, surface: Surface, shares: Floats) -> None:
    """Hold the rise to `shares` [batch] of all that a score may, where rows are checkpoints: at a
    loss of zero every answer is right."""
    assert design.law.plateaus
    rise = design.law.plateaus[1]
    _, most = surface.bounds.get(rise, (LEAST_RISE, 1.0))
    if rise in surface.free and design.rows.n_runs < len(design.rows):
        at = surface.free.index(rise)
        prior.mean[:, at] = np.log(shares * most)
        prior.precision[:, at] = np.sqrt(END_ROWS) * most


def _ranges(design: Design, surface: Surface) -> dict[int, tuple[float, float]] | None:
    """Of the rise and the steepness, by their coordinates, between what they are expected."""
    law = design.law
    if not law.plateaus or not is_share(design.names["target"]):
        return None
    _, rise, steep = law.plateaus
    least, most = surface.bounds.get(rise, (LEAST_RISE, 1.0))
    known = {rise: (max(least, most / SPAN), most), steep: USUAL}
    return {surface.free.index(name): ends for name, ends in known.items() if name in surface.free}


def _prior(centres: Mapping[int, Floats], free: int, noise: float) -> Prior:
    """Normal in these coordinates, about `centres` [batch] each."""
    batch = max((len(centre) for centre in centres.values()), default=1)
    mean, precision = np.zeros((batch, free)), np.zeros((batch, free))
    for at, centre in centres.items():
        mean[:, at], precision[:, at] = centre, noise / LOOSE
    return Prior(mean, precision)


def notes(fitted: Fit, design: Design) -> list[Note]:
    """That no run has come near the upper plateau, so that only its bounds are known."""
    if not design.law.plateaus or not len(fitted.draws):
        return []
    guess, rise = map(fitted.law.parameter_names.index, design.law.plateaus[:2])
    _, high = fitted.interval(fitted.draws)
    best = float(np.max(design.target))
    share = (best - fitted.values[design.law.plateaus[0]]) / float(high[rise])
    if share >= SEEN:
        return []
    low = fitted.interval(fitted.draws[:, guess] + fitted.draws[:, rise])
    return [
        Note.of(
            "plateau_not_seen",
            f"The best of the runs reach {best:.3g}, {max(0.0, share):.0%} of the way to the upper"
            f" plateau that they allow: it lies anywhere from {float(low[0]):.2g} to"
            f" {float(low[1]):.2g}.",
        )
    ]
