"""Edits, verification and pictures with a tiny model."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as Pillow

from medaudit.cases.intervention_runner import TILE, InterventionRunner, energy, overlay
from medaudit.core.errors import ModelError
from medaudit.model import network
from medaudit.model.inference import LoaderConfig
from medaudit.model.prepared import Prepared
from medaudit.pixels.interventions import COUNTERFACTUALS, edited
from medaudit.pixels.packed import MaskReader, pack, write_masks
from medaudit.pixels.transplants import TRANSPLANTS, transplanted
from medaudit.tables import tasks
from medaudit.tables.predictions import Condition

SIZE = 32
CLEAN, NOISE = Condition.clean(), Condition("gaussian_noise", 3)
LOADER = LoaderConfig(batch_size=8, loader_threads=1, device=torch.device("cpu"))


@pytest.fixture
def masks(tmp_path: Path) -> MaskReader:
    """Image 0 has a mask, no other has."""
    square = np.zeros((SIZE, SIZE), dtype=np.uint8)
    square[10:18, 12:20] = 255
    write_masks([pack(square, SIZE), *[pack(None, SIZE)] * 47], tmp_path / "masks.npy")
    return MaskReader(tmp_path / "masks.npy", size=SIZE)


@pytest.fixture
def runner(prepared: Prepared, masks: MaskReader) -> InterventionRunner:
    torch.manual_seed(0)
    model = network.create("test_resnet", 2, weights="none", dropout=0.2).eval()
    return InterventionRunner(model, prepared, masks, LOADER, seed=0)


def stated(runner, sample):
    with torch.inference_mode():
        logits = runner.model(torch.from_numpy(sample.image[None]).permute(0, 3, 1, 2))
    return tasks.get("multiclass").probabilities(logits.numpy()[None])[0]


def test_every_edit_once_and_masked_ones_only_with_a_mask(runner):
    trials, logits = runner.try_edits(runner.samples(["s000", "s001"]), label="test")
    tried = trials.groupby("sample_id")["intervention"].agg(set)
    assert tried["s000"] == set(COUNTERFACTUALS)
    assert tried["s001"] == {n for n, each in COUNTERFACTUALS.items() if not each.needs_mask}
    assert logits.shape == (1, len(trials), 2)


def test_logits_are_those_of_the_edited_image(runner):
    (sample,) = runner.samples(["s001"])
    trials, logits = runner.try_edits([sample], label="test")
    image = edited(sample.image, "mirrored")[None]
    with torch.inference_mode():
        expected = runner.model(torch.from_numpy(image).permute(0, 3, 1, 2))[0].numpy()
    row = trials.index[trials["intervention"] == "mirrored"][0]
    assert logits[0, row] == pytest.approx(expected, abs=1e-4)


def test_the_image_must_be_that_of_the_stored_prediction(runner):
    right = stated(runner, runner.sample("s003", NOISE))
    assert runner.verified("s003", NOISE, probabilities=right).sample_id == "s003"
    with pytest.raises(ModelError, match=r"s003: probabilities are 0\.\d+ away"):
        runner.verified("s003", NOISE, probabilities=np.add(right, [0.1, -0.1]))


def test_pictures_of_a_flip(runner, tmp_path):
    drawn = runner.draw(
        "s000",
        NOISE,
        classes={"predicted": 0, "true": 1},
        cited="lesion_replaced",
        stem=tmp_path / "cases" / "1_s000",
    )
    assert set(drawn.images) == {
        "image",
        "corrupted",
        "counterfactual",
        "cam_predicted",
        "cam_true",
    }
    assert drawn.focus["lesion_share"] == 64 / SIZE**2
    image = np.asarray(Pillow.open(tmp_path / "cases" / drawn.images["image"]))
    assert np.array_equal(image, runner.sample("s000", CLEAN).image)


def test_pictures_are_the_same_bytes_again(runner, tmp_path):
    def draw(stem):
        names = runner.draw("s000", CLEAN, classes={"true": 1}, cited="brightness_up-1", stem=stem)
        return [(stem.parent / name).read_bytes() for name in names.images.values()]

    assert draw(tmp_path / "a" / "1") == draw(tmp_path / "b" / "1")


def test_focus_without_mask_is_undefined(runner):
    table = runner.focus_table(runner.samples(["s000", "s001"]), [0, 1])
    assert table["lesion_share"].isna().tolist() == [False, True]
    assert np.isnan(table["cam_energy"][1])


def test_energy_on_paper():
    # 3 + 1 of 8 lies on the mask.
    cam = np.array([[3, 1], [4, 0]], dtype=np.float32)
    mask = np.array([[True, True], [False, False]])
    assert energy(cam, mask) == 0.5
    assert np.isnan(energy(cam, None))
    assert np.isnan(energy(np.zeros_like(cam), mask))


def test_a_flat_map_has_the_mask_share():
    mask = np.zeros((10, 10), dtype=bool)
    mask[:3] = True
    assert energy(np.ones((10, 10), dtype=np.float32), mask) == pytest.approx(0.3)


def test_overlay_changes_most_where_the_map_is_high():
    image = np.full((4, 4, 3), 128, dtype=np.uint8)
    cam = np.zeros((4, 4), dtype=np.float32)
    cam[0, 0] = 1
    change = np.abs(overlay(image, cam).astype(int) - 128).sum(axis=-1)
    assert change.argmax() == 0
    assert overlay(image, cam).dtype == np.uint8


class TestTransplants:
    def test_every_property_once_for_the_case_and_once_for_another(self, runner):
        donor, *receivers = runner.samples(["s001", "s002", "s003", "s004"])
        trials, logits = runner.try_transplants(donor, receivers, label="test")
        counts = trials.groupby(["transplant", "donor"])["receiver"].nunique()
        # No second image has a mask, so the size of the masked region cannot be given.
        assert set(trials["transplant"]) == set(TRANSPLANTS) - {"lesion_size"}
        assert counts.eq(3).all()
        assert logits.shape == (1, len(trials), 2)

    def test_logits_are_those_of_the_receiver_with_the_property(self, runner):
        donor, *receivers = runner.samples(["s001", "s002", "s003"])
        trials, logits = runner.try_transplants(donor, receivers, label="test")
        place = trials.index[
            (trials["transplant"] == "brightness")
            & (trials["donor"] == "other")
            & (trials["receiver"] == "s003")
        ][0]
        # The other donor is the next receiver, and the first one after the last.
        image = transplanted("brightness", receivers[0].pictured, receivers[1].pictured)[None]
        with torch.inference_mode():
            expected = runner.model(torch.from_numpy(image).permute(0, 3, 1, 2))[0].numpy()
        assert logits[0, place] == pytest.approx(expected, abs=1e-5)

    def test_nobody_to_give_it_to(self, runner):
        trials, logits = runner.try_transplants(*runner.samples(["s001"]), [], label="test")
        assert trials.empty
        assert logits.shape[1] == 0


def test_a_strip_shows_images_beside_each_other(runner, tmp_path):
    name = runner.draw_strip(["s000", "s001", "s002"], tmp_path / "strip.png")
    with Pillow.open(tmp_path / name) as image:
        assert image.size == (3 * TILE + 2 * (TILE // 24), TILE)
