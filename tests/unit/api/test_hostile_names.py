"""Names that would be markup somewhere, and pages that cannot be made: neither loses an audit."""

from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import medaudit as ma
from medaudit.cli import app
from medaudit.core.errors import ReportError, making
from medaudit.report import figures, render
from tests.pages import check

pytestmark = pytest.mark.slow  # whole audits, with their reports

N = 240
PARAMS = {
    "intervals": {"replicates": 200},
    "calibrate": {"floor_replicates": 50},
    "slice": {"min_size": 4, "min_positives": 1},
    "report": {"privacy": "open"},
}
HOSTILE = (
    *("$5 000$", r"$\frac{$", r"$\alpha {", "$", "$$", r"\$", r"a\nb"),  # mathtext, TeX
    *("<b>bold</b>", "&amp;", "<img src=x onerror=alert(1)>", "--><b>", "]]>", "<40", "a<b & c>d"),
    "</script><script>document.title='marked'</script>",
    *("{{ 7*7 }}", "{% if %}", "%s %(x)s", "{0}", "{", "#let x = 1", "*bold* `c` @ref <lab>"),
    *("../up", "a/b", "..", "=1+1", "'", '"', "a,b;c"),
    *("שלום", "é", "e\u0301", "\N{STETHOSCOPE} lung", "Case", "case", "n" * 300),
)
KNOWN_TAGS = {
    *("html", "head", "meta", "title", "style", "body", "header", "main", "section", "nav", "h1"),
    *("h2", "h3", "p", "ul", "li", "a", "div", "table", "caption", "thead", "tbody", "tr", "th"),
    *("td", "figure", "figcaption", "img", "details", "summary", "code", "br", "span", "pre"),
    *("dl", "dt", "dd"),
}
DRAWN_TAGS = {
    *("svg", "metadata", "RDF", "Work", "type", "format", "defs", "style", "g", "path", "use"),
    *("clipPath", "rect", "image"),
}


