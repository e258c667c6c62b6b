"""The networks of a comparison, chosen by their headers alone: without torch."""

from __future__ import annotations

import os
from collections.abc import Sequence

from stylize.checkpoints import WeightsFile
from stylize.errors import InputError
from stylize.zoo import is_path, resolve_weights

DEFAULT_NORMS = ("instance", "batch")


def choose_networks(
    styles: Sequence[str | os.PathLike[str]], norms: Sequence[str], preset: str | None = None
) -> list[WeightsFile]:
    """Return the weights files of a comparison.

    Args:
        styles: One name of a shipped style, or one or more weights files.
        norms: Normalisations; of a shipped style those to compare (none = instance and batch), of weights files those
            to take.
        preset: Architecture of a shipped style.

    Raises:
        InputError: Fewer than two networks, or networks of different paintings.
    """
    if len(styles) == 1 and not is_path(styles[0]):
        wanted = list(dict.fromkeys(norms)) or list(DEFAULT_NORMS)
        chosen = [resolve_weights(styles[0], norm, preset) for norm in wanted]
    else:
        files = [resolve_weights(style, preset=preset) for style in styles]
        chosen = [weights for weights in files if not norms or weights.architecture.norm in norms]
        if not chosen:
            known = ", ".join(dict.fromkeys(weights.architecture.norm for weights in files))
            raise InputError(f"none of these networks has {' or '.join(norms)} norm; they have {known}")
    # A file that is given twice is one network.
    chosen = list({weights.path.resolve(): weights for weights in chosen}.values())
    if len(chosen) < 2:
        raise InputError(
            f"a comparison needs two networks or more, and only one with {chosen[0].architecture.norm} norm is given; "
            "give --norm twice, or --style with several weights files"
        )
    paintings = {_painting_digest(weights) for weights in chosen} - {None}
    if len(paintings) > 1:
        names = ", ".join(str(weights.path) for weights in chosen)
        raise InputError(
            f"these networks were trained on different paintings, which no norm can be blamed for: {names}"
        )
    return chosen


def _painting_digest(weights: WeightsFile) -> str | None:
    painting = weights.metadata.get("painting")
    return str(painting.get("sha256")) if isinstance(painting, dict) and painting.get("sha256") else None
