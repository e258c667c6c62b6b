"""The comparison that ``stylize apply`` makes of several norms: pictures side by side, and measurements."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from stylize.cli.apply_request import Painted
from stylize.cli.outputs import Task
from stylize.cli.tables import aligned, file_text
from stylize.config import IMAGE_SIZE_MINIMUM
from stylize.zoo import painting_of

if TYPE_CHECKING:
    from PIL import Image

    from stylize.checkpoints import WeightsFile
    from stylize.stylizer import Stylizer
    from stylize.vgg import VGG19

MEASURED_SIZE = 512
"""Long edge in pixels at which the results of several norms are measured."""


class Comparison:
    """Compares the results of several norms of one style.

    Args:
        stylizers: The networks.
        weights: The file of the first one, which may say what painting it was trained on.
    """

    def __init__(self, stylizers: Sequence[Stylizer], weights: WeightsFile) -> None:
        self.stylizers = stylizers
        self.painting: Image.Image | None = None
        self.loss_network: VGG19 | None = None
        if (path := painting_of(weights)) is not None:
            from stylize.evaluation import painting_size
            from stylize.images import read_image, resize_short_side

            self.painting = resize_short_side(read_image(path), painting_size(weights.metadata))

    def compare(
        self, path: Path, photo: Image.Image, images: list[Image.Image], results: list[Painted], overwrite: bool
    ) -> list[Painted]:
        """Write the labelled side-by-side picture and return the results with their measurements."""
        from stylize.evaluation import contrast_change
        from stylize.images import to_tensor, write_image
        from stylize.panels import side_by_side

        labels = [f"{stylizer.norm} norm" for stylizer in self.stylizers]
        panel = side_by_side([("photo", photo), *zip(labels, images, strict=True)])
        write_image(panel, path, overwrite=overwrite)
        small = to_tensor(_reduced(photo)).to(self.stylizers[0].device)
        changes = [255 * float(contrast_change(stylizer.network, small)) for stylizer in self.stylizers]
        distances = self._style_distances(images)
        return [
            replace(result, style_distance=distance, contrast_change=round(change, 3))
            for result, distance, change in zip(results, distances, changes, strict=True)
        ]

    def _style_distances(self, images: list[Image.Image]) -> list[float | None]:
        """Return the distance of each picture to the painting; None where that is unknown or a picture is tiny."""
        if self.painting is None or min(_reduced(images[0]).size) < IMAGE_SIZE_MINIMUM:
            return [None] * len(images)
        import torch

        from stylize.config import LossConfig
        from stylize.evaluation import style_distance
        from stylize.images import to_tensor
        from stylize.vgg import load_loss_network

        if self.loss_network is None:
            self.loss_network = load_loss_network(last=LossConfig().style_layers[-1])
        batch = torch.cat([to_tensor(_reduced(image)) for image in images])
        return style_distance(batch, to_tensor(self.painting), loss_network=self.loss_network).tolist()


def comparison_table(task: Task, painted: list[Painted]) -> str:
    """Return the results of one photo as a table of text."""
    header = ("norm", "style distance", "contrast change", "seconds", "file")
    rows = [
        (
            one.norm,
            "-" if one.style_distance is None else f"{one.style_distance:.4g}",
            "-" if one.contrast_change is None else f"{one.contrast_change:.1f}",
            f"{one.seconds:.1f}",
            file_text(one.output),
        )
        for one in painted
    ]
    title = f"{task.source.label} ({painted[0].width}x{painted[0].height} px)"
    note = (
        f"side by side: {file_text(str(task.comparison))}\n"
        "style distance: to the painting, lower is closer; contrast change: of the result when the contrast of the\n"
        f"photo is halved, in grey levels of 255; both at {MEASURED_SIZE} px or less"
    )
    return f"{title}\n{aligned(header, rows, numeric=frozenset({1, 2, 3}))}\n{note}"


def _reduced(image: Image.Image) -> Image.Image:
    """Return a picture at the size at which results are measured, or smaller if it is."""
    from stylize.images import resize_long_edge

    return image if max(image.size) <= MEASURED_SIZE else resize_long_edge(image, MEASURED_SIZE)
