"""Pictures of every kind, changed in a thousand ways: a picture within the limits, or an ImageError."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stylize.errors import ImageError
from stylize.web.settings import Limits
from stylize.web.uploads import open_photo
from tests.fuzzing import KINDS, changed, changes, little_memory, sound_message, try_picture, with_checksums
from tests.hostile_files import samples

FUZZED = settings(derandomize=True, deadline=None, suppress_health_check=list(HealthCheck), database=None)

A_SAMPLE = st.sampled_from(sorted(samples()))

KEPT_SAMPLES = {
    kind: [data for name, data in samples().items() if name.split()[0] == kind]
    for kind in dict.fromkeys(name.split()[0] for name in samples())
}


@pytest.fixture(scope="module")
def scratch(tmp_path_factory):
    return tmp_path_factory.mktemp("fuzz")


@pytest.mark.parametrize("kind", KEPT_SAMPLES)
def test_changed_pictures(kind, scratch):
    let_in = refused = 0

    @settings(FUZZED, max_examples=120)
    @given(st.sampled_from(KEPT_SAMPLES[kind]), changes())
    def run(data: bytes, wanted: list[tuple[str, int, int, int]]) -> None:
        nonlocal let_in, refused
        content = changed(data, wanted)
        found = try_picture(with_checksums(content) if kind == "PNG" else content, scratch / "picture.any")
        let_in, refused = let_in + found, refused + (not found)

    with little_memory():
        run()
    assert let_in > 2 and refused > 20  # changes that all end in the same would test nothing


@settings(FUZZED, max_examples=150)
@given(
    st.sampled_from(sorted(samples())), st.sampled_from(sorted(samples())), st.integers(0, 2000), st.integers(0, 2000)
)
def test_one_picture_continued_as_another(scratch, first, second, end, start):
    with little_memory():
        try_picture(samples()[first][:end] + samples()[second][start:], scratch / "picture.any")


@settings(FUZZED, max_examples=100)
@given(st.binary(max_size=300), A_SAMPLE, st.integers(4, 64))
def test_the_first_bytes_of_a_picture_and_then_anything(scratch, rest, name, kept):
    with little_memory():
        try_picture(samples()[name][:kept] + rest, scratch / "picture.any")


NAMES = st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=60) | st.sampled_from(
    ("\x1b[2J", "a\nb", "..", "-o", "a" * 200, "<img src=x onerror=alert(1)>", "\u202egnp", "$(x)", "con", ".hidden")
)


@settings(FUZZED, max_examples=150)
@given(
    st.sampled_from(sorted(samples())), changes(4), NAMES, st.sampled_from((".jpg", ".PNG", "", ".gif", ".dng", ".svg"))
)
def test_uploads(scratch, name, wanted, stem, suffix):
    path = scratch / (stem.encode()[:200].decode(errors="ignore") + suffix)
    if path.name in ("", ".", "..") or path.is_dir():
        return
    path.write_bytes(changed(samples()[name], wanted))
    limits = Limits(megabytes=0.5, megapixels=0.3)
    try:
        with little_memory():
            photo = open_photo(path, limits)
    except ImageError as error:
        sound_message(error) if path.name.isprintable() else None
        assert str(scratch) not in str(error)
        return
    finally:
        path.unlink()
    assert photo.width * photo.height <= limits.pixels and max(photo.small.size) <= 1024
    assert photo.small.mode == "RGB"


def test_every_kind_of_change_changes_something():
    data = Path(__file__).read_bytes()[:100]
    for kind in KINDS:
        assert changed(data, [(kind, 40, 3, 5)]) != data, kind
