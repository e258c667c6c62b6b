"""Exact tiles: a picture of any size painted strip by strip, with the result of painting it whole.

- :mod:`stylize.tiles.painting`: :func:`paint_tiled`, which walks over the picture, and why that takes several walks;
- :mod:`stylize.tiles.plan`: :func:`plan_tiles`: how high strips are and where features wait, within some memory;
- :mod:`stylize.tiles.passes`: which layers each walk computes; :mod:`stylize.tiles.pixel_blocks`: one of them, faster;
- :mod:`stylize.tiles.chain`: the stages of a walk, and what they weigh; :mod:`stylize.tiles.stages`: the stages;
- :mod:`stylize.tiles.store`: where features wait from one walk to the next; :mod:`stylize.tiles.encoding`: as what;
- :mod:`stylize.tiles.sources`: where rows come from; :mod:`stylize.tiles.rows`: which rows a layer can compute;
  :mod:`stylize.tiles.features`: their shapes.

Other modules import from here alone.
"""

from __future__ import annotations

from stylize.tiles.encoding import StoredAs
from stylize.tiles.painting import paint_tiled, tensor_source
from stylize.tiles.plan import THUMBNAIL, Statistics, TilePlan, plan_tiles
from stylize.tiles.sources import PictureSink, PictureSource, TensorSink, TensorSource

__all__ = [
    "THUMBNAIL",
    "PictureSink",
    "PictureSource",
    "Statistics",
    "StoredAs",
    "TensorSink",
    "TensorSource",
    "TilePlan",
    "paint_tiled",
    "plan_tiles",
    "tensor_source",
]
