"""What is said about these norms, each claim decided by the numbers of a study.

A verdict is never written in advance: every sentence is made from the runs, and a claim whose runs are missing is "not
tested". Where the runs of several seeds differ by more than the effect, the verdict is "undecided".
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass

from stylize.comparison.evidence import SMALLEST_NOISE, Evidence
from stylize.comparison.summaries import select

REPRODUCED = "reproduced"
NOT_REPRODUCED = "not reproduced"
UNDECIDED = "undecided"
NOT_TESTED = "not tested"

LEARNED = 0.5
"""A network whose style distance is above this share of the untouched photos' learned nothing."""


@dataclass(frozen=True)
class Claim:
    """A claim and what became of it here.

    Attributes:
        key: Short name.
        claim: What is said, in a sentence.
        source: Who says it.
        verdict: :data:`REPRODUCED`, :data:`NOT_REPRODUCED`, :data:`UNDECIDED` or :data:`NOT_TESTED`.
        sentence: What was measured.
    """

    key: str
    claim: str
    source: str
    verdict: str
    sentence: str


def judge(evidence: Evidence) -> list[Claim]:
    """Return every claim with its verdict."""
    rules = (
        _instance_beats_batch,
        _not_only_the_modes,
        _contrast_is_not_all,
        _style_normalised,
        _pixels_cannot_replace_it,
        _weight_norm,
        _combination,
        _shallow_and_deep,
        _first_layer,
        _more_photos,
        _shared_batch,
        _without,
    )
    return [rule(evidence) for rule in rules]


def _factor(value: float) -> str:
    return f"{value:.2f}"


def _missing(key: str, claim: str, source: str) -> Claim:
    return Claim(key, claim, source, NOT_TESTED, "The runs that would tell are not part of this study, or diverged.")


def _instance_beats_batch(evidence: Evidence) -> Claim:
    key = "instance-beats-batch"
    claim = "A network with instance norm reaches a lower loss than the same network with batch norm."
    source = "Ulyanov et al. 2016, arXiv 1607.08022; 2017, arXiv 1701.02096"
    pairs = []
    for painting in dict.fromkeys(run.painting for run in evidence.results):
        first, second = evidence.summary("instance", painting), evidence.summary("batch", painting)
        if first is not None and second is not None:
            pairs.append((painting, first, second))
    if not pairs:
        return _missing(key, claim, source)
    parts, always, ever, alike = [], True, False, False
    for painting, instance, batch in pairs:
        always &= instance.total.high < batch.total.low
        ever |= instance.total.low < batch.total.high
        alike |= abs(instance.total.median / batch.total.median - 1) <= SMALLEST_NOISE
        parts.append(
            f"{painting}: instance {_factor(instance.total.median)}, batch {_factor(batch.total.median)}, and style "
            f"distance {instance.style.median:.4f} against {batch.style.median:.4f} "
            f"({_factor(batch.style.median / instance.style.median)} times)"
        )
    seeds = min(min(first.seeds, second.seeds) for _, first, second in pairs)
    word = "in every run" if always else "in some runs only" if ever else "in no run"
    sentence = (
        f"Instance norm's held-out loss is the lower one {word} ({seeds} seed{'s' if seeds > 1 else ''} or more each). "
        f"{'; '.join(parts)}."
    )
    if alike:
        sentence += f" Differences of {100 * SMALLEST_NOISE:.0f} % and less count as none."
        return Claim(key, claim, source, UNDECIDED, sentence)
    return Claim(key, claim, source, REPRODUCED if always else UNDECIDED if ever else NOT_REPRODUCED, sentence)


