import json
from dataclasses import replace
from itertools import pairwise

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medaudit.core.errors import ParamsError, UnknownNameError
from medaudit.pixels import corruptions
from medaudit.pixels.corruptions import CORRUPTIONS, brightness, conditions, corrupt, gaussian_noise
from medaudit.tables.predictions import Condition

EVERY = conditions(CORRUPTIONS)
names = st.sampled_from(list(CORRUPTIONS))
seeds = st.integers(0, 10_000)


def natural(seed: int, size: int = 96) -> np.ndarray:
    """Smooth colours with fine texture, in the middle of the range."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(40, 216, (7, 7, 3), dtype=np.uint8)
    smooth = cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC)
    return np.asarray(np.clip(smooth + rng.normal(0, 6, smooth.shape), 0, 255), dtype=np.uint8)


def damage(image: np.ndarray, condition: Condition) -> float:
    changed = corrupt(image, condition, sample_id="s", seed=0)
    return float(((changed.astype(float) - image) ** 2).mean())


@given(names, seeds)
@settings(max_examples=100, deadline=None)
def test_damage_grows_strictly_with_severity(name: str, seed: int) -> None:
    image = natural(seed)
    errors = [damage(image, condition) for condition in conditions([name])]
    assert errors[0] > 0
    assert all(low < high for low, high in pairwise(errors))


@pytest.mark.parametrize("condition", EVERY, ids=lambda condition: condition.name)
def test_shape_dtype_and_the_original_stay(condition: Condition) -> None:
    image = natural(1)[:, :70]
    before = image.copy()
    changed = corrupt(image, condition, sample_id="s", seed=0)
    assert changed.shape == image.shape
    assert changed.dtype == np.uint8
    assert np.array_equal(image, before)


@given(seeds)
@settings(max_examples=20, deadline=None)
def test_clean_is_the_image_itself(seed: int) -> None:
    image = natural(seed, size=16)
    assert corrupt(image, Condition.clean(), sample_id="s", seed=seed) is image


def test_the_draw_depends_on_seed_id_corruption_and_severity_alone() -> None:
    image = natural(2)
    noise = Condition("gaussian_noise", 2)
    first = corrupt(image, noise, sample_id="a", seed=1)
    for condition in EVERY:
        corrupt(image, condition, sample_id="b", seed=1)  # others before it change nothing
    assert np.array_equal(first, corrupt(image, noise, sample_id="a", seed=1))
    assert not np.array_equal(first, corrupt(image, noise, sample_id="b", seed=1))
    assert not np.array_equal(first, corrupt(image, noise, sample_id="a", seed=2))


@pytest.mark.parametrize("sigma", CORRUPTIONS["gaussian_noise"].levels)
def test_realised_noise_is_the_noise_asked_for(sigma: float) -> None:
    # Rounding adds 1/12 to the variance; the estimate from 196,608 values has a relative
    # standard error of 0.16 %. Truncation would shift the mean by 0.5.
    grey = np.full((256, 256, 3), 128, dtype=np.uint8)
    noisy = gaussian_noise(grey, sigma, np.random.default_rng(0)).astype(float)
    assert noisy.std() == pytest.approx(np.sqrt(sigma**2 + 1 / 12), rel=0.006)
    assert noisy.mean() == pytest.approx(128, abs=5 * sigma / np.sqrt(noisy.size))


def test_worked_photometric_levels() -> None:
    # brightness x1.3: 100 -> 130, 200 -> 260, cut to 255. contrast x0.5 about the mean 150 of
    # 100 and 200: 125, 175. warm 0.1 on grey 100: (110, 100, 90).
    pair = np.array([[[100] * 3, [200] * 3]], dtype=np.uint8)
    levels = {
        Condition("brightness_up", 2): [[130] * 3, [255] * 3],
        Condition("brightness_down", 3): [[50] * 3, [100] * 3],
        Condition("contrast_down", 3): [[125] * 3, [175] * 3],
        Condition("contrast_up", 3): [[75] * 3, [225] * 3],
        Condition("colour_cast_warm", 2): [[110, 100, 90], [220, 200, 180]],
        Condition("colour_cast_blue", 2): [[90, 100, 110], [180, 200, 220]],
    }
    for condition, expected in levels.items():
        assert corrupt(pair, condition, sample_id="s", seed=0).tolist() == [expected]


def test_blur_widths_are_those_of_boxes_of_3_5_and_9_pixels() -> None:
    # A uniform box of k pixels has variance (k^2 - 1) / 12.
    boxes = [np.sqrt((k**2 - 1) / 12) for k in (3, 5, 9)]
    assert CORRUPTIONS["gaussian_blur"].levels == pytest.approx(boxes, abs=0.03)


def test_blur_scales_with_the_input() -> None:
    # A step of 255 at half the size is blurred over half as many pixels: same share of the width.
    def width(size: int) -> float:
        step = np.zeros((size, size, 3), dtype=np.uint8)
        step[:, size // 2 :] = 255
        blurred = corrupt(step, Condition("gaussian_blur", 3), sample_id="s", seed=0)
        row = blurred[0, :, 0] / 255
        return float((row * (1 - row)).sum() / size)

    assert width(224) == pytest.approx(width(448), rel=0.05)


def test_the_identity_of_a_condition_is_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neighbours in the table and other severities do not count; function and level do."""

    def identity(condition: Condition) -> str:
        return json.dumps(corruptions.identity(condition), sort_keys=True)

    before = {condition: identity(condition) for condition in EVERY}
    assert len(set(before.values())) == len(EVERY)
    assert corruptions.identity(Condition.clean()) is None

    first = CORRUPTIONS["jpeg"]
    more = replace(first, levels=(*first.levels, 10))
    other = replace(CORRUPTIONS["contrast_up"], apply=brightness)
    table = {"new": other, **CORRUPTIONS, "jpeg": more, "contrast_up": other}
    monkeypatch.setattr(corruptions, "CORRUPTIONS", table)
    moved = {condition for condition in EVERY if identity(condition) != before[condition]}
    assert moved == set(conditions(["contrast_up"]))
    monkeypatch.setattr(corruptions, "CORRUPTIONS", {"jpeg": replace(first, levels=(60, 50, 30))})
    jpeg = [condition for condition in EVERY if condition.corruption == "jpeg"]
    assert [identity(each) == before[each] for each in jpeg] == [False, True, True]


