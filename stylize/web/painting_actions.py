"""What the first tab does: a photo, a painting, and what comes of them; without Gradio."""

from __future__ import annotations

import html
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stylize.errors import ImageError, InputError
from stylize.web import painting
from stylize.web.context import FULL_SIZE, PAINTING, Context
from stylize.web.jobs import Job
from stylize.web.line import Stopped, Wait
from stylize.web.offers import NORMS, Offers
from stylize.web.own_styles import OwnStyle
from stylize.web.painting import FullSize
from stylize.web.parts import download_link, note, progress_bar, split, waiting
from stylize.web.thumbnails import shown, thumbnail
from stylize.web.uploads import Photo, open_photo
from stylize.zoo import example_photos

MOST_MIXED = 4
"""Styles that can be mixed at once."""

DEFAULT_PREVIEW = 640

BEAT_SECONDS = 1.0
"""Time after which a picture that tells no progress shows that it is still being painted."""

BY_NETWORK = "by the network"
"""What stands on a thumbnail that is no painting of an artist but made by the network."""


@dataclass(frozen=True)
class Look:
    """How a photo is to be painted.

    Attributes:
        chosen: Names of the chosen styles, the last one chosen at the end.
        mixing: Whether they are mixed; else the last one alone is wanted.
        norm: Normalisation of the network.
        strength: From 0, the photo, over 1, the style, to 1.5.
        keep_colours: Whether the colours are those of the photo.
        size: Long edge of the preview in pixels.
        weights: Of a mixture, the weight of each chosen style.
    """

    chosen: Sequence[str]
    mixing: bool = False
    norm: str = NORMS[0]
    strength: float = 1.0
    keep_colours: bool = False
    size: float = DEFAULT_PREVIEW
    weights: Sequence[float] = (1.0,) * MOST_MIXED

    @property
    def shares(self) -> dict[str, float]:
        """How much of each style is wanted."""
        return shares_of(self.chosen, self.mixing, self.weights)


def shares_of(chosen: Sequence[str], mixing: bool, weights: Sequence[float]) -> dict[str, float]:
    """Return how much of each chosen style is wanted.

    Args:
        chosen: Names of styles, the last one chosen at the end.
        mixing: Whether they are mixed; else the last one alone is wanted.
        weights: The weight of each.
    """
    if not mixing or len(chosen) < 2:
        return {chosen[-1]: 1.0} if chosen else {}
    return dict(zip(chosen, map(float, weights), strict=False))


def choose(chosen: Sequence[str], name: str, mixing: bool) -> list[str]:
    """Return the chosen styles after one was clicked: mixing, a click adds it or takes it out again."""
    if not mixing:
        return [name]
    if name in chosen:
        return [one for one in chosen if one != name] or [name]
    return [*chosen, name][-MOST_MIXED:]


def caption(photo: Photo, title: str, norm: str, size: tuple[int, int], seconds: float) -> str:
    """Return the line under the painting."""
    parts = (photo.name.replace("-", " ").capitalize(), title, f"{norm} norm", f"{size[0]} × {size[1]} px")
    words = " · ".join(map(html.escape, parts))
    return f'<p class="caption">{words} · <span>painted in {seconds:.1f} s</span></p>'


