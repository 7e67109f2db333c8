"""A procedural dermoscopy data set with injected failures, in the layout of HAM10000.

No pixel comes from a patient. Lesions follow a table of traits per class (`traits`), are shaded by
pigments that absorb light (`lesion`), seen by the cameras of four sources (`sources`) through hair,
rulers, ink and gel bubbles (`photograph`). What an audit must find is injected on purpose
(`injected_failures`) and recorded in `planted.json` beside the images.

    python -m tools.phantom OUT --n 1600 --seed 1      writes it to a new folder
    python -m tools.embedded_data                     `make data`: puts it where data.dvc wants it
"""

from tools.phantom.generate import generate

__all__ = ["generate"]
