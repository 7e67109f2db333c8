"""The `train` section."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from medaudit.model.augment import AugmentParams
from medaudit.params import Section

TuneMetric = Literal["macro_auroc", "macro_auprc", "macro_f1", "balanced_accuracy", "loss"]
Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0, le=1)]


class TrainParams(Section):
    """How the model is trained, or which trained model is taken as it is.

    Args:
        backbone: any timm name; of an exported model its name for the report.
        weights: `none`, `imagenet`, `bundled`, the path of a state dict or safetensors file
            (`medaudit.model.state_dicts`), or that of an exported model, `.pt2` or `.onnx`
            (`medaudit.model.exported`).
        mean: of the channels on the 0..1 scale, subtracted from every image; `null` for what the
            backbone was pretrained with, and for (0, 0, 0) with an exported model.
        std: of the channels, by which images are divided; `null` likewise, and (1, 1, 1).
        outputs: what an exported model gives, which has to be said; backbones give logits.
        dropout: in front of the linear layer.
        epochs: at most; 0 checks the model in `weights`, scores it on the tune role and records it
            unchanged.
        batch_size: images per step.
        learning_rate: of AdamW, at its peak.
        weight_decay: of AdamW, on weights with two or more dimensions.
        warmup_epochs: over which the rate rises linearly; it then falls as a cosine to 0.
        label_smoothing: share of the target that is spread evenly over all classes; of labels
            that do not exclude each other, over yes and no.
        class_weights: inverse class frequency, its square root, or none; of labels that do not
            exclude each other, negatives over positives, which the logits are freed of.
        mixup: alpha of the Beta distribution that mixes pairs of images (Zhang et al. 2018);
            0 turns it off.
        ema: decay per step of an exponential moving average of the weights, e.g. 0.98, which is
            then what is scored on the tune role and kept; 0 turns it off. Running statistics of
            batch normalisation are averaged as the weights are.
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
    mean: tuple[Share, Share, Share] | None = None
    std: tuple[Positive, Positive, Positive] | None = None
    outputs: Literal["logits", "probabilities"] | None = None
    dropout: float = Field(default=0.2, ge=0, lt=1)
    epochs: int = Field(ge=0)
    batch_size: int = Field(default=32, ge=2)
    learning_rate: float = Field(gt=0)
    weight_decay: float = Field(default=0.0, ge=0)
    warmup_epochs: float = Field(default=0.0, ge=0)
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    class_weights: Literal["none", "sqrt", "balanced"] = "none"
    mixup: float = Field(default=0.0, ge=0)
    ema: float = Field(default=0.0, ge=0, lt=1)
    augment: AugmentParams = AugmentParams()
    tune_metric: TuneMetric = "macro_auroc"
    patience: int | None = Field(default=None, ge=1)
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    seed: int = Field(default=0, ge=0, le=2**63 - 1)