def _not_only_the_modes(evidence: Evidence) -> Claim:
    key = "not-only-the-modes"
    claim = (
        "Batch norm is behind also when it uses the statistics of the batch, so running averages are not the reason."
    )
    source = "the question of many issue threads; CycleGAN 693, texture_nets 35"
    instance, batch = evidence.summary("instance"), evidence.summary("batch")
    if instance is None or batch is None:
        return _missing(key, claim, source)
    applied, trained, lead = batch.total.median, batch.training_total.median, instance.total.median
    order = evidence.compare(lead, trained)
    verdict = {-1: REPRODUCED, 0: UNDECIDED, 1: NOT_REPRODUCED}[order]
    sentence = (
        f"Held-out loss of batch norm: {_factor(applied)} in evaluation mode, {_factor(trained)} in training mode; "
        f"of instance norm: {_factor(lead)} and {_factor(instance.training_total.median)}."
    )
    return Claim(key, claim, source, verdict, sentence)


def _gap(evidence: Evidence, preparation: str) -> float | None:
    """Return batch norm's loss over instance norm's on photos prepared in one way; 1 = no gap. Seed 0 alone."""
    instance, batch = (evidence.first_seed(norm, preparation) for norm in ("instance", "batch"))
    return None if instance is None or batch is None else batch / instance


def _left(evidence: Evidence, before: float, after: float) -> float:
    """Return the share of a gap, as a logarithm, that is left; not a number where there was none beyond the noise."""
    return math.log(after) / math.log(before) if evidence.compare(before, 1) > 0 else math.nan


def _share_left(left: float) -> str:
    return ": no gap on plain photos that could remain" if math.isnan(left) else f", {100 * left:.0f} % of the gap"


def _contrast_is_not_all(evidence: Evidence) -> Claim:
    key = "contrast-is-not-all"
    claim = "On photos with equalised contrast the gap between the two norms remains."
    source = "Huang and Belongie 2017, arXiv 1703.06868, figure 1b"
    plain, equalised = _gap(evidence, "none"), _gap(evidence, "equalise")
    if plain is None or equalised is None:
        return _missing(key, claim, source)
    left = _left(evidence, plain, equalised)
    sentence = (
        f"Batch norm's held-out loss is {_factor(plain)} times instance norm's on plain photos and "
        f"{_factor(equalised)} times on equalised ones{_share_left(left)}."
    )
    verdict = NOT_TESTED if math.isnan(left) else REPRODUCED if left >= 0.5 else NOT_REPRODUCED
    return Claim(key, claim, source, verdict, sentence)


def _style_normalised(evidence: Evidence) -> Claim:
    key = "style-normalised-photos"
    claim = "On photos that all have one style the gap nearly closes, and batch norm comes close to instance norm."
    source = "Huang and Belongie 2017, arXiv 1703.06868, figure 1c"
    plain, styled = _gap(evidence, "none"), _gap(evidence, "stylize")
    batch = evidence.first_seed("batch", "stylize")
    instance = evidence.first_seed("instance")
    if plain is None or styled is None or batch is None or instance is None:
        return _missing(key, claim, source)
    left = _left(evidence, plain, styled)
    match = batch / instance
    sentence = (
        f"Batch norm's held-out loss is {_factor(plain)} times instance norm's on plain photos and {_factor(styled)} "
        f"times on photos of one style{_share_left(left)}. Batch norm on photos of one style has {_factor(match)} "
        "times the loss of instance norm on plain photos."
    )
    shrinks = not math.isnan(left) and left <= 0.5
    close = match <= 1 + max(0.1, evidence.noise)
    verdict = REPRODUCED if shrinks and close else UNDECIDED if shrinks or close else NOT_REPRODUCED
    return Claim(key, claim, source, NOT_TESTED if math.isnan(left) else verdict, sentence)


def _closed(evidence: Evidence, value: float) -> float | None:
    """Return the share of the gap from batch to instance norm, as a logarithm, that a loss closes; 0 to 1 or beyond.

    None where there is no gap beyond the noise.
    """
    instance, batch = evidence.first_seed("instance"), evidence.first_seed("batch")
    if instance is None or batch is None or evidence.compare(instance, batch) >= 0:
        return None
    return math.log(batch / value) / math.log(batch / instance)


