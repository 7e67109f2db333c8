"""What each class looks like: one table of traits, each with a chance to be there and a range.

The ranges overlap on purpose: a real diagnosis is a bundle of weak signs, and some lesions
(`ATYPICAL_SHARE`) borrow half of their traits from a class that they are often taken for.
"""

from dataclasses import dataclass, fields
from typing import NamedTuple

import numpy as np

CLASSES = ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")

ATYPICAL_SHARE = 0.04

LOOKALIKES: dict[str, tuple[str, ...]] = {
    "akiec": ("bkl", "bcc"),
    "bcc": ("akiec", "vasc", "nv"),
    "bkl": ("mel", "nv", "akiec"),
    "df": ("nv", "bcc"),
    "mel": ("nv", "bkl"),
    "nv": ("mel", "df", "bkl"),
    "vasc": ("bcc", "mel"),
}


class Chance(NamedTuple):
    """A trait is present with probability `p`, then uniform on [low, high]; absent is 0."""

    p: float
    low: float
    high: float

    def draw(self, rng: np.random.Generator) -> float:
        """One value; always takes two numbers off the stream, so that traits stay independent."""
        present, value = rng.random() < self.p, rng.uniform(self.low, self.high)
        return float(value) if present else 0.0


ABSENT = Chance(0.0, 0.0, 0.0)


def always(low: float, high: float) -> Chance:
    """A trait that every lesion of the class has."""
    return Chance(1.0, low, high)


@dataclass(frozen=True)
class Traits:
    """One lesion: lengths in pixels of the canvas, the rest in relative amounts."""

    radius: float
    elongation: float
    lobes: float
    jag: float
    softness: float
    asymmetry: float
    brown: float
    variegation: float
    hue: float
    red: float
    erythema: float
    network: float
    irregularity: float
    globules: float
    streaks: float
    blotch: float
    veil: float
    regression: float
    cysts: float
    comedones: float
    ridges: float
    nests: float
    vessels: float
    dotted: float
    crust: float
    scale: float
    lacunae: float
    patch: float


@dataclass(frozen=True)
class Recipe:
    """The distribution of `Traits` in a class, trait by trait."""

    radius: Chance
    elongation: Chance
    lobes: Chance
    jag: Chance
    softness: Chance
    asymmetry: Chance
    brown: Chance
    variegation: Chance
    hue: Chance
    red: Chance
    irregularity: Chance
    erythema: Chance = ABSENT
    network: Chance = ABSENT
    globules: Chance = ABSENT
    streaks: Chance = ABSENT
    blotch: Chance = ABSENT
    veil: Chance = ABSENT
    regression: Chance = ABSENT
    cysts: Chance = ABSENT
    comedones: Chance = ABSENT
    ridges: Chance = ABSENT
    nests: Chance = ABSENT
    vessels: Chance = ABSENT
    dotted: Chance = ABSENT
    crust: Chance = ABSENT
    scale: Chance = ABSENT
    lacunae: Chance = ABSENT
    patch: Chance = ABSENT


