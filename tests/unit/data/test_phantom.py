import io
import re
from pathlib import Path
from typing import Any

import imagehash
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from medaudit.core.errors import DataError
from medaudit.core.files import read_json
from medaudit.data.splits import assign_roles
from tools.phantom import generate
from tools.phantom.injected_failures import INJECTED
from tools.phantom.photograph import render
from tools.phantom.plan import MIN_IMAGES, MIN_LESIONS, plan
from tools.phantom.sources import SOURCES
from tools.phantom.traits import CLASSES, RECIPES

OF_HAM10000 = ["lesion_id", "image_id", "dx", "dx_type", "age", "sex", "localization", "dataset"]
COLUMNS = [*OF_HAM10000, "ruler", "split"]
FRACTIONS = {"train": 0.31, "validation": 0.07, "calibration": 0.14, "test": 0.48}
CHECKS = {"verdict", "pairs", "enriched"}
N, DEFAULT = 60, 1600


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("phantom") / "data"
    generate(out, n=N, seed=3)
    return out


@pytest.fixture(scope="module")
def table(root: Path) -> pd.DataFrame:
    return pd.read_csv(root / "HAM10000_metadata.csv")


def image_path(root: Path, image_id: str) -> Path:
    found = [part / f"{image_id}.jpg" for part in root.glob("HAM10000_images_part_*")]
    return next(path for path in found if path.exists())


def opened(path: Path) -> Image.Image:
    with Image.open(path) as image:
        image.load()
    return image