class PaintingActions:
    """What happens when something is clicked; without Gradio, so that it can be tested alone."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.offers: Offers = context.offers

    def title(self, shares: dict[str, float], own: Sequence[OwnStyle] = ()) -> str:
        """Return the name of a style or a mixture as people write it."""
        total = sum(shares.values()) or 1.0
        names = [(self.offers.named(name, own).title, share / total) for name, share in shares.items() if share]
        return names[0][0] if len(names) == 1 else " + ".join(f"{share:.0%} {name}" for name, share in names)

    def open(self, session: str, path: str | None) -> Iterator[Wait | Photo | None]:
        """Yield the photo of an upload; of one that cannot be used nothing is kept."""
        if path is None:
            yield None
            return
        with self.context.place(session, PAINTING) as place:
            for before in place.waiting():
                yield Wait(None, before)
            folder = self.context.folder
            folder.tidy()
            try:
                photo = open_photo(Path(path), self.context.settings.limits)
            except ImageError:
                folder.drop(Path(path))
                raise
            folder.claim(photo.path, session)
            yield photo

    def example(self, name: str) -> Photo:
        """Return an example photo."""
        path = next((path for path in example_photos() if path.stem == name), None)
        if path is None:
            raise InputError(f"there is no example photo '{name}'")
        return open_photo(path, self.context.settings.limits)

    def repaint(self, session: str, photo: Photo | None, look: Look) -> Iterator[Wait | str]:
        """Yield the photo and its painting as HTML."""
        if photo is None:
            yield note("Drop a photo, or take one of the examples.")
            return
        with self.context.place(session, PAINTING) as place:
            for before in place.waiting():
                yield Wait(waiting(before), before)
            begun = time.perf_counter()
            own, shares = self.context.own.of(session), look.shares
            stylizer = self.offers.stylizer(shares, look.norm, float(look.strength), own)
            before, after = painting.paint_preview(stylizer, photo, int(look.size), look.keep_colours)
            seconds = time.perf_counter() - begun
        title = self.title(shares, own)
        yield split(
            before, after, caption(photo, title, look.norm, after.size, seconds), f"{photo.name}, painted as {title}"
        )

    def full_size(
        self, session: str, photo: Photo | None, look: Look, edge: int, strokes: str
    ) -> Iterator[Wait | tuple[str, bool]]:
        """Yield how far the picture to keep is as HTML, at the end with a link to it, and whether it goes on."""
        if photo is None:
            yield note("Drop a photo first, or take one of the examples."), False
            return
        try:
            yield from self._full_size(session, photo, look, FullSize(int(edge) or None, strokes, int(look.size)))
        except Stopped:
            yield note("Stopped. Nothing was kept."), False

    def _full_size(self, session: str, photo: Photo, look: Look, wanted: FullSize) -> Iterator[Wait | tuple[str, bool]]:
        context = self.context
        with context.place(session, FULL_SIZE) as place:
            for before in place.waiting():
                yield Wait((waiting(before, place.line.seconds_left), True), before)
            own = context.own.of(session)
            stylizer = self.offers.stylizer(look.shares, look.norm, float(look.strength), own)
            wanted = FullSize(wanted.edge, wanted.strokes, wanted.preview, look.keep_colours)
            folder, limits = context.folder.new_folder(session), context.settings.limits

            def work(report: Any, stopped: Any) -> Path:
                def on_part(done: int, total: int) -> None:
                    report((done, total))
                    if stopped():
                        raise Stopped("stopped")

                return painting.paint_full_size(stylizer, photo, folder, wanted, limits, on_part=on_part)

            begun = time.perf_counter()
            said = f"Painting {photo.width} × {photo.height} px"
            yield progress_bar(None, f"{said} ..."), True
            job: Job[tuple[int, int], Path] = Job(work, BEAT_SECONDS)
            share: float | None = None
            for report in context.running.follow(session, FULL_SIZE, job):
                taken = time.perf_counter() - begun
                if report is not None:
                    share = report[0] / report[1]
                place.line.seconds_left = taken * (1 - share) / share if share else None
                known = "" if share is None else f" {share:.0%},"
                yield progress_bar(share, f"{said}:{known} {taken:.0f} s"), True
            path, seconds = job.result, time.perf_counter() - begun
        megabytes = path.stat().st_size / 1e6
        ready = note(f"Ready: {path.name}, {megabytes:.1f} MB, painted in {seconds:.0f} s.")
        yield ready + download_link(f"kept/{context.folder.publish(path)}", path.name, "Download the picture"), False

    def thumbnails(self) -> list[dict[str, Any]]:
        """Return the thumbnails of the styles that every session has."""
        found = []
        for name, (image, painted) in self.offers.thumbnails().items():
            offer = self.offers.named(name)
            what = offer.painting or offer.title
            hint = f"{what}: an example photo painted by the network; the painting is not shipped" if painted else what
            badge = BY_NETWORK if painted else ""
            found.append(thumbnail(name, offer.title, image, hint=hint, badge=badge, norms=offer.norms))
        return found

    def own_thumbnails(self, session: str) -> list[dict[str, Any]]:
        """Return the thumbnails of the styles of a session's own."""
        found = []
        for style in self.context.own.of(session):
            offer, badge = self.offers.of_own(style), "yours"
            hint = f"{offer.title}: your own style" + (", as the network paints it" if style.painted else "")
            found.append(thumbnail(style.name, offer.title, style.thumbnail, hint=hint, badge=badge, norms=offer.norms))
        return found

    def shown(self, session: str, chosen: Sequence[str], norm: str) -> dict[str, Any]:
        """Return which thumbnails are shown and which of them are chosen."""
        return shown(chosen, norm, self.own_thumbnails(session))

    def clicked(self, session: str, name: str, chosen: Sequence[str], mixing: bool, norm: str) -> list[str]:
        """Return the chosen styles after one was clicked."""
        offer = self.offers.named(name, self.context.own.of(session))
        if norm not in offer.norms:
            return list(chosen)
        return choose(chosen, name, mixing and offer.mixable and norm == self.offers.mixed_norm)

    def with_norm(self, session: str, chosen: Sequence[str], mixing: bool, norm: str) -> tuple[list[str], bool]:
        """Return the chosen styles after another norm was chosen, and whether they are still mixed."""
        known = [offer.name for offer in self.offers.with_norm(norm, self.context.own.of(session))]
        kept = [name for name in chosen if name in known] or known[:1]
        mixing = mixing and norm == self.offers.mixed_norm
        return (kept if mixing else kept[-1:]), mixing

    def with_mixing(self, session: str, chosen: Sequence[str], mixing: bool) -> list[str]:
        """Return the chosen styles after mixing was switched on or off."""
        if not mixing:
            return list(chosen[-1:])
        own = self.context.own.of(session)
        mixable = [offer.name for offer in self.offers.all if offer.mixable]
        return [name for name in chosen if self.offers.named(name, own).mixable] or mixable[:1]
