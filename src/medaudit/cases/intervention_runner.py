"""What a model does to edited images, and where it looks (Grad-CAM, Selvaraju et al. 2017)."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np
import pandas as pd
import torch
from PIL import Image as Pillow
from torch.nn import functional
from tqdm import tqdm

from medaudit.cases.sufficiency import OTHER, OWN, TRIALS
from medaudit.core.errors import ModelError
from medaudit.core.files import atomic
from medaudit.model import inference, network
from medaudit.model.compute import setup
from medaudit.model.inference import LoaderConfig, to_input
from medaudit.model.model_config import stages_trust
from medaudit.model.network import AuditModel
from medaudit.model.prepared import read_prepared
from medaudit.pixels.corruptions import corrupt
from medaudit.pixels.interventions import COUNTERFACTUALS, edited, usable
from medaudit.pixels.packed import MaskReader
from medaudit.pixels.transplants import TRANSPLANTS, Pictured, possible, transplanted
from medaudit.tables import tasks
from medaudit.tables.predictions import Condition

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from torch import Tensor

    from medaudit.core.arrays import BoolArray, Float32Array, IntArray
    from medaudit.model.compute import ComputeParams
    from medaudit.model.inference import ImageModel, Images
    from medaudit.model.predictions import PredictParams
    from medaudit.model.prepared import Prepared
    from medaudit.pixels import Image


def grad_cam(model: AuditModel, image: Image, class_index: int) -> Float32Array:
    """Map of the evidence for one class, float32 (h, w) in [0, 1].

    ReLU(sum_k a_k A^k) over the channels k of the last feature map A, where a_k is the mean of
    dy_c / dA^k over positions and y_c the logit of the class; enlarged to the image and scaled by
    (x - min) / (max - min). A flat map says nothing and becomes zeros.

    Args:
        model: in evaluation mode; its parameters and their gradients are left alone.
        image: uint8 (h, w, 3).
        class_index: column of the logits.
    """
    device = model.mean.device
    maps = _feature_maps(model, to_input(image[np.newaxis], device))
    logit = model.head(model.backbone.forward_head(maps))[0, class_index]
    (gradient,) = torch.autograd.grad(logit, maps)
    channel_weights = gradient.mean(dim=(2, 3), keepdim=True)
    evidence = torch.relu((channel_weights * maps.detach()).sum(dim=1, keepdim=True))
    enlarged = functional.interpolate(
        evidence, size=image.shape[:2], mode="bilinear", align_corners=False
    )
    return normalise(enlarged[0, 0].cpu().numpy())


def obstacle(model: ImageModel, *, image_size: int) -> str | None:
    """Why there is no Grad-CAM of a model; `None` where there is."""
    if not isinstance(model, AuditModel):
        return "an exported model shows neither features nor gradients"
    black = np.zeros((1, image_size, image_size, 3), dtype=np.uint8)
    try:
        _feature_maps(model, to_input(black, model.mean.device))
    except ModelError as error:
        return str(error)
    return None


def normalise(values: Float32Array) -> Float32Array:
    """(x - min) / (max - min), zeros where all values are equal."""
    low, high = values.min(), values.max()
    if not high > low:
        return np.zeros_like(values)
    return np.asarray((values - low) / (high - low), dtype=np.float32)


def _feature_maps(model: AuditModel, x: Tensor) -> Tensor:
    if model.training:
        raise ValueError("expected a model in evaluation mode; call `model.eval()` first")
    with torch.no_grad():
        maps: Tensor = model.backbone.forward_features(model.normalised(x))
    if maps.ndim != 4 or maps.shape[1] != model.backbone.num_features:
        raise ModelError(
            f"Grad-CAM needs feature maps (n, channels, h, w), got {tuple(maps.shape)}; "
            f"it is defined for convolutional backbones"
        )
    return maps.requires_grad_()


OPACITY = 0.45
TILE = 120  # pixels of an image in a strip


def energy(cam: Float32Array | None, mask: BoolArray | None) -> float:
    """Sum of a map on the mask over its whole sum, in [0, 1]; NaN without either or for zeros.

    A map that looks nowhere in particular gives the mask's share of the image.
    """
    if cam is None or mask is None or not cam.any():
        return float("nan")
    return float(cam[mask].sum()) / float(cam.sum())


def overlay(image: Image, cam: Float32Array) -> Image:
    """An image with a map in [0, 1] laid over it, more opaque where the map is high."""
    colours = cv2.applyColorMap(np.rint(cam * 255).astype(np.uint8), cv2.COLORMAP_INFERNO)
    shade = cv2.cvtColor(colours, cv2.COLOR_BGR2RGB)
    share = OPACITY * (0.4 + 0.6 * cam[..., np.newaxis])
    return np.asarray(np.rint((1 - share) * image + share * shade), dtype=np.uint8)


def write_all(pictures: Mapping[str, Image], stem: Path) -> dict[str, str]:
    """Write `<stem>_<what>.png` for every picture; file names by what they show."""
    names = {what: f"{stem.name}_{what}.png" for what in pictures}
    for what, name in names.items():
        with atomic(stem.with_name(name)) as part:
            Pillow.fromarray(pictures[what]).save(part, format="PNG")
    return names


log = logging.getLogger(__name__)

TOLERANCE = 0.02  # of a probability; devices and batch sizes differ in far later digits


@dataclass(frozen=True)
class Sample:
    """An image as the model receives it, with its lesion mask where there is one."""

    sample_id: str
    image: Image
    mask: BoolArray | None

    @property
    def pictured(self) -> Pictured:
        """Image and mask, as transplants take them."""
        return Pictured(self.image, self.mask)

    @property
    def lesion_share(self) -> float:
        """Share of the image that is lesion; NaN without a mask."""
        return float("nan") if self.mask is None else float(self.mask.mean())


class Edits(NamedTuple):
    """Edited images and what the model makes of them.

    Args:
        trials: `sample_id`, `intervention`, `kind`, `cause`; one row per edited image.
        logits: (1, len(trials), outputs).
    """

    trials: pd.DataFrame
    logits: Float32Array


class CasePanels(NamedTuple):
    """Pictures of a case, and numbers about its Grad-CAM maps.

    A model without Grad-CAM has no maps: neither `cam_` pictures nor numbers about them.

    Args:
        images: file names by what they show.
        focus: share of each map on the lesion, and the lesion's share of the image.
    """

    images: dict[str, str]
    focus: dict[str, float]


@dataclass(frozen=True)
class InterventionRunner:
    """A model with the images to try it on."""

    model: ImageModel
    prepared: Prepared
    masks: MaskReader
    loader: LoaderConfig
    seed: int

    def sample(self, sample_id: str, condition: Condition) -> Sample:
        """One image under a condition, as the prediction of that condition saw it."""
        (position,) = np.flatnonzero(self.prepared.manifest["sample_id"] == sample_id)
        clean = self.prepared.reader[int(position)]
        image = corrupt(clean, condition, sample_id=sample_id, seed=self.seed)
        return Sample(sample_id, image, self.masks[int(position)])

    def samples(self, sample_ids: Iterable[str]) -> list[Sample]:
        """Clean images."""
        return [self.sample(sample_id, Condition.clean()) for sample_id in sample_ids]

    def intervened(self, sample: Sample, name: str) -> Image:
        """A subject after an edit, or its clean image under the condition of that name."""
        if name in COUNTERFACTUALS:
            return edited(sample.image, name, mask=sample.mask)
        return self.sample(sample.sample_id, Condition.parse(name)).image

    def try_edits(self, samples: Sequence[Sample], *, label: str) -> Edits:
        """Every counterfactual on every subject; those that need a mask only where there is one."""
        pairs = [
            (sample, name)
            for sample in samples
            for name, each in COUNTERFACTUALS.items()
            if usable(sample.mask) or not each.needs_mask
        ]

        def make(positions: IntArray) -> Images:
            chosen = [pairs[i] for i in positions]
            return np.stack([edited(each.image, name, mask=each.mask) for each, name in chosen])

        return Edits(trials=_trials(pairs), logits=self._logits(make, len(pairs), label=label))

    def try_transplants(
        self, donor: Sample, receivers: Sequence[Sample], *, label: str
    ) -> tuple[pd.DataFrame, Float32Array]:
        """Give right images the properties of a failed one, and each those of the next right one.

        Args:
            donor: the failed image.
            receivers: right images, at least two.
            label: of the progress bar.

        Returns:
            One row per edited image with the columns `sufficiency.TRIALS`, and their logits
            (1, rows, outputs). A property that needs masks is tried where all of a pair have them.
        """
        plans = [
            (name, receiver, given, source)
            for name in TRANSPLANTS
            for receiver, following in zip(receivers, (*receivers[1:], *receivers[:1]), strict=True)
            if all(possible(name, each.pictured, receiver.pictured) for each in (donor, following))
            for given, source in ((OWN, donor), (OTHER, following))
        ]

        def make(positions: IntArray) -> Images:
            chosen = [plans[i] for i in positions]
            return np.stack(
                [
                    transplanted(name, source.pictured, receiver.pictured)
                    for name, receiver, _, source in chosen
                ]
            )

        rows = [
            (name, TRANSPLANTS[name].cause, TRANSPLANTS[name].words, receiver.sample_id, given)
            for name, receiver, given, _ in plans
        ]
        trials = pd.DataFrame(rows, columns=list(TRIALS))
        if trials.empty:
            return trials, np.empty((1, 0, 0), dtype=np.float32)
        return trials, self._logits(make, len(plans), label=label)

    def verified(
        self, sample_id: str, condition: Condition, *, probabilities: Sequence[float]
    ) -> Sample:
        """The subject of which the model states these probabilities.

        Raises:
            ModelError: it states others, so that image or model is not that of the predictions.
        """
        sample = self.sample(sample_id, condition)
        logits = self._logits(lambda _: sample.image[np.newaxis], 1, label=sample_id)
        found = tasks.get(self.prepared.schema.task).probabilities(logits)[0]
        gap = float(np.abs(found - np.asarray(probabilities)).max())
        if gap > TOLERANCE:
            raise ModelError(
                f"{sample_id}: probabilities are {gap:.3f} away from the stored ones, "
                f"at most {TOLERANCE} expected; run evaluate and stress again"
            )
        return sample

    @cached_property
    def no_saliency(self) -> str | None:
        """Why there is no Grad-CAM of this model; `None` where there is."""
        reason = obstacle(self.model, image_size=self.prepared.image_size)
        if reason is not None:
            log.warning("no saliency: %s", reason)
        return reason

    def cam(self, image: Image, class_index: int) -> Float32Array | None:
        """Grad-CAM of a class; `None` of a model that has none."""
        if self.no_saliency is not None or not isinstance(self.model, AuditModel):
            return None
        return grad_cam(self.model, image, class_index)

    def focus(self, sample: Sample, class_index: int) -> float:
        """Share of the Grad-CAM of a class that lies on the lesion; NaN without mask or map."""
        return energy(self.cam(sample.image, class_index), sample.mask)

    def focus_table(self, samples: Sequence[Sample], class_indices: Sequence[int]) -> pd.DataFrame:
        """`sample_id`, `cam_energy` on the lesion and `lesion_share` of the image for subjects."""
        pairs = zip(samples, class_indices, strict=True)
        rows = [
            {
                "sample_id": each.sample_id,
                "cam_energy": self.focus(each, index),
                "lesion_share": each.lesion_share,
            }
            for each, index in tqdm(
                pairs, total=len(samples), desc="saliency", leave=False, disable=None
            )
        ]
        return pd.DataFrame(rows, columns=["sample_id", "cam_energy", "lesion_share"])

    def draw(
        self,
        sample_id: str,
        condition: Condition,
        *,
        classes: Mapping[str, int],
        cited: str | None,
        stem: Path,
    ) -> CasePanels:
        """Write the pictures of a case as `<stem>_<what>.png`.

        Args:
            sample_id: which image.
            condition: that it is shown under.
            classes: class indices by name; Grad-CAM draws each as `cam_<name>`.
            cited: intervention that the diagnosis rests on, drawn as `counterfactual`.
            stem: folder and first part of the file names.
        """
        shown = self.sample(sample_id, condition)
        pictures = {"image": self.sample(sample_id, Condition.clean()).image}
        if not condition.is_clean:
            pictures["corrupted"] = shown.image
        if cited is not None:
            pictures["counterfactual"] = self.intervened(shown, cited)
        focus = {"lesion_share": shown.lesion_share}
        for name, index in classes.items():
            cam = self.cam(shown.image, index)
            if cam is not None:
                pictures[f"cam_{name}"] = overlay(shown.image, cam)
                focus[f"cam_{name}_energy"] = energy(cam, shown.mask)
        return CasePanels(write_all(pictures, stem), focus)

    def draw_strip(self, sample_ids: Sequence[str], path: Path) -> str:
        """Write clean images beside each other, `TILE` pixels each; the name of the file."""
        tiles = [
            cv2.resize(each.image, (TILE, TILE), interpolation=cv2.INTER_AREA)
            for each in self.samples(sample_ids)
        ]
        gap = np.full((TILE, TILE // 24, 3), 255, dtype=np.uint8)
        parts = [part for tile in tiles for part in (tile, gap)][:-1]
        with atomic(path) as part_path:
            Pillow.fromarray(np.hstack(parts)).save(part_path, format="PNG")
        return path.name

    def _logits(self, make: Callable[[IntArray], Images], n: int, *, label: str) -> Float32Array:
        positions = np.arange(n, dtype=np.int64)
        return inference.run(self.model, make, positions, loader=self.loader, label=label).logits


def open_runner(
    model_folder: Path, prepared_folder: Path, params: PredictParams, compute: ComputeParams
) -> InterventionRunner:
    """A stored model and prepared images, with the settings of the predictions."""
    loader = LoaderConfig(params.batch_size, compute.loader_threads, setup(compute))
    prepared = read_prepared(prepared_folder)
    masks = MaskReader(prepared_folder / "masks.npy", size=prepared.image_size)
    model = network.load_model(model_folder, trust=stages_trust()).on(loader.device)
    return InterventionRunner(model, prepared, masks, loader, params.seed)


def _trials(pairs: Sequence[tuple[Sample, str]]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "sample_id": [sample.sample_id for sample, _ in pairs],
            "intervention": [name for _, name in pairs],
            "kind": [COUNTERFACTUALS[name].kind for _, name in pairs],
            "cause": [COUNTERFACTUALS[name].cause for _, name in pairs],
        }
    )