def test_layout_is_that_of_ham10000(root: Path, table: pd.DataFrame) -> None:
    assert list(table.columns) == COLUMNS
    halves = [len(list((root / f"HAM10000_images_part_{k}").glob("*.jpg"))) for k in (1, 2)]
    assert halves == [N // 2, N // 2]
    assert len(list((root / "HAM10000_segmentations_lesion_tschandl").iterdir())) == N
    assert table.image_id.is_unique
    assert table.image_id.str.fullmatch(r"PHM_\d{7}").all()
    assert table.lesion_id.str.fullmatch(r"PHL_\d{7}").all()
    assert set(table.sex) <= {"male", "female", "unknown"}
    assert ((table.age.dropna() % 5) == 0).all()


def test_text_of_the_metadata_is_that_of_ham10000(root: Path) -> None:
    header, first, *_ = (root / "HAM10000_metadata.csv").read_text().splitlines()
    assert header == ",".join(COLUMNS)
    facts = r"PHL_\d{7},PHM_\d{7},akiec,histo,(\d+\.0)?,\w+,[\w ]+,\w+"
    assert re.fullmatch(facts + ",(yes|no),(calibration/test)?", first)


def test_a_lesion_has_one_row_of_facts(table: pd.DataFrame) -> None:
    facts = [c for c in COLUMNS if c not in ("lesion_id", "image_id", "ruler")]
    assert table[["lesion_id", *facts]].drop_duplicates().lesion_id.is_unique


def test_every_class_has_a_lesion_for_every_role(table: pd.DataFrame) -> None:
    lesions = table.groupby("dx").lesion_id.nunique()
    assert sorted(lesions.index) == sorted(CLASSES)
    assert lesions.min() >= MIN_LESIONS
    assert (table.loc[table.dx.isin(["mel", "bcc", "akiec"]), "dx_type"] == "histo").all()


def test_masks_fit_their_images(root: Path, table: pd.DataFrame) -> None:
    for row in table.itertuples():
        name = f"{row.image_id}_segmentation.png"
        image = opened(image_path(root, row.image_id))
        mask = opened(root / "HAM10000_segmentations_lesion_tschandl" / name)
        assert image.mode == "RGB"
        assert mask.mode == "L"
        assert image.size == mask.size == SOURCES[row.dataset].size
        assert set(np.unique(np.asarray(mask))) == {0, 255}


def test_an_image_depends_on_its_plan_and_the_seed_alone() -> None:
    photos = plan(n=N, seed=3)[:3]
    forwards = [render(photo, seed=3).image for photo in photos]
    backwards = [render(photo, seed=3).image for photo in photos[::-1]][::-1]
    assert all(np.array_equal(a, b) for a, b in zip(forwards, backwards, strict=True))
    assert not np.array_equal(render(photos[0], seed=4).image, forwards[0])


@pytest.mark.slow
def test_same_seed_same_bytes_with_two_workers_and_other_seed_other_bytes(
    root: Path, tmp_path: Path
) -> None:
    generate(tmp_path / "again", n=N, seed=3, workers=2)
    files = sorted(p.relative_to(root) for p in root.rglob("*") if p.is_file())
    again = sorted(
        p.relative_to(tmp_path / "again") for p in (tmp_path / "again").rglob("*") if p.is_file()
    )
    assert files == again
    for name in files:
        assert (root / name).read_bytes() == (tmp_path / "again" / name).read_bytes(), name
    assert plan(n=N, seed=3) != plan(n=N, seed=4)


def of(root: Path, name: str) -> dict[str, Any]:
    return next(each for each in read_json(root / "planted.json")["plants"] if each["name"] == name)


def test_every_plant_has_existing_ids_and_an_audit(root: Path, table: pd.DataFrame) -> None:
    truth = read_json(root / "planted.json")
    assert truth["schema"] == 2
    assert truth["generator"] == {
        "name": "medaudit.data.phantom",
        "version": 2,
        "n": N,
        "seed": 3,
    }
    names = [each["name"] for each in truth["plants"]]
    assert len(set(names)) == len(names) == 6
    for each in truth["plants"]:
        assert each["ids"], each["name"]
        assert set(each["ids"]) <= set(table.image_id)
        assert {audit["check"] for audit in each["audits"]} <= CHECKS
        assert each["expect"] in ("worse", "present")


def test_nuisances_of_every_image_are_recorded(root: Path, table: pd.DataFrame) -> None:
    nuisances = pd.read_csv(io.StringIO("\n".join(read_json(root / "planted.json")["images"])))
    assert list(nuisances.columns) == [
        "image_id",
        "has_ruler",
        "has_hair",
        "has_ink",
        "has_bubbles",
    ]
    rulers = nuisances.merge(table, on="image_id", validate="1:1")
    assert len(rulers) == N
    assert (rulers.has_ruler == (rulers.ruler == "yes")).all()
    counts = of(root, "ruler_shortcut")["details"]["counts"]
    assert sum(cell["rulers"] for cell in counts) == nuisances.has_ruler.sum()
    assert sum(cell["images"] for cell in counts) == N


def test_tiny_lesions_and_the_later_collection_are_named_whole(
    root: Path, table: pd.DataFrame
) -> None:
    tiny = of(root, "tiny_lesions")
    assert set(table.loc[table.image_id.isin(tiny["ids"]), "lesion_id"]) == set(
        tiny["details"]["lesion_ids"]
    )
    later = table[table.split == "calibration/test"]
    assert sorted(later.image_id) == sorted(of(root, "later_collection")["ids"])
    assert table[table.split.isna()].groupby("dx").lesion_id.nunique().min() >= MIN_LESIONS


def test_mislabelled_lesions_are_recorded_under_the_wrong_class(
    root: Path, table: pd.DataFrame
) -> None:
    wrong = of(root, "mislabelled")["details"]["lesions"]
    assert wrong
    for lesion in wrong:
        rows = table[table.lesion_id == lesion["lesion_id"]]
        assert set(rows.dx) == {lesion["recorded"]}
        assert sorted(rows.image_id) == sorted(lesion["image_ids"])
        assert lesion["true"] != lesion["recorded"]


def test_duplicates_cross_lesions_and_a_hash_finds_them(root: Path, table: pd.DataFrame) -> None:
    table = table.fillna({"split": ""}).set_index("image_id")
    pairs = of(root, "duplicates")["details"]["pairs"]
    listed = pd.read_csv(root / "known_duplicates.csv")
    assert list(listed.columns) == ["similarity", "from_img", "to_img"]
    assert 0 < len(listed) < len(pairs)
    assert sum(pair["listed"] for pair in pairs) == len(listed)
    for pair in pairs:
        hashes = [imagehash.phash(opened(image_path(root, pair[end]))) for end in ("from", "to")]
        assert hashes[0] - hashes[1] <= 4
        assert pair["from_lesion"] != pair["to_lesion"]
        assert table.split[pair["from"]] == table.split[pair["to"]]


def test_the_low_contrast_source_has_the_least_contrast(root: Path, table: pd.DataFrame) -> None:
    spread = [np.asarray(opened(image_path(root, i)).convert("L")).std() for i in table.image_id]
    by_source = pd.Series(spread).groupby(table.dataset).median()
    assert by_source.idxmin() == INJECTED.low_contrast_source
    assert by_source.min() < 0.8 * by_source.drop(INJECTED.low_contrast_source).min()


def test_the_default_plan_holds_the_shortcut_in_three_sources_and_not_in_the_fourth() -> None:
    photos = pd.DataFrame(
        {"ours": p.lesion.true_dx == "mel", "source": p.lesion.source, "ruler": p.ruler}
        for p in plan(n=DEFAULT, seed=1)
    )
    rate = photos.pivot_table(values="ruler", index="source", columns="ours")
    for source in SOURCES:
        if source == INJECTED.exception_source:
            assert rate.loc[source, True] <= rate.loc[source, False]
        else:
            assert rate.loc[source, True] > 0.6
            assert rate.loc[source, False] < 0.12


def test_the_low_contrast_camera_is_never_trained_on_and_hardly_shows_the_shortcut_class() -> None:
    lesions = {p.lesion.index: p.lesion for p in plan(n=DEFAULT, seed=1)}.values()
    camera = [x for x in lesions if x.source == INJECTED.low_contrast_source]
    assert all(x.later for x in camera)
    assert sum(x.true_dx == INJECTED.shortcut_class for x in camera) < 0.1 * len(camera)
    first = [x for x in lesions if x.true_dx == INJECTED.shortcut_class and not x.later]
    assert np.mean([x.source == INJECTED.exception_source for x in first]) < 0.15


def test_the_default_plan_injects_what_the_design_says() -> None:
    photos = plan(n=DEFAULT, seed=1)
    lesions = {p.lesion.index: p.lesion for p in photos}
    assert len(photos) == len({p.image_id for p in photos}) == DEFAULT
    assert sum(p.copy_of is not None for p in photos) == 16
    assert sum(p.lesion.dx != p.lesion.true_dx for p in photos) in range(28, 33)  # 2 % of 1600
    assert np.isclose(np.mean([x.tiny for x in lesions.values()]), INJECTED.tiny_share, atol=0.005)
    assert all(not p.lesion.tiny for p in photos if p.copy_of is not None)
    assert np.isclose(np.mean([x.later for x in lesions.values()]), 0.41, atol=0.01)


@pytest.mark.parametrize("seed", range(1, 5))
def test_the_test_role_holds_60_melanomas_of_the_source_where_the_shortcut_fails(seed: int) -> None:
    photos = plan(n=DEFAULT, seed=seed)
    roles = assign_roles(
        [p.lesion.lesion_id for p in photos],
        np.array([[p.lesion.dx == dx for dx in CLASSES] for p in photos]),
        classes=CLASSES,
        fractions=FRACTIONS,
        seed=1234,
        given=["calibration/test" if p.lesion.later else "/".join(FRACTIONS) for p in photos],
    )
    assert np.isclose((roles == "train").mean(), FRACTIONS["train"], atol=0.01)
    failing = {
        p.lesion.lesion_id
        for p, role in zip(photos, roles, strict=True)
        if (role, p.lesion.dx, p.lesion.source) == ("test", "mel", INJECTED.exception_source)
    }
    assert len(failing) >= 60


def test_every_class_has_a_recipe() -> None:
    assert tuple(RECIPES) == CLASSES


def test_too_few_images_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=f"n >= {MIN_IMAGES} .* got n = {MIN_IMAGES - 1}"):
        generate(tmp_path / "data", n=MIN_IMAGES - 1)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_holds_something_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(DataError, match="new or empty folder"):
        generate(tmp_path, n=N)
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]
