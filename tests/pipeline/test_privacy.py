"""The whole pipeline in the two closed modes: nothing that may be passed on names anybody."""

import re
import struct

import pandas as pd
import pytest

from tests.leaks import chunks, files, leaks

pytestmark = [pytest.mark.slow, pytest.mark.pipeline]

# What cameras and viewers leave in images, in each of the places where they leave it.
SECRETS = ("Ada Lovelace", "exif-of-somebody", "xmp-of-somebody", "comment-of-somebody")
GPS = (52, 31)


def segment(marker, data):
    """One segment of a JPEG file."""
    return bytes([0xFF, marker]) + struct.pack(">H", len(data) + 2) + data


def exif():
    """An artist, a camera and a place in the form of TIFF."""
    artist, camera = (f"{word}\0".encode() for word in SECRETS[:2])
    first, gps = 8, 8 + 2 + 3 * 12 + 4
    texts = gps + 2 + 2 * 12 + 4
    entry = struct.Struct(">HHII")
    body = struct.pack(">H", 3)
    body += entry.pack(0x013B, 2, len(artist), texts)
    body += entry.pack(0x010F, 2, len(camera), texts + len(artist))
    body += entry.pack(0x8825, 4, 1, gps) + bytes(4)
    place = texts + len(artist) + len(camera)
    body += struct.pack(">H", 2) + entry.pack(1, 2, 2, 0x4E000000)
    body += entry.pack(2, 5, 3, place) + bytes(4)
    body += artist + camera + struct.pack(">6I", GPS[0], 1, GPS[1], 1, 0, 1)
    return b"Exif\0\0MM\0*" + struct.pack(">I", first) + body


def with_metadata(jpeg):
    """The same image with EXIF and GPS, an XMP packet and a comment."""
    xmp = f"http://ns.adobe.com/xap/1.0/\0<x:xmpmeta>{SECRETS[2]}</x:xmpmeta>".encode()
    known = segment(0xE1, exif()) + segment(0xE1, xmp) + segment(0xFE, SECRETS[3].encode())
    return jpeg[:2] + known + jpeg[2:]


@pytest.fixture(scope="module")
def released(tmp_path_factory, built_repo):
    """The built repository with metadata in its images, and its ids."""
    repo = built_repo.copy(tmp_path_factory.mktemp("released") / "repo")
    for path in (repo.path / "data").rglob("*.jpg"):
        content = with_metadata(path.read_bytes())
        path.unlink()
        path.write_bytes(content)
    repo.run("dvc", "add", "-q", "data")
    rows = pd.read_parquet(repo.path / "artifacts/prepared/manifest.parquet")
    return repo, {*rows["sample_id"], *rows["group_id"]}


def repro(repo, mode):
    repo.params(report={"privacy": mode})
    done = repo.run("dvc", "repro")
    return re.findall(r"Running stage '(\w+)'", done.stdout)


def test_the_search_finds_who_is_named(built_repo, released):
    named = {each.partition(":")[0] for each in leaks(built_repo.path, released[1])}
    assert named >= {
        *("plots/prepare/duplicates.csv", "plots/slice/label_issues.csv"),
        *("plots/cases/taxonomy.csv", "report/report.html"),
    }
    image = next((released[0].path / "data").rglob("*.jpg"))
    assert leaks(image.parent, SECRETS, folders=["."]) >= {f"{image.name}: {s}" for s in SECRETS}


def test_pseudonyms_name_nobody_and_the_owner_finds_whom_they_mean(released):
    repo, ids = released
    assert "report" in repro(repo, "pseudonymous")
    assert leaks(repo.path, {*ids, *SECRETS, str(repo.path)}) == set()
    table = pd.read_csv(repo.path / "artifacts/pseudonyms.csv", index_col="pseudonym")["id"]
    shown = pd.read_csv(repo.path / "plots/slice/label_issues.csv")["sample_id"]
    whole = pd.read_csv(repo.path / "artifacts/whole/slice/label_issues.csv")["sample_id"]
    assert table[shown].tolist() == whole.tolist()
    page = (repo.path / "report/report.html").read_text()
    cited = set(re.findall(r"\b[SG]-[A-Z2-7]{10}\b", page))
    assert cited
    assert cited <= set(table.index)
    assert repro(repo, "pseudonymous") == []


def test_aggregates_speak_of_no_image(released):
    repo, ids = released
    repro(repo, "aggregate")
    assert leaks(repo.path, {*ids, *SECRETS}) == set()
    for name in ("prepare/duplicates", "slice/label_issues", "cases/evidence"):
        assert pd.read_csv(repo.path / f"plots/{name}.csv").empty
    page = (repo.path / "report/report.html").read_text()
    assert not re.search(r"\b[SG]-[A-Z2-7]{10}\b", page)
    assert "data:image/png" not in page
    assert "artifacts/whole/slice/label_issues.csv of the run lists them" in page
    assert "Single images are not spoken of here" in page


def test_the_key_is_in_no_place_that_is_kept_or_shared(released):
    repo, _ = released
    ignored = repo.run("git", "check-ignore", ".pseudonym_key").stdout.strip()
    assert ignored == ".pseudonym_key"
    key = (repo.path / ".pseudonym_key").read_text().strip()
    cached = [path for path in (repo.path / ".dvc/cache").rglob("*") if path.is_file()]
    written = [path for path in (repo.path / "artifacts").rglob("*") if path.is_file()]
    held = [*files(repo.path), *cached, *written, repo.path / "dvc.lock"]
    assert not [path for path in held if key.encode() in path.read_bytes()]


def test_pictures_hold_pixels_and_nothing_else(released):
    pictures = sorted((released[0].path / "artifacts/cases").glob("*.png"))
    assert pictures
    for path in pictures:
        assert {kind for kind, _ in chunks(path.read_bytes())} == {"IHDR", "IDAT", "IEND"}
