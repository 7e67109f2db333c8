from collections import Counter

import numpy as np
import pytest
from pydantic import ValidationError

from medaudit.model.inference import in_batches, prefetched, shuffled_batches
from medaudit.training.augment import Augmenter, AugmentParams

OFF = AugmentParams(
    flips=False, quarter_turns=False, crop_scale=1, brightness=0, contrast=0, saturation=0, hue=0
)
IMAGES = np.random.default_rng(0).integers(0, 256, (6, 24, 24, 3), dtype=np.uint8)
INDICES = np.arange(6) + 100


def augmenter(params: AugmentParams, seed: int = 1) -> Augmenter:
    return Augmenter(params, image_size=24, seed=seed)


def test_result_depends_on_seed_epoch_and_index_alone() -> None:
    augment = augmenter(AugmentParams())
    whole = augment(IMAGES, INDICES, epoch=3)
    order = np.array([4, 0, 5, 2, 1, 3])
    assert np.array_equal(augment(IMAGES[order], INDICES[order], epoch=3), whole[order])
    assert np.array_equal(augment(IMAGES[2:3], INDICES[2:3], epoch=3)[0], whole[2])
    assert np.array_equal(augmenter(AugmentParams())(IMAGES, INDICES, epoch=3), whole)


def test_epoch_seed_and_index_each_change_the_draw() -> None:
    augment = augmenter(AugmentParams())
    first = augment(IMAGES, INDICES, epoch=1)
    assert not np.array_equal(augment(IMAGES, INDICES, epoch=2), first)
    assert not np.array_equal(augment(IMAGES, INDICES + 6, epoch=1), first)
    assert not np.array_equal(augmenter(AugmentParams(), seed=2)(IMAGES, INDICES, epoch=1), first)


def test_everything_off_leaves_images_alone() -> None:
    assert np.array_equal(augmenter(OFF)(IMAGES, INDICES, epoch=1), IMAGES)


def test_flips_and_turns_only_move_pixels() -> None:
    params = OFF.model_copy(update={"flips": True, "quarter_turns": True})
    moved = augmenter(params)(IMAGES, INDICES, epoch=1)
    assert not np.array_equal(moved, IMAGES)
    for before, after in zip(IMAGES, moved, strict=True):
        views = [np.rot90(v, k) for v in (before, before[:, ::-1]) for k in range(4)]
        assert any(np.array_equal(after, view) for view in views)


def test_brightness_stays_within_its_range() -> None:
    # 100 times a factor in [0.8, 1.2] lies in [80, 120]
    grey = np.full((64, 8, 8, 3), 100, dtype=np.uint8)
    params = OFF.model_copy(update={"brightness": 0.2})
    levels = Augmenter(params, image_size=8, seed=0)(grey, np.arange(64), epoch=1)[:, 0, 0, 0]
    assert 80 <= levels.min() < 90
    assert 110 < levels.max() <= 120


def test_unknown_keys_are_refused() -> None:
    with pytest.raises(ValidationError):
        AugmentParams.model_validate({"flip": True})


@pytest.mark.parametrize("threads", [1, 3])
def test_prefetching_keeps_the_order(threads: int) -> None:
    batches = in_batches(np.arange(10), batch_size=4)
    assert [b.tolist() for b in batches] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    doubled = prefetched(lambda b: (b * 2).tolist(), batches, threads=threads)
    assert list(doubled) == [[0, 2, 4, 6], [8, 10, 12, 14], [16, 18]]


def test_prefetching_passes_errors_on() -> None:
    def fail(_: np.ndarray) -> None:
        raise OSError("disk gone")

    with pytest.raises(OSError, match="disk gone"):
        list(prefetched(fail, [np.arange(2)], threads=2))


def test_shuffled_batches_are_full_and_repeatable() -> None:
    def draw(epoch: int) -> list[list[int]]:
        drawn = shuffled_batches(np.arange(10), batch_size=4, seed=1, epoch=epoch)
        return [b.tolist() for b in drawn]

    assert draw(1) == draw(1) != draw(2)
    assert [len(b) for b in draw(1)] == [4, 4]
    assert len(shuffled_batches(np.arange(3), batch_size=4, seed=1, epoch=1)[0]) == 3


def test_the_steps_draw_independently_of_each_other() -> None:
    """Flips and turns reach all eight positions of a square, crops do not follow them."""
    marked = np.zeros((1, 8, 8, 3), np.uint8)
    marked[0, 0, 1], marked[0, 1, 0], marked[0, 0, 3] = 255, 120, 60
    turn = Augmenter(AugmentParams(crop_scale=1), image_size=8, seed=3)
    seen = Counter(turn(marked, np.array([i]), epoch=1).tobytes() for i in range(400))
    # 400 draws of 8 equally likely positions: 50 each, standard deviation 6.6
    assert len(seen) == 8
    assert min(seen.values()) > 20