def _pixels_cannot_replace_it(evidence: Evidence) -> Claim:
    key = "preparation-does-not-replace-it"
    claim = "Normalising each photo before a batch-norm network does not replace instance norm inside it."
    source = "follows from Huang and Belongie 2017, figure 1b; asked in issue threads"
    value, instance = evidence.first_seed("batch", "standardise"), evidence.first_seed("instance")
    if value is None or instance is None or evidence.first_seed("batch") is None:
        return _missing(key, claim, source)
    closed = _closed(evidence, value)
    sentence = (
        f"Batch norm on photos whose channels all have one mean and variance: held-out loss {_factor(value)}, instance "
        f"norm on plain photos {_factor(instance)}: "
    )
    if closed is None:
        sentence += "on plain photos there was no gap to close."
        return Claim(key, claim, source, NOT_TESTED, sentence)
    sentence += f"{100 * closed:.0f} % of the gap is closed."
    order = evidence.compare(instance, value)
    return Claim(key, claim, source, {-1: REPRODUCED, 0: NOT_REPRODUCED, 1: NOT_REPRODUCED}[order], sentence)


def _against_both(evidence: Evidence, norm: str) -> str | None:
    value, others = evidence.total(norm), {name: evidence.total(name) for name in ("batch", "instance")}
    if value is None:
        return None
    words = {-1: "lower than", 0: "within the noise of", 1: "higher than"}
    parts = [
        f"{words[evidence.compare(value, other)]} {name} norm ({_factor(other)})"
        for name, other in others.items()
        if other is not None
    ]
    return f"{norm} ends at {_factor(value)}, {' and '.join(parts)}" if parts else None


def _diverged(evidence: Evidence, norm: str, other: str) -> str | None:
    """Say that all runs of a norm diverged where another finished, or return None where that is not so."""
    runs, loss = select(evidence.results, evidence.painting, norm, evidence.rates), evidence.total(other)
    if loss is None or not runs or not all(run.failure for run in runs):
        return None
    count = "The only run" if len(runs) == 1 else f"All {len(runs)} runs"
    return f"{count} of {norm} diverged; {other} norm ends at a held-out loss of {_factor(loss)}."


def _unlearned(evidence: Evidence, norm: str) -> str | None:
    """Say that the networks of a norm ended hardly closer to the style than the photos are: saturated, not trained.

    Such runs tell about a learning rate, not about a norm, unless each norm was given its own.
    """
    runs = [run for run in select(evidence.results, evidence.painting, norm, evidence.rates) if run.final is not None]
    tried = {run.learning_rate for run in evidence.results if run.norm == norm}
    if len(tried) > 1 or not runs or any(run.final.style < LEARNED * run.photo_style for run in runs if run.final):
        return None
    return (
        f"{norm} learned nothing at a learning rate of {runs[0].learning_rate:g}: its pictures are hardly closer to "
        "the style than the photos are. --tune-lr gives each norm a rate of its own."
    )


def _held_against(
    evidence: Evidence, key: str, claim: str, source: str, norm: str, other: str, verdicts: Mapping[int, str]
) -> Claim:
    """Decide a claim by how the loss of a norm compares with that of another.

    Args:
        evidence: The runs.
        key: Of the claim, as the following two.
        claim: What is said.
        source: Who says it.
        norm: The norm that the claim is about; all runs diverged counts as a higher loss.
        other: The norm it is held against.
        verdicts: Verdict for a loss that is lower (-1), the same within the noise (0), or higher (1).
    """
    if diverged := _diverged(evidence, norm, other):
        return Claim(key, claim, source, verdicts[1], diverged)
    if unlearned := _unlearned(evidence, norm):
        return Claim(key, claim, source, UNDECIDED, unlearned)
    said, value, reference = _against_both(evidence, norm), evidence.total(norm), evidence.total(other)
    if said is None or value is None or reference is None:
        return _missing(key, claim, source)
    return Claim(key, claim, source, verdicts[evidence.compare(value, reference)], f"Held-out loss: {said}.")


