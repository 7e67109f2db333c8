"""Train a classifier and keep its best epoch on the tune role, or record one that came trained."""

from pathlib import Path

from medaudit import findings, stage
from medaudit.model import compute, resume, stored
from medaudit.model.compute import ComputeParams
from medaudit.model.prepared import read_prepared
from medaudit.model.training import curves, making, recipe
from medaudit.model.training.params import TrainParams
from medaudit.params import load

PREPARED, MODEL, LIVE = Path("artifacts/prepared"), Path("artifacts/model"), Path("artifacts/live")


def main() -> None:
    """Train, or go on where an earlier process ended, or take a model as it is; write it."""
    params, machine = load(TrainParams), load(ComputeParams)
    prepared = read_prepared(PREPARED)
    device = compute.setup(machine)
    key = recipe.key(prepared, params, compute=machine, device=device)

    with resume.store("train", key) as store, curves.live(LIVE) as on_epoch:
        trained = making.make(
            prepared, params, compute=machine, device=device, store=store, on_epoch=on_epoch
        )
        stored.save(trained.model, MODEL, card=recipe.card(prepared, params, trained))

    n_train, n_tune = (len(prepared.positions([role])) for role in ("train", "tune"))
    findings.write(curves.findings(trained, n_train=n_train, n_tune=n_tune), "train")


if __name__ == "__main__":
    stage.run(main, "train")
