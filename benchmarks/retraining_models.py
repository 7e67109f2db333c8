"""One training of `retraining.py`: the weights as they are, and moving averages of them.

python -m benchmarks.retraining_models NAME=DECAY...    beside params.yaml and artifacts/prepared

The models go into folders NAME. An average steers no step, so one training gives the weights of
every decay; 0 stands for none. It is a process of its own, since environment variables choose the
arithmetic when torch is loaded.
"""

import sys
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from medaudit.core import findings, runner
from medaudit.core.params import load
from medaudit.model import compute, network
from medaudit.model.compute import ComputeParams
from medaudit.model.inference import LoaderConfig
from medaudit.model.prepared import Prepared, read_prepared
from medaudit.training import checkpoint, loop, objectives, train_or_load
from medaudit.training.checkpoint import Progress
from medaudit.training.loop import Trained, TrainingRun, TrainParams

if TYPE_CHECKING:
    from torch.optim.swa_utils import AveragedModel


class Averages(torch.nn.Module):
    """Several moving averages in the place of one; what the run scores is the plain model."""

    def __init__(self, plain: torch.nn.Module, decays: dict[str, float]) -> None:
        super().__init__()
        self.module = plain
        self.followers: dict[str, AveragedModel] = {
            name: loop.moving_average(plain, decay) for name, decay in decays.items() if decay
        }

    def update_parameters(self, model: torch.nn.Module) -> None:
        """After a step."""
        for each in self.followers.values():
            each.update_parameters(model)

    def models(self, decays: dict[str, float]) -> dict[str, torch.nn.Module]:
        """The model of every decay."""
        return {n: self.followers[n].module if d else self.module for n, d in decays.items()}


def train(prepared: Prepared, params: TrainParams, decays: dict[str, float]) -> dict[str, Trained]:
    """Train once; every decay keeps its own best epoch."""
    machine = load(ComputeParams)
    device = compute.setup(machine)
    loader = LoaderConfig(params.batch_size, machine.loader_threads, device)
    run = TrainingRun(prepared, params, loader_threads=machine.loader_threads, device=device)
    run.average = averages = Averages(run.model, decays)
    kept = {name: Progress() for name in decays}
    for number in range(1, params.epochs + 1):
        record = run.epoch(number)
        for name, model in averages.models(decays).items():
            own = replace(
                record, validation=objectives.validation_scores(model, prepared, loader=loader)
            )
            kept[name].add(own, score=loop.score(own, params), model=model)
    return {name: _best(run, progress) for name, progress in kept.items()}


def _best(run: TrainingRun, progress: Progress) -> Trained:
    model = deepcopy(run.model)
    model.load_state_dict(progress.best_state)
    history, shift = tuple(progress.history), loop.noted(run.shift)
    return Trained(model.eval(), progress.best_epoch, history, run.precision, shift)


def write(trained: Trained, prepared: Prepared, params: TrainParams, folder: Path) -> None:
    """What the train stage leaves."""
    network.save_model(
        trained.model,
        folder / "artifacts/model",
        card=train_or_load.model_card(prepared, params, trained),
    )
    n_train, n_validation = (len(prepared.positions([role])) for role in ("train", "validation"))
    found = checkpoint.findings(trained, n_train=n_train, n_validation=n_validation)
    findings.write(found, "train", root=folder)


def main() -> None:
    runner.configure_logging()
    pairs = (word.split("=") for word in sys.argv[1:])
    decays = {name: float(decay) for name, decay in pairs}
    params, prepared = load(TrainParams), read_prepared(Path("artifacts/prepared"))
    for name, trained in train(prepared, params, decays).items():
        write(trained, prepared, params, Path(name))


if __name__ == "__main__":
    main()
