"""A procedural dermoscopy data set with planted failures, in the layout of HAM10000.

No pixel comes from a patient. Lesions are drawn from a table of traits per class (`recipes`),
shaded by pigments that absorb light (`skin`), photographed by four sources (`sources`) and dirtied
by hair, rulers, ink and gel bubbles (`artefacts`). What an audit must find is planted on purpose
(`plants`) and recorded in `planted.json` beside the images.
"""

from medaudit.data.phantom.generate import generate

__all__ = ["generate"]