def audited(classes, values, *, columns=("site",), conditions=("blur-1",), title="A title"):
    """An audit of made-up predictions whose names are those given."""
    generator = np.random.default_rng(0)
    truth = generator.choice(len(classes), N)
    ids = [f"case {i}" for i in range(N)]

    def stated(noise):
        odds = np.exp(
            1.5 * np.eye(len(classes))[truth] + generator.normal(0, noise, (N, len(classes)))
        )
        return pd.DataFrame(odds / odds.sum(1, keepdims=True), ids, columns=list(classes))

    metadata = pd.DataFrame(
        {
            "patient": [f"p{i // 2}" for i in range(N)],
            "split": [("val", "test", "test")[i // 2 % 3] for i in range(N)],
        },
        ids,
    )
    for number, column in enumerate(columns):
        metadata[column] = [values[(i // (number + 1)) % len(values)] for i in range(N)]
    return ma.audit(
        pd.Series(np.array(classes)[truth], ids),
        stated(1.0),
        groups="patient",
        metadata=metadata,
        roles="split",
        slices=list(columns),
        critical=classes[0],
        conditions={each: stated(2.0 + k) for k, each in enumerate(conditions)},
        title=title,
        params=PARAMS,
    )


@pytest.fixture(scope="module")
def plain():
    return audited(["bkl", "mel", "nv"], ["A", "B"])


@pytest.fixture(scope="module")
def reported(tmp_path_factory):
    """Every hostile name as value; some as class, column, condition and title."""
    out = tmp_path_factory.mktemp("hostile") / "out"
    return audited(
        [*HOSTILE[:6], HOSTILE[14], HOSTILE[7], HOSTILE[-1], "{0}", "case"],
        HOSTILE,
        columns=(r"$\alpha {", "<i>x</i>", "{0} %s"),
        conditions=("$x$-1", "../up-1", "a<b>-2", "</script><script>document.title='marked'-3"),
        title=" ".join(HOSTILE),
    ).report(out)


class TestNames:
    def test_every_figure_is_drawn_and_is_plain_xml(self, plain, reported, tmp_path):
        drawn = {path.name for path in (reported / "report/figures").iterdir()}
        usual = plain.report(tmp_path / "plain")
        assert drawn == {path.name for path in (usual / "report/figures").iterdir()}
        for path in (reported / "report/figures").iterdir():
            tree = ElementTree.fromstring(path.read_text(encoding="utf-8"))  # noqa: S314 - ours
            tags = {each.tag.rpartition("}")[2] for each in tree.iter()}
            assert tags <= DRAWN_TAGS

    def test_they_stand_in_the_page_as_they_are(self, reported):
        page = check((reported / "report/report.html").read_text(encoding="utf-8"))
        assert set(page.tags) <= KNOWN_TAGS
        for name in HOSTILE:
            assert name in page.text
        slices = pd.read_csv(reported / "plots/slice/slices.csv")["words"].unique()
        assert len(slices) > len(HOSTILE)
        for words in slices:
            assert words in page.text

    def test_the_pdf_is_made(self, reported):
        assert (reported / "report/report.pdf").read_bytes().startswith(b"%PDF")

    def test_they_name_no_file(self, plain, reported, tmp_path):
        usual = plain.report(tmp_path / "plain")
        both = [
            {path.relative_to(root).as_posix() for path in root.rglob("*")}
            for root in (usual, reported)
        ]
        assert both[0] == both[1]

    def test_figures_of_a_notebook_are_drawn_later(self, plain, tmp_path):
        hostile = audited(["$x", r"$\frac{$", "nv"], HOSTILE[:8], conditions=("$x$-1",))
        for name in ("per_class", "confusion", "threshold", "delta", "predicted", "slices"):
            getattr(hostile.plot, name)().savefig(tmp_path / f"{name}.png")


def failing(*_args, **_kwargs):
    raise RuntimeError("planted")


FAILURES = {
    "the figure slices": lambda patch: patch.setitem(figures.FIGURES, "slices", failing),
    "report.html": lambda patch: patch.setattr(render, "render_html", failing),
    "report.pdf": lambda patch: patch.setattr(render, "fitting", failing),
    "the report": lambda patch: patch.setattr(render, "read_results", failing),
}


class TestPagesThatCannotBeMade:
    @pytest.mark.parametrize("what", FAILURES)
    def test_the_numbers_are_kept(self, plain, tmp_path, monkeypatch, what):
        usual = plain.report(tmp_path / "usual")
        FAILURES[what](monkeypatch)
        with pytest.raises(ReportError) as caught:
            plain.report(tmp_path / "out")
        line = str(caught.value)
        assert line.startswith(f"{what} could not be made (RuntimeError: planted); ")
        assert f"{tmp_path / 'out'} holds all but report/" in line
        kept = {path.name: path for path in (tmp_path / "out").iterdir()}
        assert set(kept) == {path.name for path in usual.iterdir()} - {"report"}
        for path in usual.rglob("*.*"):
            where = path.relative_to(usual)
            if path.is_file() and where.parts[0] != "report":
                assert (tmp_path / "out" / where).read_bytes() == path.read_bytes()

    def test_an_interruption_leaves_nothing(self, plain, tmp_path, monkeypatch):
        def interrupted(*_args, **_kwargs):
            raise KeyboardInterrupt

        monkeypatch.setitem(figures.FIGURES, "slices", interrupted)
        with pytest.raises(KeyboardInterrupt):
            plain.report(tmp_path / "out")
        assert list(tmp_path.iterdir()) == []

    def test_the_command_says_so_in_one_line_and_fails(self, tmp_path, monkeypatch, caplog):
        generator = np.random.default_rng(0)
        truth = generator.choice(2, N)
        odds = np.exp(np.eye(2)[truth] + generator.normal(0, 1, (N, 2)))
        table = pd.DataFrame(odds / odds.sum(1, keepdims=True), columns=["a", "b"])
        table.rename_axis("image").to_csv(tmp_path / "p.csv")
        pd.DataFrame({"dx": np.array(["a", "b"])[truth]}).rename_axis("image").to_csv(
            tmp_path / "t.csv"
        )
        (tmp_path / "params.yaml").write_text(str(PARAMS).replace("'", ""))
        monkeypatch.setitem(figures.FIGURES, "per_class", failing)
        words = ["--predictions", "p.csv", "--kind", "probabilities", "--targets", "t.csv"]
        words += ["--label", "dx", "--params", "params.yaml", "--out", "out"]
        monkeypatch.chdir(tmp_path)
        done = CliRunner().invoke(app, ["audit", *words])
        assert done.exit_code == 1, done.output
        said = done.output + caplog.text
        assert "the figure per_class could not be made (RuntimeError: planted)" in said
        assert "Traceback" not in said
        assert (tmp_path / "out/metrics/evaluate.json").exists()
        assert not (tmp_path / "out/report").exists()
        again = CliRunner().invoke(app, ["audit", *words])
        assert again.exit_code == 1
        assert "exists and is not an empty folder; name another one" in again.output + caplog.text


def test_an_error_that_names_a_file_keeps_its_words():
    with pytest.raises(OSError, match="No space"), making("the figure x"):
        raise OSError(28, "No space left on device", "somewhere")
