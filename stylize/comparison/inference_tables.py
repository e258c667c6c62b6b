"""The numbers of a comparison without training, as tables for CSV files."""

from __future__ import annotations

from typing import Any

from stylize.comparison.inference import Comparison


def inference_tables(found: Comparison) -> dict[str, tuple[list[str], list[list[Any]]]]:
    """Return the figures as tables for CSV files: name to header and rows."""
    tables: dict[str, tuple[list[str], list[list[Any]]]] = {
        "sweeps": (
            ["network", "change", "factor", "style_distance", "style_spread", "output_change", "output_variation"],
            [
                [r.label, r.change, r.factor, r.style, r.style_spread, r.output_change, r.output_variation]
                for r in found.sweeps
            ],
        ),
        "batch-mates": (
            ["network", "change", "largest"],
            [[row.label, row.change, row.largest] for row in found.batch_mates.rows],
        ),
        "modes": (
            ["network", "style_training", "style_evaluation", "content_training", "content_evaluation", "change"],
            [
                [r.label, r.style_training, r.style_evaluation, r.content_training, r.content_evaluation, r.change]
                for r in found.modes.rows
            ],
        ),
        "survival": (
            ["network", "layer", "stage", "between_share", "contrast_fit", "colour_fit"],
            [
                [network.label, layer.name, stage.name, stage.between_share, stage.contrast_fit, stage.colour_fit]
                for network in found.survival.networks
                for layer in network.layers
                for stage in (layer.before, layer.after, layer.next)
            ],
        ),
        "cost": (
            ["network", "size", "seconds", "ratio", "megabytes", "memory_ratio"],
            [[p.label, p.size, p.seconds, p.ratio, p.megabytes, p.memory_ratio] for p in found.cost.passes],
        ),
        "halves": (
            ["network", "overlap", "enough", "largest", "mean"],
            [[h.label, h.overlap, h.enough, h.largest, h.mean] for h in found.cost.halves],
        ),
        "flat-pictures": (
            ["network", "noise", "variation", "half_flat_variation"],
            [[r.label, r.noise, r.variation, r.half_flat_variation] for r in found.limits.flat.rows],
        ),
        "brightness": (
            ["network", "brightness_slope", "contrast_slope", "correlation", "rank_correlation"],
            [
                [r.label, r.brightness_slope, r.contrast_slope, r.correlation, r.rank_correlation]
                for r in found.limits.brightness.rows
            ],
        ),
    }
    if found.frozen is not None:
        tables["frozen-statistics"] = (
            ["statistics_of_the_photo_kept", "contrast", "style", "spread", "pixel_deviation"],
            [
                [variant.name, contrast, outcome.style, outcome.spread, outcome.pixel_deviation]
                for variant in found.frozen.variants
                for contrast, outcome in ((1.0, variant.plain), (found.frozen.contrast, variant.low_contrast))
            ],
        )
    return tables
