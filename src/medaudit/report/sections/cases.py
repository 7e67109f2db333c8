"""Section 6: single cases with the evidence about their causes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from medaudit.report import formatting
from medaudit.report.blocks import Block, details, table, text
from medaudit.report.blocks import section as part
from medaudit.report.formatting import plain, real
from medaudit.report.sections.taxonomy import PRODUCT

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from medaudit.report.blocks import Context
    from medaudit.report.results import Results

IMAGES = {
    "image": "clean image",
    "corrupted": "{condition}",
    "counterfactual": "after the cited edit",
    "cam_predicted": "Grad-CAM, {predicted}",
    "cam_true": "Grad-CAM, {truth}",
}
FOCUS = {
    "lesion_share": "the {region} covers a share of the image of",
    "cam_predicted_energy": "of the Grad-CAM of the call, the share on the {region} is",
    "cam_true_energy": "of that of the truth",
}
HIGHEST = 3
UNTOLD = (
    "Single images are not spoken of here, since report.privacy is aggregate. The explained cases, "
    "with images and evidence, stand in artifacts/cases and artifacts/whole/cases of the run."
)
BETWEEN, NOTHING = " + ", "(none)"
"""How several labels of one image are joined, and what stands where there is none."""


def section(context: Context) -> Block | None:
    """Every case as a block of its own."""
    results = context.results
    if "cases" not in results.stages:
        return None
    if results.aggregate:
        return part("Cases", text(UNTOLD))
    found = results.cases
    withheld = bool(context.withheld)
    note = f" {context.withheld}" if withheld else ""
    controls = results.case_study.get("n_controls", {})
    against = " and ".join(f"{n} {kind}" for kind, n in controls.items())
    return part(
        "Cases",
        text(
            f"A cause is named where an experiment speaks for it: undoing it turned this very "
            f"prediction and few of the controls ({against} predictions), or right images that are "
            f"given this image's property turn wrong. Neighbours, slices and doubts about the "
            f"label are associations. {maps(results)}"
            f"{stated(results)}{note}"
        ),
        *(
            {
                **case(
                    entry, withheld=withheld, region=region(results), thresholds=thresholds(results)
                ),
                "facts": facts(entry, sliced(results)),
            }
            for entry in found
        ),
    )


def maps(results: Results) -> str:
    """What Grad-CAM is worth, or why there is none."""
    drawn = [any(name.startswith("cam_") for name in entry["images"]) for entry in results.cases]
    if results.exported:
        return "There is no Grad-CAM: the layers of an exported model are out of reach."
    if not any(drawn):
        return "There is no Grad-CAM: none could be made for this model."
    some = "" if all(drawn) else " Where it is missing, it could not be made."
    return f"Grad-CAM is an illustration, not evidence.{some}"


def stated(results: Results) -> str:
    """What the probability of an answer is, where it speaks about several labels."""
    return "" if results.exclusive else PRODUCT


def thresholds(results: Results) -> dict[str, float]:
    """The frozen thresholds by which labels are called; none where the most probable class is."""
    points = results.points
    return {} if results.exclusive else dict(zip(points.classes, points.thresholds, strict=True))


def region(results: Results) -> str:
    """What masks mark: lesions where the data are lesions."""
    return "lesion" if "lesion" in results.preparation.group_meaning else "masked region"


def case(
    entry: Mapping[str, Any], *, withheld: bool, region: str, thresholds: Mapping[str, float]
) -> Block:
    """One case."""
    condition = formatting.condition(str(entry["condition"]))
    return {
        "kind": "case",
        "title": f"{entry['number']}. {formatting.words(str(entry['kind'])).capitalize()}",
        "id": entry["sample_id"],
        "verdict": (
            f"true {labels(entry['truth'])}, called {labels(entry['predicted'])} ({condition})"
        ),
        "right": entry["truth"] == entry["predicted"],
        "images": [] if withheld else list(images(entry)),
        "probabilities": list(probabilities(entry, thresholds)),
        "lines": [{"label": name, "text": words} for name, words in lines(entry, region)],
        "blocks": [
            details(
                "All evidence about this case",
                *([properties_table(entry)] if entry.get("properties") else []),
                evidence_table(entry),
            )
        ],
    }


def labels(labels_of_image: str) -> str:
    """All labels of an image in words."""
    return "nothing" if labels_of_image == NOTHING else labels_of_image


def evidence_table(entry: Mapping[str, Any]) -> Block:
    """What every intervention did to the prediction, and what that is worth."""
    rows = [
        (
            str(row["intervention"]),
            str(row["kind"]),
            f"{labels(row['predicted_before'])} to {labels(row['predicted_after'])}",
            f"{plain(real(row['p_true_before']), 2)} to {plain(real(row['p_true_after']), 2)}",
            "yes" if row["turned"] else "no",
            worth(row),
            "yes" if row["specific"] else "no",
        )
        for row in entry["evidence"]
    ]
    single = entry["truth"] in entry["probabilities"]
    followed = f"P({entry['truth']})" if single else "P"
    columns = ("intervention", "kind", "call", followed, "turned", "base rate")
    caption = "Base rate: how often it does as much to controls (Wilson interval)"
    if not single:
        caption += "; P: probability of the true label, or of the most probable one if none is true"
    return table(caption, (*columns, "specific"), rows, align="lllrrrr")


def worth(row: Mapping[str, Any]) -> str:
    """The base rate with its interval."""
    value, *ends = (
        plain(real(row[name]), 2) for name in ("base_rate", "base_rate_low", "base_rate_high")
    )
    return f"{value} ({' to '.join(ends)})" if row["n_controls"] else value


def images(entry: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    """Pictures in the order in which they are read, with what they show."""
    names = {"condition": formatting.condition(str(entry["condition"]))}
    known = entry["probabilities"]
    truth, call = str(entry["truth"]), str(entry["predicted"])
    names |= {
        "truth": f"true {truth}" if truth in known else str(entry["focus_truth"]),
        "predicted": f"called {call}" if call in known else str(entry["focus_predicted"]),
    }
    same = {"cam_true"} if entry["focus_truth"] == entry["focus_predicted"] else set()
    for what, caption in IMAGES.items():
        if what in entry["images"] and what not in same:
            yield {"file": entry["images"][what], "label": caption.format(**names)}


def probabilities(
    entry: Mapping[str, Any], thresholds: Mapping[str, float]
) -> Iterator[dict[str, Any]]:
    """The highest probabilities, and those of all that is true, with thresholds if they call."""
    true = str(entry["truth"]).split(BETWEEN)
    ranked = sorted(entry["probabilities"].items(), key=lambda item: -real(item[1]))
    shown = ranked[:HIGHEST]
    shown += [each for each in ranked[HIGHEST:] if each[0] in true]
    for name, value in shown:
        yield {
            "class": name,
            "value": printed(real(value), thresholds.get(name)),
            "width": round(100 * real(value), 1),
            "truth": name in true,
        }


def printed(value: float, threshold: float | None) -> str:
    """A probability, beside the threshold above which it is called."""
    return (
        plain(value, 2) if threshold is None else f"{plain(value)} (threshold {plain(threshold)})"
    )


def sliced(results: Results) -> set[str]:
    """Columns that slices are made of."""
    found = results.params.get("slice") or {}
    return {*found.get("columns", ()), *found.get("quantiles", ())}


def facts(entry: Mapping[str, Any], columns: Collection[str] = ()) -> str:
    """Group and slice columns on one line; all that is known where no column is sliced."""
    known = {name: value for name, value in entry["facts"].items() if value is not None}
    known = {name: value for name, value in known.items() if name in columns} or known
    words = [f"{formatting.words(name)} {shown(value)}" for name, value in known.items()]
    return " · ".join([f"group {entry['group_id']}", *words])


def shown(value: object) -> str:
    """A fact as it is printed."""
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def lines(entry: Mapping[str, Any], region: str) -> Iterator[tuple[str, str]]:
    """Why it was chosen, what the evidence says, what to do, what stays."""
    found = entry["diagnosis"]
    yield "Chosen", sentence(entry["reason"])
    yield "Evidence", found["statement"]
    near = entry.get("context", {}).get("nearest", [])
    if near:
        yield "Nearest training images", f"{', '.join(map(neighbour, near))}."
    focus = [
        f"{FOCUS.get(name, formatting.words(name)).format(region=region)} {plain(real(value), 2)}"
        for name, value in entry["focus"].items()
        if value is not None
    ]
    if focus:
        yield "Where it looks", sentence("; ".join(focus))
    if found["mitigations"]:
        yield "Mitigation", joined(found["mitigations"])
    if found["residual_risks"]:
        yield "Residual risk", joined(found["residual_risks"])


def neighbour(found: Mapping[str, Any]) -> str:
    """One of the nearest training images."""
    return f"{found['truth']} ({found['sample_id']}, distance {plain(real(found['distance']), 2)})"


def properties_table(entry: Mapping[str, Any]) -> Block:
    """What the case's properties did to right images."""
    rows = [
        (
            str(row["words"]),
            str(row["n"]),
            str(row["n_turned"]),
            str(row["n_turned_other"]),
            formatting.p_value(real(row["p_holm"])),
            "yes" if row["shown"] else "no",
        )
        for row in entry.get("properties", [])
    ]
    columns = ("property", "right images", "turned", "turned by another's", "p (Holm)", "shown")
    return table("Given to right images, beside the property of another right image", columns, rows)


def joined(parts: list[str]) -> str:
    """Sentences one after the other."""
    return " ".join(sentence(each) for each in parts)


def sentence(words: str) -> str:
    """With a capital and a full stop."""
    return f"{words[:1].upper()}{words[1:]}{'' if words.endswith('.') else '.'}"
