"""Section 2: how the model, its data, its evaluation and its use fail, with evidence for each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from medaudit.core.privacy import parted
from medaudit.report import formatting, narrative
from medaudit.report.blocks import Block, details, figure, gallery, table, text
from medaudit.report.blocks import section as part
from medaudit.report.formatting import count, real

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from medaudit.report.blocks import Context
    from medaudit.report.results import Results

PRODUCT = (
    " The stated probability of an answer is the product over labels of the probability of what is "
    "said about each."
)
BUCKETS = {
    "data": "Data",
    "model": "Model",
    "evaluation": "Evaluation",
    "human": "People",
}
COLUMNS = ("where", "mode", "what counts", "share (interval)", "measured by", "examples")
UNMEASURED = "not measurable here"
MODES = ("mode", "definition", "n", "groups", "share (interval)")
CHARACTER = 0.13  # of a heading, in the unit of the widths
ALIGN, WIDTHS = "llrrr", (2.0, 4.6, 0.6, 0.8, 1.9)


def section(context: Context) -> Block | None:
    """The four buckets; then the modes that every test image falls into, and galleries."""
    results = context.results
    if not results.rows("cases", "taxonomy"):
        return None
    return part(
        "Failure taxonomy",
        text(
            f"Failures begin in four places. Brackets hold {context.level} intervals of a "
            f"bootstrap over groups (of Wilson for controls); a count of the data set has none."
        ),
        *buckets(results),
        figure(
            "outcome_statistics",
            "Image statistics of right and of wrong calls: where the lines part, errors follow "
            "the statistic.",
        ),
        details("Every failure mode with its definition and examples", every_mode(results)),
        details("The way in which every test image comes out", explained(context), modes(results)),
        *galleries(context),
    )


def buckets(results: Results) -> Iterator[Block]:
    """The modes that were measured with their shares, and the names of the others."""
    rows = results.rows("cases", "failure_modes")
    known = [row for row in rows if str(row["stage"]) != UNMEASURED]
    others = [formatting.words(str(row["mode"])) for row in rows if row not in known]
    cells = [
        (bucket, f"{formatting.words(str(row['mode']))}: {row['definition']}", share(row))
        for bucket, row in zip(places(known), known, strict=True)
    ]
    caption = "Failure modes by where they begin"
    note = f"Not measurable here: {', '.join(others)}." if others else ""
    heads = ("where", "mode: what counts", "share (interval)")
    yield table(caption, heads, cells, align="lll", widths=(0.9, 6.6, 4.1), note=note)


def places(rows: list[dict[str, Any]]) -> list[str]:
    """Where modes begin, each said once."""
    names = [BUCKETS[str(row["bucket"])] for row in rows]
    return [
        name if i == 0 or name != before else ""
        for i, (name, before) in enumerate(zip(names, ["", *names], strict=False))
    ]


def every_mode(results: Results) -> Block:
    """Every mode with its share, who measured it, and examples."""
    rows = results.rows("cases", "failure_modes")
    cells = [
        (
            bucket,
            formatting.words(str(row["mode"])),
            str(row["definition"]),
            share(row),
            str(row["stage"]),
            examples(row),
        )
        for bucket, row in zip(places(rows), rows, strict=True)
    ]
    caption = "Every failure mode by where it begins"
    return table(caption, COLUMNS, cells, align="llllll", widths=BUCKET_WIDTHS)


BUCKET_WIDTHS = (1.0, 1.6, 4.2, 2.3, 1.3, 1.6)


def share(row: dict[str, Any]) -> str:
    """Count, total and share with its interval, as far as there are."""
    n, n_of = real(row["n"]), real(row["n_of"])
    if not n >= 0:
        return ""
    if not n_of > 0:
        return count(n)
    known = real(row["share_low"]) >= 0
    ends = f" ({percents(row['share_low'])} to {percents(row['share_high'])} %)" if known else ""
    return f"{count(n)} of {count(n_of)} {row['of']}: {percents(row['share'])} %{ends}"


def percents(value: object) -> str:
    """A share in per cent, one decimal."""
    return f"{100 * real(value):.1f}"


def examples(row: dict[str, Any]) -> str:
    """Ids of examples, if there are any."""
    found = row["example_ids"]
    return ", ".join(parted(found)) if isinstance(found, str) else ""


def explained(context: Context) -> Block:
    """What the modes are shares of, and what counts as right and as flagged."""
    results = context.results
    total = sum(int(row["n"]) for row in results.rows("cases", "taxonomy"))
    right = (
        "" if results.exclusive else f" Right is an image with no label called wrongly.{PRODUCT}"
    )
    flagged = (
        f" “Flagged” counts the images that the frozen threshold would flag as "
        f"{results.critical} whatever is called."
        if results.critical and results.exclusive
        else ""
    )
    return text(f"Every one of {count(total)} test images falls into one mode.{right}{flagged}")


def modes(results: Results) -> Block:
    """The modes that exclude each other and sum to all test images."""
    critical = results.critical
    rows = [
        (
            formatting.words(str(row["mode"])),
            str(row["definition"]),
            count(row["n"]),
            count(row["n_groups"]),
            narrative.mode(row),
            *((count(row["n_critical"]), count(row["n_flagged"])) if critical else ()),
        )
        for row in results.rows("cases", "taxonomy")
    ]
    more = (critical, "flagged") if critical else ()
    return table(
        "Failure modes of the test role",
        (*MODES, *more),
        rows,
        align=ALIGN + "r" * len(more),
        widths=(*WIDTHS, *((max(0.6, CHARACTER * len(critical)), 0.9) if critical else ())),
    )


def galleries(context: Context) -> Iterator[Block]:
    """Strips of images, folded; none in a copy that must not hold images."""
    found = context.results.case_study.get("galleries", [])
    if not found:
        return
    if context.withheld:
        yield text("Images of examples are withheld in this copy.")
        return
    strips = [
        gallery(each["file"], each["title"], captions(each["sample_ids"], each["captions"]))
        for each in found
    ]
    yield details("Images: worst errors by class, examples, doubtful labels", *strips)


def captions(sample_ids: list[str], words: list[str]) -> list[str]:
    """Below each image its id and what is said of it."""
    return [
        f"{name}: {each}" if each else name for name, each in zip(sample_ids, words, strict=True)
    ]
