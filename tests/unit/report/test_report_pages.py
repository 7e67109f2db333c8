"""The whole report on a made-up study: complete, self-contained, deterministic, short."""

import dataclasses
import itertools
import re
import shutil
from html.parser import HTMLParser

import pytest
import synthetic_results
from matplotlib.backends.backend_agg import FigureCanvasAgg

from medaudit.core import runner
from medaudit.core.errors import DataError
from medaudit.core.layout import MEASURING_STAGES
from medaudit.core.privacy import Privacy
from medaudit.report import checklist, comparisons, figures, render, results, style
from medaudit.report.blocks import Context, ReportParams
from medaudit.report.reproduction import Commit
from medaudit.report.sections import stress
from tests.pages import check

COMMIT = Commit("0123456789abcdef", dirty=True)
MEGABYTE = 2**20


def context_of(root, **params):
    return Context(
        results=results.read_results(root),
        params=ReportParams(title="Test <report>", **params),
        checklist=checklist.read(root / "report/deployment_checklist.yaml"),
        commit=COMMIT,
        source="made here",
    )


@pytest.fixture(scope="module")
def drawn(study, tmp_path_factory):
    return figures.draw_all(results.read_results(study), tmp_path_factory.mktemp("figures"))


@pytest.fixture(scope="module")
def report(study, drawn):
    return render.build(context_of(study), drawn=drawn)


@pytest.fixture(scope="module")
def page(report, study, drawn):
    return render.render_html(report, figures=drawn, pictures=study / "artifacts/cases")


def set_pdf(report, root, drawn, path):
    render.write_pdf(report, path, figures=drawn, pictures=root / "artifacts/cases")
    return path.read_bytes()


def n_pages(report, root, drawn, room):
    room.mkdir()
    render.furnish(room, report, figures=drawn, pictures=root / "artifacts/cases")
    return render.pages(render.fitting(room))


class TestFigures:
    def test_every_figure_is_drawn(self, drawn):
        assert set(drawn) == set(figures.FIGURES)

    def test_same_evidence_same_bytes(self, found, drawn, tmp_path):
        again = figures.draw_all(found, tmp_path)
        assert all(again[name].read_bytes() == drawn[name].read_bytes() for name in drawn)

    def test_no_date_and_no_font_is_left_in_them(self, drawn):
        text = "".join(path.read_text() for path in drawn.values())
        assert "dc:date" not in text
        assert "<text" not in text


def points(ax):
    """Colour and face of every drawn point."""
    return [
        (line.get_color(), line.get_markerfacecolor())
        for line in ax.lines
        if line.get_marker() == "o"
    ]


class TestChartsOfComparisons:
    """Orange only for harm that is shown, hollow for what is undecided; n is the denominator."""

    @pytest.mark.parametrize(
        ("draw", "stage"),
        [(figures.stress.delta_figure, "stress"), (figures.stress.slices_figure, "slice")],
    )
    def test_colours_are_verdicts(self, found, draw, stage):
        drawn = draw(found)
        metrics = comparisons.leading(found, stage)
        for ax, metric in zip(drawn.axes, metrics, strict=False):
            counted = comparisons.tally(
                each for each in comparisons.compared(found, stage, metric) if each.defined
            )
            colours = points(ax)
            orange = [face for colour, face in colours if colour == style.ORANGE]
            hollow = [colour for colour, face in colours if face == "white"]
            assert orange == [style.ORANGE] * counted["worse"]
            assert hollow == [style.GREY] * (counted["undecided"] + counted[""])
            assert len(colours) == sum(counted.values())

    def test_both_rates_stand_side_by_side_with_their_own_n(self, found):
        titles = [ax.get_title() for ax in figures.stress.delta_figure(found).axes]
        assert titles[:2] == ["Sensitivity of mel (n=59)", "Specificity of mel (n=226)"]

    @pytest.mark.parametrize("repeat", [1, 3])
    def test_no_name_of_a_slice_is_cut(self, found, repeat):
        table = found.table("slice", "slices").copy()
        long = "second-lowest quarter by distance of the lesion from the middle (0.0967 to 0.132)"
        table["words"] = table["words"] + " and " + " and ".join([long] * repeat)
        series = {**found.series, "slice": {**found.series["slice"], "slices": table}}
        with style.styled():
            drawn = figures.stress.slices_figure(dataclasses.replace(found, series=series))
            FigureCanvasAgg(drawn).draw()
            labels = drawn.axes[0].get_yticklabels()
            boxes = [each.get_window_extent() for each in labels]
        assert all(box.x0 >= 0 for box in boxes)
        assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))
        told = {each.get_text().replace("\n", " ").partition(" (n=")[0] for each in labels}
        assert told <= {f"* {words}" for words in table["words"]} | set(table["words"])

    def test_rows_have_one_order_with_shown_harm_first(self, found):
        measured = [
            comparisons.of_slices(found, name) for name in comparisons.leading(found, "slice")
        ]
        order = figures.stress.ordered_slices(measured)
        family = {each.name: each.family for each in measured[0]}
        ranks = [figures.stress.FAMILIES.index(family[name]) for name in order]
        assert ranks == sorted(ranks)


