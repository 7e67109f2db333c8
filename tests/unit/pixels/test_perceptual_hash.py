from itertools import combinations

import cv2
import numpy as np
import pytest

from medaudit.pixels.decode import resize
from medaudit.pixels.ingest import confirm, near_pairs, perceptual_hash, thumbnail


def smooth(seed: int) -> np.ndarray:
    coarse = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(coarse, (120, 90), interpolation=cv2.INTER_CUBIC))


def test_worked_distances() -> None:
    # 0b0000 and 0b0001 differ in 1 bit, 0b0000 and 0b0111 in 3, 0b0001 and 0b0111 in 2
    pairs = near_pairs([0b0111, 0b0000, 0b0001], ["c", "a", "b"], max_distance=2)
    assert pairs.to_dict("list") == {
        "first": ["a", "b"],
        "second": ["b", "c"],
        "distance": [1, 2],
    }


def test_search_is_exact_across_blocks() -> None:
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 2**63, 20, dtype=np.uint64)
    codes = np.concatenate([codes ^ np.uint64(1 << i) for i in range(30)])  # 600, in clusters
    ids = [f"{i:03}" for i in range(len(codes))]
    found = set(near_pairs(codes, ids, max_distance=2)[["first", "second"]].itertuples(index=False))
    close = (
        (a, b)
        for a, b in combinations(range(len(codes)), 2)
        if int(codes[a] ^ codes[b]).bit_count() <= 2
    )
    assert {tuple(pair) for pair in found} == {(ids[a], ids[b]) for a, b in close}


def test_unequal_lengths() -> None:
    with pytest.raises(ValueError, match="one id per hash"):
        near_pairs([1, 2], ["a"], max_distance=0)


def test_copies_are_near_and_others_are_not() -> None:
    image = smooth(0)
    _, jpeg = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 60])
    decoded = np.asarray(cv2.imdecode(jpeg, cv2.IMREAD_COLOR))
    copies = [decoded, resize(image, 64), image // 2 + 60]
    for copy in copies:
        assert (perceptual_hash(image) ^ perceptual_hash(copy)).bit_count() <= 6
    for seed in range(1, 10):
        assert (perceptual_hash(image) ^ perceptual_hash(smooth(seed))).bit_count() > 12


def test_thumbnails_tell_copies_from_images_that_share_a_hash() -> None:
    image, other = smooth(0), smooth(1)
    small = {"a": thumbnail(image), "b": thumbnail(image // 2), "c": thumbnail(other)}
    pairs = near_pairs([5, 5, 5], ["a", "b", "c"], max_distance=0)
    confirmed = confirm(pairs, small, min_correlation=0.99)
    assert confirmed[["first", "second"]].to_numpy().tolist() == [["a", "b"]]
    assert confirmed["correlation"][0] == pytest.approx(1, abs=1e-3)


def test_flat_images() -> None:
    flat, darker = np.full((9, 9, 3), 80, np.uint8), np.full((9, 9, 3), 20, np.uint8)
    small = {"a": thumbnail(flat), "b": thumbnail(darker), "c": thumbnail(smooth(0))}
    pairs = near_pairs([0, 0, 0], ["a", "b", "c"], max_distance=0)
    assert confirm(pairs, small, min_correlation=0.99)["second"].tolist() == ["b"]


def test_no_pairs_keep_their_columns() -> None:
    pairs = near_pairs([0, 2**40 - 1], ["a", "b"], max_distance=3)
    assert list(confirm(pairs, {}, min_correlation=0.9)) == [
        "first",
        "second",
        "distance",
        "correlation",
    ]