def test_every_condition_of_a_name() -> None:
    assert [c.name for c in conditions(["jpeg"])] == ["jpeg-1", "jpeg-2", "jpeg-3"]
    assert [c.name for c in conditions(["jpeg", "gaussian_blur"], [2])] == [
        "jpeg-2",
        "gaussian_blur-2",
    ]


def test_unknown_names_and_severities() -> None:
    with pytest.raises(UnknownNameError, match="unknown corruption 'fog'; known: gaussian_noise, "):
        conditions(["fog"])
    with pytest.raises(ParamsError, match=r"severities of jpeg are 1\.\.3, got 4"):
        conditions(["jpeg"], [4])
    with pytest.raises(UnknownNameError, match="unknown corruption 'fog'"):
        corrupt(natural(0), Condition("fog", 1), sample_id="s", seed=0)
    with pytest.raises(ValueError, match=r"jpeg-4: severities of jpeg are 1\.\.3"):
        corrupt(natural(0), Condition("jpeg", 4), sample_id="s", seed=0)


def test_a_name_or_severity_that_stands_twice() -> None:
    with pytest.raises(ParamsError, match="corruption jpeg stands twice"):
        conditions(["jpeg", "gaussian_blur", "jpeg"])
    with pytest.raises(ParamsError, match="severity 2 stands twice"):
        conditions(["jpeg"], [2, 1, 2])
