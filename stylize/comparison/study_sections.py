"""The training evidence as sections of the report: every sentence is computed from the runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from stylize.comparison.claims import NOT_REPRODUCED, NOT_TESTED
from stylize.comparison.learning_sections import curves_section, learning_rates_section, optimum_section
from stylize.comparison.norm_sections import gates_section, norms_section, pictures_section, placement_section
from stylize.comparison.photo_sections import controls_section, photo_counts_section
from stylize.comparison.report import Section, Table
from stylize.comparison.sharing_section import sharing_section
from stylize.comparison.study import StudyOutcome


def study_verdict(outcome: StudyOutcome) -> list[str]:
    """Return the sentences of the verdict that rest on training."""
    claims = {claim.key: claim for claim in outcome.claims}
    chosen = ("instance-beats-batch", "not-only-the-modes", "contrast-is-not-all", "style-normalised-photos")
    said = [claims[key].sentence for key in chosen if claims[key].verdict != NOT_TESTED]
    if said:
        return said
    norms = norms_section(outcome)
    return [norms.finding if norms is not None else "No run was finished, so nothing is decided."]


def not_reproduced(outcome: StudyOutcome) -> list[str]:
    """Return the claims that did not hold here, with the numbers."""
    return [
        f"{claim.claim} ({claim.source}) {claim.sentence}"
        for claim in outcome.claims
        if claim.verdict == NOT_REPRODUCED
    ]


def study_sections(outcome: StudyOutcome) -> list[Section]:
    """Return the sections of the training evidence, those without runs left out."""
    makers: Sequence[Callable[[StudyOutcome], Section | None]] = (
        curves_section,
        norms_section,
        pictures_section,
        controls_section,
        placement_section,
        gates_section,
        photo_counts_section,
        sharing_section,
        learning_rates_section,
        optimum_section,
        _claims,
    )
    return [section for make in makers if (section := make(outcome)) is not None]


def _claims(outcome: StudyOutcome) -> Section | None:
    decided = [claim for claim in outcome.claims if claim.verdict != NOT_TESTED]
    counts = {
        verdict: sum(claim.verdict == verdict for claim in decided)
        for verdict in dict.fromkeys(claim.verdict for claim in decided)
    }
    finding = ", ".join(f"{count} {verdict}" for verdict, count in counts.items())
    return Section(
        "claims",
        "What is said, and what came of it here",
        "Which of the claims about these norms hold in this study?",
        f"Of {len(outcome.claims)} claims: {finding or 'none tested'}"
        + (f", {len(outcome.claims) - len(decided)} not tested." if len(decided) < len(outcome.claims) else "."),
        (
            Table(
                ("claim", "source", "here", "measured"),
                [(claim.claim, claim.source, claim.verdict, claim.sentence) for claim in outcome.claims],
            ),
        ),
    )