def _weight_norm(evidence: Evidence) -> Claim:
    return _held_against(
        evidence,
        "weight-norm",
        "Weight norm does better than instance norm.",
        "asked in issue threads; Salimans and Kingma 2016 did not test stylization",
        "weight",
        "instance",
        {-1: REPRODUCED, 0: UNDECIDED, 1: NOT_REPRODUCED},
    )


def _combination(evidence: Evidence) -> Claim:
    key = "no-use-in-combining"
    claim = "There is no practical use in combining batch and instance norm in one layer."
    source = "said in issue threads; Nam and Kim 2018, arXiv 1805.07925, say the opposite"
    found = {norm: evidence.total(norm) for norm in ("batch-instance", "ibn")}
    instance = evidence.total("instance")
    known = {norm: value for norm, value in found.items() if value is not None}
    if not known or instance is None:
        return _missing(key, claim, source)
    best = min(known, key=lambda norm: known[norm])
    sentence = "Held-out loss: " + "; ".join(_against_both(evidence, norm) or "" for norm in known) + "."
    gates = gate_ends(evidence)
    if gates:
        sentence += (
            f" The gates of batch-instance norm, which begin at 1 (batch norm), end at {gates[0]:.2f} in the first "
            f"layer, {gates[-1]:.2f} in the last, {statistics.mean(gates):.2f} on average."
        )
    verdict = NOT_REPRODUCED if evidence.compare(known[best], instance) < 0 else REPRODUCED
    return Claim(key, claim, source, verdict, sentence)


def gate_ends(evidence: Evidence) -> list[float]:
    """Return the mean final gates of batch-instance norm, layer by layer, over its finished runs; empty without any."""
    runs = select(evidence.results, evidence.painting, "batch-instance", evidence.rates)
    gates = [run.final.gates for run in runs if run.final is not None and run.final.gates]
    return [statistics.mean(layer) for layer in zip(*gates, strict=True)]


def _shallow_and_deep(evidence: Evidence) -> Claim:
    key = "instance-shallow-batch-deep"
    claim = "Instance norm belongs in the shallow layers and batch norm in the deep ones."
    source = "Pan et al. 2018, arXiv 1807.09441, for recognition"
    shallow, deep, everywhere = (evidence.total(name) for name in ("instance@shallow", "instance@deep", "instance"))
    if shallow is None or deep is None or everywhere is None:
        return _missing(key, claim, source)
    sentence = (
        f"Held-out loss: instance norm in the shallow half {_factor(shallow)}, in the deep half {_factor(deep)}, "
        f"everywhere {_factor(everywhere)}."
    )
    better_half, as_good = evidence.compare(shallow, deep), evidence.compare(shallow, everywhere)
    if better_half < 0 and as_good <= 0:
        return Claim(key, claim, source, REPRODUCED, sentence)
    return Claim(key, claim, source, UNDECIDED if better_half == 0 and as_good == 0 else NOT_REPRODUCED, sentence)


def _first_layer(evidence: Evidence) -> Claim:
    key = "first-layer"
    claim = "Instance norm in the first layer alone already helps, and in all layers helps most."
    source = "Ulyanov et al. 2017, arXiv 1701.02096"
    first, batch, everywhere = (evidence.total(name) for name in ("instance@first", "batch", "instance"))
    if first is None or batch is None or everywhere is None:
        return _missing(key, claim, source)
    closed = _closed(evidence, first)
    share = "" if closed is None else f": {100 * closed:.0f} % of the way"
    sentence = (
        f"Held-out loss: batch norm everywhere {_factor(batch)}, instance norm in the first layer {_factor(first)}, "
        f"in all layers {_factor(everywhere)}{share}."
    )
    helps, most = evidence.compare(first, batch), evidence.compare(everywhere, first)
    if helps < 0 and most == 0:
        sentence = f"{sentence[:-1]}; the rest of the way is within the noise of {100 * evidence.noise:.0f} %."
        return Claim(key, claim, source, UNDECIDED, sentence)
    return Claim(key, claim, source, REPRODUCED if helps < 0 and most < 0 else NOT_REPRODUCED, sentence)


