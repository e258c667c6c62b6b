"""Which photos a run learns from and which are held out."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stylize.config import TrainConfig
from stylize.errors import InputError
from stylize.training_photos import TrainingPhotos, choose_photos, names_digest
from tests.helpers import save_photo

COUNT = 20


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    for index in range(COUNT):
        save_photo(folder / f"{index:02d}.png", 33, 32, seed=index)
    return folder


def settings_for(folder, **changes) -> TrainConfig:
    return TrainConfig(
        **({"style": "a.png", "photos": str(folder), "batch_size": 2, "image_size": 32, "seed": 4} | changes)
    )


@given(st.integers(0, 50), st.integers(2, 18), st.integers(2, 18))
@settings(max_examples=25, deadline=None)
def test_fewer_photos_are_among_the_more(folder, seed, first, second):
    few, many = sorted((first, second))
    _, every, held_out = choose_photos(settings_for(folder, seed=seed))
    _, small, small_held_out = choose_photos(settings_for(folder, seed=seed, photo_limit=few))
    _, large, large_held_out = choose_photos(settings_for(folder, seed=seed, photo_limit=many))
    assert len(small) == few and len(large) == many
    assert set(small) <= set(large) <= set(every)
    assert held_out == small_held_out == large_held_out
    assert not set(held_out) & set(every)
    assert small == sorted(small)


def test_the_choice_follows_the_seed_and_not_the_norm(folder):
    one = choose_photos(settings_for(folder, photo_limit=5))
    assert one == choose_photos(settings_for(folder, photo_limit=5, norm="batch", learning_rate=0.1))
    assert any(choose_photos(settings_for(folder, photo_limit=5, seed=seed))[1] != one[1] for seed in range(5, 8))


def test_all_of_them_can_be_asked_for(folder):
    _, training, held_out = choose_photos(settings_for(folder))
    assert len(training) == 18 and len(held_out) == 2
    assert choose_photos(settings_for(folder, photo_limit=18))[1] == training


def test_too_many_is_one_clear_line(folder):
    with pytest.raises(InputError) as caught:
        choose_photos(settings_for(folder, photo_limit=19))
    assert str(caught.value) == "photo_limit is 19, and there are only 18 photos to train on"


@pytest.mark.parametrize("limit", [0, 1, -3, 2.5, True])
def test_a_limit_that_fills_no_batch(limit):
    with pytest.raises(InputError, match="photo_limit is .*; it must be a whole number, 2 .a batch. or more"):
        settings_for("photos", photo_limit=limit)


def test_a_folder_of_held_out_photos_leaves_all_to_train_on(folder, tmp_path):
    for index in range(3):
        save_photo(tmp_path / f"{index}.png", seed=index)
    config = settings_for(folder, validation=str(tmp_path), validation_photos=2, photo_limit=COUNT)
    root, training, held_out = choose_photos(config)
    assert root == folder and len(training) == COUNT
    assert [path.name for path in held_out] == ["0.png", "1.png"]


def test_the_digest_tells_choices_apart(folder):
    photos = TrainingPhotos(settings_for(folder, photo_limit=6))
    root, training, _ = choose_photos(settings_for(folder, photo_limit=6))
    assert photos.digest == names_digest(root, training)
    assert photos.stream.paths == training
    assert [tuple(square.shape) for square in photos.held_out] == [(1, 3, 32, 32)] * 2
    assert TrainingPhotos(settings_for(folder, photo_limit=7)).digest != photos.digest


def test_none_of_the_held_out_can_be_read(folder, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"")
    with pytest.raises(InputError, match="none of the 1 held-out photos can be read; the first: .*broken.png"):
        TrainingPhotos(settings_for(folder, validation=str(tmp_path)))


def test_samples_of_runs_are_no_photos(tmp_path):
    for index in range(4):
        save_photo(tmp_path / f"{index}.png", seed=index)
    save_photo(tmp_path / "old.run" / "samples" / "step-1.png")
    _, training, held_out = choose_photos(settings_for(tmp_path))
    assert len(training) + len(held_out) == 4
    with pytest.raises(InputError, match="holds 4 photos besides samples of runs; 5 are needed"):
        choose_photos(settings_for(tmp_path, batch_size=4))
