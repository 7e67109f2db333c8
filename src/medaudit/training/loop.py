"""The `train` section, what a training run starts from, and the training loop."""

from __future__ import annotations

import logging
import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, cast

import numpy as np
import torch
from pydantic import Field
from torch.optim.swa_utils import AveragedModel
from tqdm import tqdm

from medaudit.core.errors import DataError, ModelError
from medaudit.core.params import Section
from medaudit.model import inference, network
from medaudit.model.inference import prefetched, shuffled_batches
from medaudit.model.model_config import rounded
from medaudit.training import checkpoint, objectives
from medaudit.training.augment import Augmenter, AugmentParams
from medaudit.training.checkpoint import EpochRecord

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from torch import Tensor

    from medaudit.core.arrays import IntArray
    from medaudit.model.compute import ComputeParams
    from medaudit.model.inference import ImageModel, Images
    from medaudit.model.network import AuditModel
    from medaudit.model.prepared import Prepared

BETAS = (0.9, 0.999)


def new_model(prepared: Prepared, params: TrainParams, shift: Tensor | None) -> AuditModel:
    """The model before its first step."""
    model = network.create(
        params.backbone,
        len(prepared.schema.classes),
        weights=params.weights,
        dropout=params.dropout,
        image_size=prepared.image_size,
        keep_head=params.epochs == 0,
    )
    model.renormalise(params.mean, params.std)
    if shift is not None and model.head_is_new:
        model.shift_logits(-shift)  # so that the loss, which adds the shift, begins at zero
    return model


def noted(shift: Tensor | None) -> tuple[float, ...] | None:
    """A shift as the card notes it; `None` where it is zero."""
    return None if shift is None or not shift.any() else rounded(shift.tolist())


def optimizer(model: AuditModel, params: TrainParams) -> torch.optim.AdamW:
    """AdamW, with weight decay on matrices and kernels alone."""
    decayed = [p for p in model.parameters() if p.ndim > 1]
    plain = [p for p in model.parameters() if p.ndim <= 1]  # biases and normalisation
    groups = [
        {"params": decayed, "weight_decay": params.weight_decay},
        {"params": plain, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=params.learning_rate, betas=BETAS)


def resolve_precision(asked: str, model: torch.nn.Module, device: torch.device) -> str:
    """`fp32` or `bf16`; `auto` takes bf16 on CUDA and for dense convolutions on a fit CPU.

    Networks of depthwise convolutions train slower in bf16 than in fp32 on a CPU.
    """
    if asked != "auto":
        return asked
    if device.type == "cuda":
        return "bf16"
    fast = cpu_has_bf16() and not network.is_depthwise(model)
    return "bf16" if fast else "fp32"


def cpu_has_bf16() -> bool:
    """Whether this CPU multiplies bfloat16 in hardware, as far as torch can tell."""
    read = getattr(torch.cpu, "get_capabilities", None)  # torch 2.10 and later
    found = read() if read is not None else {}
    return bool(found.get("amx_bf16") or found.get("avx512_bf16"))


ValidationMetric = Literal["macro_auroc", "macro_auprc", "macro_f1", "balanced_accuracy", "loss"]
Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0, le=1)]