def _more_photos(evidence: Evidence) -> Claim:
    key = "more-photos"
    claim = "More training photos make batch norm worse, and instance norm not."
    source = "texture_nets, whose batch-norm network was trained on 16 photos for this reason"
    counts = sorted({run.photo_limit for run in evidence.results if run.photo_limit is not None})
    losses = {
        norm: [evidence.first_seed(norm, limit=count) for count in [*counts, None]] for norm in ("instance", "batch")
    }
    if not counts or any(value is None for row in losses.values() for value in row):
        return _missing(key, claim, source)
    names = [*map(str, counts), "all"]
    parts = [
        f"{norm} norm "
        + ", ".join(f"{_factor(value or math.nan)} ({name})" for name, value in zip(names, row, strict=True))
        for norm, row in losses.items()
    ]
    batch, instance = losses["batch"], losses["instance"]
    worse = evidence.compare(batch[-1] or math.nan, batch[0] or math.nan) > 0
    kept = evidence.compare(instance[-1] or math.nan, instance[0] or math.nan) <= 0
    sentence = f"Held-out loss by number of training photos: {'; '.join(parts)}."
    return Claim(key, claim, source, REPRODUCED if worse and kept else NOT_REPRODUCED, sentence)


def _shared_batch(evidence: Evidence) -> Claim:
    key = "shared-out-batch"
    claim = "A batch that is shared out over several processes harms batch norm, and not instance norm."
    source = "follows from Wu and He 2018, arXiv 1803.08494, and Peng et al. 2018, arXiv 1711.07240, for recognition"
    counts = sorted({1, *(run.processes for run in evidence.results)})
    losses = {norm: [evidence.shared_out(norm, count) for count in counts] for norm in ("batch", "instance")}
    lost = {norm: evidence.diverged(norm, counts[-1]) for norm in ("batch", "instance")}
    if lost["batch"] and not lost["instance"] and losses["batch"][-1] is None and losses["instance"][-1] is not None:
        sentence = f"All runs of batch norm by {counts[-1]} processes diverged, and none of instance norm."
        return Claim(key, claim, source, REPRODUCED, sentence)
    if len(counts) == 1 or any(value is None for row in losses.values() for value in row):
        return _missing(key, claim, source)
    parts = [
        f"{norm} norm "
        + ", ".join(f"{_factor(value or math.nan)} ({count})" for count, value in zip(counts, row, strict=True))
        for norm, row in losses.items()
    ]
    batch, instance = losses["batch"], losses["instance"]
    worse = evidence.compare(batch[-1] or math.nan, batch[0] or math.nan) > 0
    kept = evidence.compare(instance[-1] or math.nan, instance[0] or math.nan) <= 0
    together = evidence.shared_out("batch", counts[-1], synchronised=True)
    sentence = f"Held-out loss by number of processes: {'; '.join(parts)}"
    if together is not None:
        sentence += f"; batch norm with synchronised statistics {_factor(together)} ({counts[-1]})"
    if any(lost.values()):
        diverged = f"batch {lost['batch']}, instance {lost['instance']}"
        sentence += f"; runs by {counts[-1]} processes that diverged: {diverged}"
        return Claim(key, claim, source, UNDECIDED, f"{sentence}.")
    return Claim(key, claim, source, REPRODUCED if worse and kept else NOT_REPRODUCED, f"{sentence}.")


def _without(evidence: Evidence) -> Claim:
    return _held_against(
        evidence,
        "normalisation-is-needed",
        "Without any normalisation the network cannot be trained to a comparable loss.",
        "folklore; the initial weights and the learning rate are made fair here",
        "none",
        "batch",
        {-1: NOT_REPRODUCED, 0: NOT_REPRODUCED, 1: REPRODUCED},
    )
