"""Models that fail for one known cause: giving properties to right images finds that cause."""

from types import SimpleNamespace

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from case_tables import CLASSES, MEL, NV, POINTS, make

from medaudit.cases import sufficiency
from medaudit.cases.case_selection import CasesParams, choose
from medaudit.cases.intervention_runner import InterventionRunner
from medaudit.model.inference import LoaderConfig, Outputs
from medaudit.pixels.transplants import laplacian_variance, luma
from medaudit.tables.predictions import Condition
from medaudit.tables.scoring import Conditions, ScoredPredictions

SIZE = 96
RIGHT = [f"m{i:02d}" for i in range(20)]
LOADER = LoaderConfig(batch_size=16, loader_threads=1, device=torch.device("cpu"))


def lesion(seed, *, radius=22, skin=190.0, dark=80.0, blue=1.0, blur=0.0, ticks=True):
    """A dark disc on reddish skin with fine texture, and a ruler along the lower edge."""
    generator = np.random.default_rng(seed)
    rows, columns = np.mgrid[:SIZE, :SIZE]
    centre = 48 + generator.uniform(-4, 4, 2)
    mask = (rows - centre[0]) ** 2 + (columns - centre[1]) ** 2 <= (
        radius + generator.uniform(-1, 1)
    ) ** 2
    grey = np.where(mask, dark, skin) + generator.normal(0, 7, (SIZE, SIZE))
    if ticks:
        grey[-8:-2, 4::6] = 20
    image = np.clip(grey[..., None] * np.array([1.0, 0.85, 0.75 * blue]), 0, 255).astype(np.uint8)
    if blur:
        image = cv2.GaussianBlur(image, (0, 0), blur)
    return image, mask


def dark_share(image):
    return float((luma(image)[10:-10, 10:-10] < 110).mean())


def ticks(image):
    """How dark the darkest columns of the lower edge are against the brightest."""
    edge = luma(image)[-7:-3].mean(axis=0)
    return float(np.quantile(edge, 0.9) - np.quantile(edge, 0.1))


# What the failed image is like, and what the model needs to call melanoma.
PLANTED = {
    "contrast": ({"dark": 150.0}, lambda image: luma(image).std() > 22),
    "brightness": (
        {"skin": 130.0, "dark": 30.0},
        lambda image: luma(image).mean() > 120,
    ),
    "colour": ({"blue": 1.3}, lambda image: image[..., 2].mean() < 0.85 * image[..., 0].mean()),
    "sharpness": ({"blur": 2.0}, lambda image: laplacian_variance(image) > 150),
    "lesion_size": ({"radius": 8}, lambda image: dark_share(image) > 0.1),
    "frame": ({"ticks": False}, lambda image: ticks(image) > 60),
}


class Planted:
    """Calls melanoma where an image has what it needs, and a nevus elsewhere."""

    engine, device_type = "planted", "cpu"

    def __init__(self, needs):
        self.needs = needs

    def on(self, _device):
        return self

    def predict(self, images):
        called = [MEL if self.needs(image) else NV for image in images]
        logits = np.full((1, len(images), len(CLASSES)), -2.0, dtype=np.float32)
        logits[0, np.arange(len(images)), called] = 2.0
        return Outputs(logits, None)


def failure(cause):
    """The judged properties of the one image that the model fails on."""
    deviation, needs = PLANTED[cause]
    pictures = [lesion(0, **deviation), *(lesion(1 + i) for i in range(len(RIGHT)))]
    model = Planted(needs)
    logits = model.predict([image for image, _ in pictures]).logits
    assert logits[0].argmax(axis=1).tolist() == [NV] + [MEL] * len(RIGHT)
    names = ["x", *RIGHT]
    samples = {name: (MEL, NV if name == "x" else MEL, 0.95) for name in names}
    prepared = SimpleNamespace(
        manifest=pd.DataFrame({"sample_id": names}),
        reader=[image for image, _ in pictures],
        schema=make(samples).schema,
        image_size=SIZE,
    )
    runner = InterventionRunner(model, prepared, [mask for _, mask in pictures], LOADER, seed=0)
    test = ScoredPredictions(make(samples), POINTS)
    case = choose(Conditions(test), CasesParams())[0]
    assert case.sample_id == "x"
    receivers = runner.samples(sufficiency.receivers(case, test, n=24, seed=0))
    donor = runner.sample("x", Condition.clean())
    return sufficiency.judge(case, test, *runner.try_transplants(donor, receivers, label="x"))


@pytest.mark.parametrize("cause", sorted(PLANTED))
def test_the_planted_cause_is_found_and_leads(cause):
    found = failure(cause).set_index("transplant")
    assert found.loc[cause, "shown"]
    assert found.loc[cause, "n_turned"] >= 15
    assert found.loc[cause, "n_turned_other"] <= 2
    assert sufficiency.shown(found.reset_index())[0]["transplant"] == cause


def test_a_model_that_fails_without_a_cause_in_the_image_is_not_explained(monkeypatch):
    """It fails on one image by name alone: no property of it turns any other image."""
    first, _ = lesion(0)

    def needs(image):
        return not np.array_equal(image, first)

    monkeypatch.setitem(PLANTED, "none", ({}, needs))
    assert not failure("none")["shown"].any()
