"""Train a classifier and keep the epoch that is best on the tune role."""

from pathlib import Path

from medaudit import findings, stage
from medaudit.model import backbones, compute, resume
from medaudit.model.compute import ComputeParams
from medaudit.model.prepared import read_prepared
from medaudit.model.training import curves, loop, recipe
from medaudit.model.training.params import TrainParams
from medaudit.params import load

PREPARED, MODEL, LIVE = Path("artifacts/prepared"), Path("artifacts/model"), Path("artifacts/live")


def main() -> None:
    """Train, or go on where an earlier process ended, and write the model."""
    params, machine = load(TrainParams), load(ComputeParams)
    prepared = read_prepared(PREPARED)
    device = compute.setup(machine)
    key = recipe.key(prepared, params, compute=machine, device=device)

    with resume.store("train", key) as store, curves.live(LIVE) as on_epoch:
        trained = loop.fit(
            prepared, params, compute=machine, device=device, store=store, on_epoch=on_epoch
        )
        backbones.save(trained.model, MODEL, card=recipe.card(prepared, params))

    n_train, n_tune = (len(prepared.positions([role])) for role in ("train", "tune"))
    findings.write(curves.findings(trained, n_train=n_train, n_tune=n_tune), "train")


if __name__ == "__main__":
    stage.run(main, "train")