class TestHtml:
    def test_nothing_is_loaded_from_elsewhere(self, page):
        addresses = re.findall(r"""(?:src|href)=["']([^"']{0,40})""", page)
        assert addresses
        assert all(each.startswith(("data:", "#")) for each in addresses)
        assert "url(" not in page
        assert "<script" not in page

    def test_a_policy_forbids_scripts_and_the_network(self, page):
        check(page)

    def test_it_is_well_formed(self, page):
        open_tags = []

        class Reader(HTMLParser):
            def handle_starttag(self, tag, attrs):
                if tag not in ("meta", "img", "br"):
                    open_tags.append(tag)

            def handle_endtag(self, tag):
                assert open_tags.pop() == tag

        Reader().feed(page)
        assert open_tags == []

    def test_titles_are_escaped(self, page):
        assert "Test &lt;report&gt;" in page
        assert "<report>" not in page

    def test_size(self, page):
        assert len(page) < 3 * MEGABYTE

    def test_all_eight_sections_cases_and_the_warning(self, page, found):
        assert [int(n) for n in re.findall(r'<section id="s(\d)">', page)] == list(range(1, 9))
        assert page.count('<article class="case">') == len(found.cases)
        assert "Not for clinical use" in page
        assert "0123456789ab with uncommitted changes" in page

    def test_every_image_has_words_for_those_who_cannot_see_it(self, page):
        tags = re.findall(r"<img [^>]*>", page)
        assert all(re.search(r'alt="[^"]+"', re.sub(r'src="[^"]*"', "", tag)) for tag in tags)

    def test_undefined_is_said_and_never_nan(self, page):
        words = re.sub(r'src="[^"]*"', "", page)
        assert not re.search(r"\bnan\b", words)

    def test_withheld_images_are_nowhere(self, study, drawn):
        report = render.build(context_of(study, case_images="withhold"), drawn=drawn)
        page = render.render_html(report, figures=drawn, pictures=study / "artifacts/cases")
        assert "image/png" not in page
        assert "Images are withheld" in page

    def test_green_is_for_what_is_met(self, page):
        used = set(re.findall(r"\.([a-z-]+) \{ color: var\(--good\)", page))
        assert used == {"met"}
        assert page.count("var(--good)") == 1

    def test_no_number_is_called_optimistic_and_no_trend_has_a_p_value(self, page):
        assert "optimistic" not in page
        assert "Kendall" not in page


class TestPdf:
    def test_at_most_six_pages_and_the_same_bytes_twice(self, report, study, drawn, tmp_path):
        first = set_pdf(report, study, drawn, tmp_path / "a.pdf")
        assert first.startswith(b"%PDF")
        assert first == set_pdf(report, study, drawn, tmp_path / "b.pdf")
        assert 2 <= n_pages(report, study, drawn, tmp_path / "room") <= render.MOST_PAGES

    @pytest.mark.slow
    def test_a_report_that_cannot_fit_is_refused(self, report, study, drawn, tmp_path):
        section = report["sections"][5]
        long = {**section, "blocks": section["blocks"] * 20}
        sections = [long if each is section else each for each in report["sections"]]
        with pytest.raises(DataError, match="does not fit 6 pages"):
            set_pdf({**report, "sections": sections}, study, drawn, tmp_path / "a.pdf")
        assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "options", [{"large": True}, {"critical": False}, {"large": True, "n_labels": 14}]
)
def test_large_and_uncritical_studies_are_set_as_well(options, tmp_path):
    root = synthetic_results.write_results(tmp_path / "study", **options)
    drawn = figures.draw_all(results.read_results(root), tmp_path / "figures")
    report = render.build(context_of(root), drawn=drawn)
    page = render.render_html(report, figures=drawn, pictures=root / "artifacts/cases")
    assert "of None" not in page
    assert n_pages(report, root, drawn, tmp_path / "room") <= render.MOST_PAGES


