"""What it costs that exported models run in a confined child: 500 images, beside this process.

python -m benchmarks.confined_models             ResNet-18 at 96 pixels, 7 rounds
python -m benchmarks.confined_models --quick     1 round of 50 images; nothing is written

One network in three forms. Each round reads and runs every form once in this process and once in
the child, in turn, so that what else the machine does disturbs both alike; ratios are taken within
a round. Weights (safetensors) never need a child. Writes confined.csv.
"""

import argparse
import logging
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import safetensors.torch
import torch

from benchmarks.stats import machine
from medaudit.core.arrays import Float32Array
from medaudit.core.files import write_text
from medaudit.model import network
from medaudit.model.exported import archive, onnx_program, programs
from medaudit.model.exported.sandbox import Sandboxed
from medaudit.model.state_files import read_safetensors

SIZE, BATCH, THREADS = 96, 50, 1
Run = Callable[[Float32Array], Float32Array]


def resnet() -> torch.nn.Module:
    """Random weights: the time does not depend on them."""
    torch.manual_seed(0)
    made: torch.nn.Module = network.timm.create_model("resnet18", num_classes=2).eval()
    return made


def write_forms(folder: Path) -> None:
    """The network as weights, as a program of torch, and as ONNX."""
    model, x = resnet(), torch.zeros(2, 3, SIZE, SIZE)
    safetensors.torch.save_file(model.state_dict(), folder / "m.safetensors")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        shapes = ({0: torch.export.Dim.DYNAMIC},)
        torch.export.save(torch.export.export(model, (x,), dynamic_shapes=shapes), folder / "m.pt2")
        torch.onnx.export(
            model,
            (x,),
            folder / "m.onnx",
            dynamo=False,
            input_names=["x"],
            output_names=["y"],
            dynamic_axes={"x": {0: "n"}, "y": {0: "n"}},
        )


def weights(path: Path) -> Run:
    """As the stages run a backbone of their own."""
    model = resnet()
    model.load_state_dict(read_safetensors(path))

    def run(x: Float32Array) -> Float32Array:
        with torch.inference_mode():
            return model(torch.from_numpy(x)).numpy()

    return run


WAYS: dict[tuple[str, str], Callable[[Path], Run]] = {
    ("safetensors", "this process"): weights,
    ("pt2", "this process"): lambda path: (
        programs.read_torch(archive.rebuilt(path), device="cpu").run
    ),
    ("pt2", "child"): lambda path: Sandboxed(archive.rebuilt(path), suffix=".pt2").run,
    ("onnx", "this process"): lambda path: (
        onnx_program.load(onnx_program.read(path), threads=THREADS).run
    ),
    ("onnx", "child"): lambda path: Sandboxed(onnx_program.read(path), suffix=".onnx").run,
}


def one_round(folder: Path, images: Float32Array) -> list[dict[str, object]]:
    """Seconds to read and to predict, of every form and place; all must give the same numbers."""
    found: list[dict[str, object]] = []
    outputs = []
    for (form, where), read in WAYS.items():
        begun = time.perf_counter()
        run = read(folder / f"m.{form}")
        ready = time.perf_counter()
        parts = [run(images[i : i + BATCH]) for i in range(0, len(images), BATCH)]
        ended = time.perf_counter()
        outputs.append(np.concatenate(parts))
        found.append({"form": form, "where": where, "read": ready - begun, "run": ended - ready})
    same = (outputs[1] == outputs[2]).all() and (outputs[3] == outputs[4]).all()
    if not same or not all(np.allclose(each, outputs[0], atol=1e-4) for each in outputs):
        raise SystemExit("the ways differ in their outputs; their times cannot be compared")
    return found


def table(rounds: pd.DataFrame) -> pd.DataFrame:
    """Medians of the seconds, and of the ratios child / this process within a round."""
    seconds = rounds.groupby(["form", "where"], sort=False)[["read", "run"]]
    found = seconds.median().rename(columns=lambda name: f"{name}_seconds")
    found["run_seconds_least"] = seconds.min()["run"]
    wide = rounds.set_index(["round", "form", "where"])["run"].unstack()  # noqa: PD010
    ratios = (wide["child"] / wide["this process"]).groupby("form")
    for name, values in {
        "ratio": ratios.median(),
        "low": ratios.min(),
        "high": ratios.max(),
    }.items():
        found[name] = [values[f] if w == "child" else np.nan for f, w in found.index]
    return found.round(3).reset_index()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="nothing is written")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--out", type=Path, default=Path("docs/results/speed"))
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    torch.set_num_threads(THREADS)
    n, rounds = (50, 1) if options.quick else (500, options.rounds)
    images = np.random.default_rng(0).standard_normal((n, 3, SIZE, SIZE)).astype(np.float32)
    with tempfile.TemporaryDirectory() as name:
        write_forms(Path(name))
        found = [
            {"round": k, **row} for k in range(rounds) for row in one_round(Path(name), images)
        ]
    shown = table(pd.DataFrame(found))
    print(shown.to_string(index=False), machine(), sep="\n")
    if not options.quick:
        write_text(options.out / "confined.csv", shown.to_csv(index=False))


if __name__ == "__main__":
    main()
