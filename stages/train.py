"""Train a classifier and keep its best epoch on validation, or record one that came trained."""

from medaudit.core import findings, keys, runner
from medaudit.core.layout import LIVE, MODEL, PREPARED
from medaudit.core.params import load
from medaudit.model import compute, network
from medaudit.model.compute import ComputeParams
from medaudit.model.prepared import read_prepared
from medaudit.training import checkpoint, train_or_load
from medaudit.training.loop import TrainParams


def main() -> None:
    """Train, or go on where an earlier process ended, or take a model as it is; write it."""
    params, machine = load(TrainParams), load(ComputeParams)
    prepared = read_prepared(PREPARED)
    device = compute.setup(machine)
    key = train_or_load.key(prepared, params, compute=machine, device=device)

    with keys.store("train", key) as store, checkpoint.live(LIVE) as on_epoch:
        trained = train_or_load.fit_or_load(
            prepared, params, compute=machine, device=device, store=store, on_epoch=on_epoch
        )
        network.save_model(
            trained.model, MODEL, card=train_or_load.model_card(prepared, params, trained)
        )

    n_train, n_validation = (len(prepared.positions([role])) for role in ("train", "validation"))
    findings.write(
        checkpoint.findings(trained, n_train=n_train, n_validation=n_validation), "train"
    )


if __name__ == "__main__":
    runner.run(main, "train")