RECIPES: dict[str, Recipe] = {
    "akiec": Recipe(
        radius=always(44, 105),
        elongation=always(1.0, 1.6),
        lobes=always(0.06, 0.22),
        jag=always(0.15, 0.4),
        softness=always(0.15, 0.45),
        asymmetry=always(0.1, 0.6),
        brown=Chance(0.7, 0.05, 0.5),
        variegation=always(0.2, 0.7),
        hue=always(-0.3, 0.9),
        red=always(0.15, 0.6),
        irregularity=always(0.1, 0.3),
        erythema=Chance(0.6, 0.1, 0.4),
        network=Chance(0.15, 0.1, 0.3),
        dotted=Chance(0.6, 0.3, 0.8),
        crust=Chance(0.25, 0.3, 0.8),
        scale=Chance(0.85, 0.3, 0.9),
        ridges=Chance(0.1, 0.2, 0.5),
    ),
    "bcc": Recipe(
        radius=always(34, 92),
        elongation=always(1.0, 1.5),
        lobes=always(0.04, 0.2),
        jag=always(0.05, 0.25),
        softness=always(0.08, 0.35),
        asymmetry=always(0.1, 0.7),
        brown=Chance(0.6, 0.05, 0.5),
        variegation=always(0.1, 0.5),
        hue=always(-0.7, 0.6),
        red=always(0.08, 0.45),
        irregularity=always(0.2, 0.4),
        erythema=Chance(0.3, 0.05, 0.25),
        nests=Chance(0.8, 0.4, 1.0),
        vessels=Chance(0.85, 0.5, 1.1),
        crust=Chance(0.25, 0.3, 0.8),
        regression=Chance(0.25, 0.2, 0.5),
        globules=Chance(0.1, 0.2, 0.5),
    ),
    "bkl": Recipe(
        radius=always(36, 108),
        elongation=always(1.0, 1.7),
        lobes=always(0.05, 0.2),
        jag=always(0.05, 0.22),
        softness=always(0.03, 0.15),
        asymmetry=always(0.0, 0.6),
        brown=always(0.25, 1.3),
        variegation=always(0.1, 0.5),
        hue=always(-0.6, 0.9),
        red=Chance(0.6, 0.02, 0.25),
        irregularity=always(0.1, 0.4),
        network=Chance(0.2, 0.2, 0.6),
        globules=Chance(0.15, 0.2, 0.6),
        cysts=Chance(0.8, 0.35, 1.0),
        comedones=Chance(0.65, 0.35, 1.0),
        ridges=Chance(0.7, 0.4, 1.0),
        scale=Chance(0.2, 0.2, 0.5),
        blotch=Chance(0.1, 0.3, 0.6),
        erythema=Chance(0.15, 0.05, 0.2),
    ),
    "df": Recipe(
        radius=always(32, 84),
        elongation=always(1.0, 1.35),
        lobes=always(0.02, 0.12),
        jag=always(0.05, 0.2),
        softness=always(0.18, 0.5),
        asymmetry=always(0.0, 0.3),
        brown=always(0.2, 0.8),
        variegation=always(0.05, 0.3),
        hue=always(-0.5, 0.7),
        red=always(0.05, 0.4),
        irregularity=always(0.1, 0.3),
        network=Chance(0.65, 0.15, 0.5),
        patch=Chance(0.95, 0.45, 0.95),
        erythema=Chance(0.3, 0.05, 0.25),
        dotted=Chance(0.1, 0.2, 0.5),
    ),
    "mel": Recipe(
        radius=always(38, 118),
        elongation=always(1.0, 1.7),
        lobes=always(0.06, 0.26),
        jag=always(0.07, 0.32),
        softness=always(0.04, 0.25),
        asymmetry=always(0.15, 1.0),
        brown=always(0.45, 1.8),
        variegation=always(0.2, 0.75),
        hue=always(-0.9, 0.6),
        red=Chance(0.7, 0.05, 0.45),
        irregularity=always(0.2, 0.5),
        erythema=Chance(0.2, 0.05, 0.25),
        network=Chance(0.55, 0.3, 0.9),
        globules=Chance(0.35, 0.3, 0.9),
        streaks=Chance(0.3, 0.4, 1.0),
        blotch=Chance(0.45, 0.3, 1.0),
        veil=Chance(0.4, 0.3, 0.9),
        regression=Chance(0.25, 0.2, 0.6),
        dotted=Chance(0.2, 0.2, 0.6),
    ),
    "nv": Recipe(
        radius=always(28, 98),
        elongation=always(1.0, 1.6),
        lobes=always(0.02, 0.16),
        jag=always(0.03, 0.2),
        softness=always(0.05, 0.42),
        asymmetry=always(0.0, 0.5),
        brown=always(0.35, 1.6),
        variegation=always(0.05, 0.45),
        hue=always(-0.7, 0.8),
        red=Chance(0.7, 0.05, 0.4),
        irregularity=always(0.08, 0.35),
        network=Chance(0.55, 0.25, 0.9),
        globules=Chance(0.35, 0.3, 0.9),
        streaks=Chance(0.05, 0.3, 0.7),
        blotch=Chance(0.12, 0.2, 0.6),
        veil=Chance(0.03, 0.2, 0.5),
        regression=Chance(0.05, 0.1, 0.3),
        cysts=Chance(0.03, 0.2, 0.5),
        erythema=Chance(0.15, 0.05, 0.2),
    ),
    "vasc": Recipe(
        radius=always(28, 86),
        elongation=always(1.0, 1.5),
        lobes=always(0.03, 0.18),
        jag=always(0.03, 0.18),
        softness=always(0.04, 0.25),
        asymmetry=always(0.0, 0.5),
        brown=Chance(0.35, 0.05, 0.3),
        variegation=always(0.1, 0.5),
        hue=always(-0.5, 0.5),
        red=always(0.2, 0.9),
        irregularity=always(0.1, 0.3),
        erythema=Chance(0.3, 0.05, 0.3),
        lacunae=Chance(0.95, 0.4, 1.0),
        crust=Chance(0.12, 0.3, 0.6),
        regression=Chance(0.2, 0.1, 0.4),
    ),
}


def draw_traits(dx: str, rng: np.random.Generator) -> Traits:
    """Traits of a lesion of class `dx`; an atypical one takes half of them from a look-alike."""
    atypical = rng.random() < ATYPICAL_SHARE
    double = RECIPES[str(rng.choice(LOOKALIKES[dx]))]
    values: dict[str, float] = {}
    for trait in fields(Traits):
        borrowed = rng.random() < 0.5
        recipe = double if atypical and borrowed else RECIPES[dx]
        chance: Chance = getattr(recipe, trait.name)
        values[trait.name] = chance.draw(rng)
    return Traits(**values)
