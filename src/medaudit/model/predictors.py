"""Predictors: how logits are made of images with a model.

To add one, such as dropout at test time or an average over mirrored images, write one function and
one row. A row is a function at the top level of a module, `functools.partial` of one with its
settings as keywords, or an instance of a frozen dataclass with `__call__`. Its source and settings
are part of the key of its predictions, so that it is computed anew when it changes, and no other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from medaudit.core.layout import PLAIN

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from medaudit.model.inference import ImageModel, Images, Outputs


class Predictor(Protocol):
    """One way to make logits."""

    def __call__(
        self, model: ImageModel, images: Images, *, sample_ids: Sequence[str], seed: int
    ) -> Outputs:
        """Logits (members, m, outputs) and features (m, d) of one batch.

        Args:
            model: on its device and in evaluation mode; it is left so.
            images: uint8 (m, h, w, 3), after the corruption.
            sample_ids: of the m images; a random draw depends on (seed, sample id) alone.
            seed: of the predictions, `predict.seed`.
        """


def plain(
    model: ImageModel,
    images: Images,
    *,
    sample_ids: Sequence[str],  # noqa: ARG001
    seed: int,  # noqa: ARG001
) -> Outputs:
    """One pass without dropout: one member."""
    return model.predict(images)


PREDICTORS: Mapping[str, Predictor] = {
    PLAIN: plain,
}