class TestEvidence:
    @pytest.mark.parametrize(
        ("missing", "stage"),
        [
            ("metrics/stress.json", "stress"),
            ("plots/slice/slices.csv", "slice"),
            ("artifacts/cases/cases.json", "cases"),
            ("artifacts/operating_points.json", "evaluate"),
            ("artifacts/prepared/manifest.parquet", "prepare"),
            ("artifacts/model/model.json", "train"),
        ],
    )
    def test_a_missing_file_names_the_stage_to_run(self, study, tmp_path, missing, stage):
        root = tmp_path / "copy"
        shutil.copytree(study, root)
        (root / missing).unlink()
        with pytest.raises(DataError, match=f"run the {stage} stage"):
            results.read_results(root)

    @pytest.mark.parametrize(
        ("held", "words"),
        [
            (b"", "lacks the columns slice, words"),
            (b"metric,gap,p_holm\n", "lacks the columns slice, "),
            (b"slice\n\xff\n", "not a readable table"),
            (b'slice\n"open', "not a readable table"),
        ],
    )
    def test_a_damaged_table_names_file_and_stage(self, study, tmp_path, held, words):
        root = tmp_path / "copy"
        shutil.copytree(study, root)
        (root / "plots/slice/slices.csv").write_bytes(held)
        with pytest.raises(DataError, match=rf"slices\.csv: {words}.*run the slice stage again"):
            results.read_results(root)

    def test_a_study_whose_slices_were_all_refused_is_set_as_well(self, study, tmp_path):
        root = tmp_path / "copy"
        shutil.copytree(study, root)
        path = root / "plots/slice/slices.csv"
        path.write_text(path.read_text().splitlines()[0] + "\n")
        drawn = figures.draw_all(results.read_results(root), tmp_path / "figures")
        assert set(figures.FIGURES) - set(drawn) == {"slices"}
        assert stress.slice_caption(results.read_results(root)) == "Every slice was refused."
        page = render.render_html(
            render.build(context_of(root), drawn=drawn),
            figures=drawn,
            pictures=root / "artifacts/cases",
        )
        assert "Refused slices or measures" in page

    def test_words_that_look_like_gaps_stay_words(self, study, tmp_path):
        root = tmp_path / "copy"
        shutil.copytree(study, root)
        path = root / "plots/prepare/missing.csv"
        path.write_text("column,missing,unknown\nNA,1,0\nNone,0,\n")
        table = results.read_results(root).table("prepare", "missing")
        assert table["column"].tolist() == ["NA", "None"]
        assert table["unknown"].isna().tolist() == [False, True]

    def test_leaks_are_found_in_the_manifest(self, found):
        assert found.groups_in_two_roles == ()


@pytest.mark.parametrize(
    ("what", "place", "name"),
    [
        ("the figure delta", figures.FIGURES, "delta"),
        ("report.html", render, "render_html"),
        ("report.pdf", render, "fitting"),
    ],
)
def test_a_page_that_cannot_be_made_is_named_and_costs_no_number(
    study, tmp_path, monkeypatch, what, place, name
):
    """So the report stage ends; DVC keeps what earlier stages wrote."""

    def failing(*_args, **_kwargs):
        raise ValueError("two\nlines")

    patch = monkeypatch.setitem if isinstance(place, dict) else monkeypatch.setattr
    patch(place, name, failing)
    before = {path: path.read_bytes() for path in study.rglob("*.*") if path.is_file()}
    params = ReportParams(title="A")

    def stage():
        how = {"params": params, "privacy": Privacy("open"), "source": "here"}
        render.report(study, tmp_path, stages=MEASURING_STAGES, **how)

    code, line = runner.outcome(stage)
    assert code == 1
    assert line == (
        f"{what} could not be made (ValueError: two\\nlines); metrics/ and plots/ hold every number"
    )
    assert {path: path.read_bytes() for path in study.rglob("*.*") if path.is_file()} == before