class TrainParams(Section):
    """How the model is trained, or which trained model is taken as it is.

    Args:
        backbone: any timm name; of an exported model its name for the report.
        weights: `none`, `imagenet`, `bundled`, the path of a state dict or safetensors file
            (`medaudit.model.weights`), or that of an exported model, `.pt2` or `.onnx`
            (`medaudit.model.exported`).
        mean: of the channels on the 0..1 scale, subtracted from every image; `null` for what the
            backbone was pretrained with, and for (0, 0, 0) with an exported model.
        std: of the channels, by which images are divided; `null` likewise, and (1, 1, 1).
        outputs: what an exported model gives, which has to be said; backbones give logits.
        trust: that you trust who made a `.pt2` file, which is a program; refused otherwise.
        dropout: in front of the linear layer.
        epochs: at most; 0 checks the model in `weights`, scores it on the validation role and
            records it unchanged.
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
            then what is scored on the validation role and kept; 0 turns it off. Running
            statistics of batch normalisation are averaged as the weights are.
        augment: changes of training images.
        validation_metric: chooses the epoch that is kept, on the validation role.
        patience: epochs without a better validation metric before training ends; `null` for
            all epochs.
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
    trust: bool = False
    dropout: float = Field(default=0.2, ge=0, lt=1)
    epochs: int = Field(ge=0, le=10_000)
    batch_size: int = Field(default=32, ge=2, le=4096)
    learning_rate: float = Field(gt=0, le=100)
    weight_decay: float = Field(default=0.0, ge=0, le=100)
    warmup_epochs: float = Field(default=0.0, ge=0, le=10_000)
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    class_weights: Literal["none", "sqrt", "balanced"] = "none"
    mixup: float = Field(default=0.0, ge=0, le=100)
    ema: float = Field(default=0.0, ge=0, lt=1)
    augment: AugmentParams = AugmentParams()
    validation_metric: ValidationMetric = "macro_auroc"
    patience: int | None = Field(default=None, ge=1, le=10_000)
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    seed: int = Field(default=0, ge=0, le=2**63 - 1)


CHECKPOINT_FILE = "checkpoint.pt"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Trained:
    """The model at its best epoch, and how it came about.

    Args:
        model: of the best epoch.
        best_epoch: its number; 0 for a model that came trained.
        history: one record per epoch, or that of epoch 0.
        precision: of training.
        logit_shift: that the weights of the loss stand for, per output; `None` without any.
    """

    model: ImageModel
    best_epoch: int
    history: tuple[EpochRecord, ...]
    precision: str
    logit_shift: tuple[float, ...] | None = None

    @property
    def best(self) -> EpochRecord:
        """The record of the epoch that was kept."""
        return next(record for record in self.history if record.epoch == self.best_epoch)


@dataclass(frozen=True)
class Batch:
    """Images (n, h, w, 3) uint8 and encoded targets (n, outputs)."""

    images: Images
    targets: Tensor


def fit(
    prepared: Prepared,
    params: TrainParams,
    *,
    compute: ComputeParams,
    device: torch.device,
    store: Path,
    on_epoch: Callable[[EpochRecord], None],
) -> Trained:
    """Train on the role `train` and keep the epoch that is best on the role `validation`.

    Args:
        prepared: data.
        params: recipe.
        compute: loader threads.
        device: to train on.
        store: folder that keeps the checkpoint; a run that finds one there goes on from it and
            ends with the same bits.
        on_epoch: called once per epoch, also for those that an earlier process finished.
    """
    objectives.warn_of_gaps(prepared)
    run = TrainingRun(prepared, params, loader_threads=compute.loader_threads, device=device)
    path = store / CHECKPOINT_FILE
    progress = checkpoint.restore(
        path, model=run.model, optimizer=run.optimizer, average=run.average
    )
    if progress.epochs_done:
        log.info("resumed after epoch %d of %d", progress.epochs_done, params.epochs)
    for record in progress.history:
        on_epoch(record)

    while progress.epochs_done < params.epochs and not progress.exhausted(params.patience):
        record = run.epoch(progress.epochs_done + 1)
        progress.add(record, score=score(record, params), model=run.scored)
        checkpoint.save(
            path,
            model=run.model,
            optimizer=run.optimizer.state_dict(),
            progress=progress,
            average=run.average,
        )
        on_epoch(record)

    run.model.load_state_dict(progress.best_state)
    history, shift = tuple(progress.history), noted(run.shift)
    return Trained(run.model.eval(), progress.best_epoch, history, run.precision, shift)


class TrainingRun:
    """Model, optimizer and data of one training run."""

    def __init__(
        self, prepared: Prepared, params: TrainParams, *, loader_threads: int, device: torch.device
    ) -> None:
        torch.manual_seed(params.seed)
        self.prepared, self.params, self.device = prepared, params, device
        self.loader_threads = loader_threads
        self.objective = objectives.get(prepared.schema.task)
        self.train = prepared.positions(["train"])
        _check_rows(len(self.train))
        weights = self.objective.weights(
            prepared.targets(self.train), classes=prepared.schema.classes, kind=params.class_weights
        )
        self.shift = self.objective.logit_shift(weights)
        self.weights = weights.to(device)
        self.model = inference.prepare_model(new_model(prepared, params, self.shift), device)
        self.optimizer = optimizer(self.model, params)
        self.average = moving_average(self.model, params.ema) if params.ema else None
        self.precision = resolve_precision(params.precision, self.model, device)
        self.augment = Augmenter(params.augment, image_size=prepared.image_size, seed=params.seed)

    @property
    def scored(self) -> AuditModel:
        """What is scored and kept: the moving average of the weights where there is one."""
        return self.model if self.average is None else cast("AuditModel", self.average.module)

    def epoch(self, number: int) -> EpochRecord:
        """Train one epoch, then score the validation role."""
        started = time.perf_counter()
        train_loss = self._train_epoch(number)
        validation = self._validation_scores()
        record = EpochRecord(number, self.optimizer.param_groups[0]["lr"], train_loss, validation)
        log.info(
            "epoch %d/%d: train loss %.4f, %s (%.1f s)",
            number,
            self.params.epochs,
            train_loss,
            ", ".join(
                f"validation {name} {validation[name]:.4f}"
                for name in dict.fromkeys(("loss", self.params.validation_metric))
            ),
            time.perf_counter() - started,
        )
        return record

    def _train_epoch(self, number: int) -> float:
        # Seeding every epoch by its number makes a resumed run draw what an unbroken one draws.
        torch.manual_seed(_mix(self.params.seed, number))
        mixing = np.random.default_rng([self.params.seed, number, 1])
        batches = shuffled_batches(
            self.train, batch_size=self.params.batch_size, seed=self.params.seed, epoch=number
        )
        made = prefetched(
            lambda chosen: self._batch(chosen, number), batches, threads=self.loader_threads
        )
        self.model.train()
        total, seen = torch.zeros((), device=self.device), 0
        bar = tqdm(made, total=len(batches), desc=f"epoch {number}", leave=False, disable=None)
        for step, batch in enumerate(bar):
            self._set_rate((number - 1) + (step + 0.5) / len(batches))
            total += self._step(batch, mixing) * len(batch.images)
            seen += len(batch.images)
        return _finite(float(total) / seen, epoch=number)

    def _step(self, batch: Batch, mixing: np.random.Generator) -> Tensor:
        x, y = inference.to_input(batch.images, self.device), batch.targets.to(self.device)
        if self.params.mixup:
            x, y = mixup(x, y, alpha=self.params.mixup, rng=mixing)
        bf16 = self.precision == "bf16"
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=bf16):
            logits = self.model(x)
        loss = self.objective.loss(logits, y, weights=self.weights)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        if self.average is not None:
            self.average.update_parameters(self.model)
        return loss.detach()

    def _batch(self, chosen: IntArray, epoch: int) -> Batch:
        images = self.augment(self.prepared.reader.take(chosen), chosen, epoch=epoch)
        targets = self.objective.encode(
            self.prepared.targets(chosen),
            n_outputs=len(self.prepared.schema.classes),
            smoothing=self.params.label_smoothing,
        )
        return Batch(images, targets)

    def _validation_scores(self) -> dict[str, float]:
        loader = inference.LoaderConfig(self.params.batch_size, self.loader_threads, self.device)
        return objectives.validation_scores(self.scored, self.prepared, loader=loader)

    def _set_rate(self, done: float) -> None:
        share = rate_factor(done, epochs=self.params.epochs, warmup=self.params.warmup_epochs)
        for group in self.optimizer.param_groups:
            group["lr"] = self.params.learning_rate * share


def rate_factor(done: float, *, epochs: int, warmup: float) -> float:
    """Share of the peak learning rate: a linear rise over `warmup` epochs, then a cosine to 0.

    `done` counts epochs, with fractions, at the middle of the step that uses the rate.
    """
    if done < warmup:
        return done / warmup
    span = max(epochs - warmup, 1e-9)
    return 0.5 * (1 + math.cos(math.pi * min((done - warmup) / span, 1.0)))


def moving_average(model: torch.nn.Module, decay: float) -> AveragedModel:
    """A copy that `update_parameters` draws towards the model: a <- d a + (1 - d) w.

    d is (1 + t) / (10 + t) after t updates, at most `decay`, so that the first weights are soon
    forgotten. Running statistics of batch normalisation are averaged likewise, counters copied.
    """

    def follow(average: Tensor, value: Tensor, updates: Tensor | int) -> Tensor:
        done = int(updates)
        share = 1 - min(decay, (1 + done) / (10 + done))
        return average.lerp(value, share) if average.is_floating_point() else value

    return AveragedModel(model, avg_fn=follow, use_buffers=True)


def mixup(x: Tensor, y: Tensor, *, alpha: float, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Blend a batch with a permutation of itself: l a + (1 - l) b, l ~ Beta(alpha, alpha).

    Images stay on their 0..255 scale as floats; one l serves the batch (Zhang et al. 2018).
    """
    share = float(rng.beta(alpha, alpha))
    order = torch.from_numpy(rng.permutation(len(x))).to(x.device)
    mixed = x.float()
    return share * mixed + (1 - share) * mixed[order], share * y + (1 - share) * y[order]


def score(record: EpochRecord, params: TrainParams) -> float:
    """The validation metric of an epoch, higher is better; an error where it is undefined."""
    value = record.validation[params.validation_metric]
    if not math.isfinite(value):
        raise DataError(
            f"train.validation_metric `{params.validation_metric}` is undefined on the "
            f"validation role, which may lack classes; choose another metric or a larger role"
        )
    return -value if params.validation_metric == "loss" else value


def _check_rows(n_train: int) -> None:
    if n_train < 2:
        raise DataError(f"expected at least 2 training images, got {n_train}; see `prepare`")


def _finite(loss: float, *, epoch: int) -> float:
    if not math.isfinite(loss):
        raise ModelError(
            f"the training loss is not finite in epoch {epoch}; lower `train.learning_rate`"
        )
    return loss


def _mix(seed: int, epoch: int) -> int:
    return int(np.random.SeedSequence([seed, epoch]).generate_state(1)[0])
