"""The `train` section."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from medaudit.model.augment import AugmentParams
from medaudit.params import Section

TuneMetric = Literal["macro_auroc", "macro_f1", "balanced_accuracy", "loss"]


class TrainParams(Section):
    """How the model is trained.

    Args:
        backbone: any timm name.
        weights: `none`, `imagenet`, `bundled`, or a path (`medaudit.model.weights`).
        dropout: in front of the linear layer.
        epochs: at most.
        batch_size: images per step.
        learning_rate: of AdamW, at its peak.
        weight_decay: of AdamW, on weights with two or more dimensions.
        warmup_epochs: over which the rate rises linearly; it then falls as a cosine to 0.
        label_smoothing: share of the target that is spread evenly over all classes.
        class_weights: inverse class frequency, its square root, or none.
        mixup: alpha of the Beta distribution that mixes pairs of images (Zhang et al. 2018);
            0 turns it off.
        augment: changes of training images.
        tune_metric: chooses the epoch that is kept, on the tune role.
        patience: epochs without a better tune metric before training ends; `null` for all epochs.
        precision: `auto` takes bfloat16 where it is faster (CUDA; dense convolutions on a CPU that
            has it). Evaluation is float32 always.
        seed: of first weights, order, dropout, mixing and augmentation.
    """

    section: ClassVar[str] = "train"

    backbone: str
    weights: str = "none"
    dropout: float = Field(default=0.2, ge=0, lt=1)
    epochs: int = Field(ge=1)
    batch_size: int = Field(default=32, ge=2)
    learning_rate: float = Field(gt=0)
    weight_decay: float = Field(default=0.0, ge=0)
    warmup_epochs: float = Field(default=0.0, ge=0)
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    class_weights: Literal["none", "sqrt", "balanced"] = "none"
    mixup: float = Field(default=0.0, ge=0)
    augment: AugmentParams = AugmentParams()
    tune_metric: TuneMetric = "macro_auroc"
    patience: int | None = Field(default=None, ge=1)
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    seed: int = Field(default=0, ge=0, le=2**63 - 1)
