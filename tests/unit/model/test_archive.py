"""Archives of `torch.export` that could run code when read; payloads write a marker at most."""

import io
import json
import struct
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from medaudit.core.errors import ModelError
from medaudit.model.exported import archive
from tests.unit.model.exported_samples import IMAGES, Means, in_process, pt2, read

__all__ = ["in_process"]

LEAF = {"type": None, "context": None, "children_spec": []}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pt2(tmp_path_factory.mktemp("pt2") / "m.pt2")


def rewritten(
    path: Path, other: Path, change: Callable[[str, bytes], bytes], **more: bytes
) -> Path:
    """A copy of an archive with other content, and with more files."""
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(other, "w") as target:
        for name in source.namelist():
            target.writestr(name, change(name, source.read(name)))
        root = source.namelist()[0].partition("/")[0]
        for name, content in more.items():
            target.writestr(f"{root}/{name}", content)
    return other


def swapped(old: bytes, new: bytes) -> Callable[[str, bytes], bytes]:
    def change(_: str, content: bytes) -> bytes:
        return content.replace(old, new)

    return change


def with_tree(spec: object) -> Callable[[str, bytes], bytes]:
    """Another tree spec of the outputs."""

    def change(name: str, content: bytes) -> bytes:
        if not name.endswith("model.json"):
            return content
        held = json.loads(content)
        signature = held["graph_module"]["module_call_graph"][0]["signature"]
        signature["out_spec"] = json.dumps([1, spec])
        return json.dumps(held).encode()

    return change


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b'"use_pickle": false', b'"use_pickle": true', "holds the pickled objects linear.weight"),
        (b'"path_name": "weight_0"', b'"path_name": "opaque_obj_0"', "weights in 'opaque_obj_0'"),
        (b"torch.ops.aten.linear.default", b"torch.os.system", "calls torch.os.system"),
        (b"torch.ops.aten.linear.default", b"torch.ops.aten.from_file", "calls torch.ops.aten.fr"),
        (b"torch.ops.aten.linear.default", b"_operator.methodcaller", "calls _operator.methodc"),
        (b"torch.ops.aten.linear.default", b"math.factorial", "calls math.factorial"),
        (
            b"torch.ops.aten.linear.default",
            b"torch.ops.aten.linear.__class__",
            "calls torch.ops.aten.linear.__class__",
        ),
        (b'"as_ints": [2, 3]', b'"as_operator": "torch.os.system"', "holds 'as_operator'"),
        (b'"name": "linear"', b'"name": "linear\\nimport os"', r"holds 'linear\\nimport os' as"),
        (b'["x"]', b'["x=print(1)"]', r"holds 'x=print\(1\)' as 'forward_arg_names'"),
        (b"Symbol('s77'", b"open('s77'", "holds the size"),
        (b"Symbol('s77'", b"s77.__class__('s77'", "holds the size"),
        (b"Symbol('s77', positive=True, integer=True)", b"9**9**9", r"holds the size '9\*\*9"),
        (
            b"Symbol('s77', positive=True, integer=True)",
            b"PowByNatural(9, PowByNatural(9, 9))",
            "holds the size 'PowBy",
        ),
        (b'"as_int": 3072', b'"as_int": ' + b"9" * 400, "holds a number of 1329 bits"),
    ],
)
def test_archives_that_could_run_code_are_refused(
    whole: Path, tmp_path: Path, old: bytes, new: bytes, message: str
) -> None:
    bad = rewritten(whole, tmp_path / "m.pt2", swapped(old, new))
    with pytest.raises(ModelError, match=f"{message}.*could run code when read"):
        archive.rebuilt(bad)


def test_a_rewritten_archive_is_read(whole: Path, tmp_path: Path, in_process: None) -> None:
    same = rewritten(whole, tmp_path / "m.pt2", lambda _, content: content)
    assert (read(same).predict(IMAGES).logits == read(whole).predict(IMAGES).logits).all()


@pytest.mark.parametrize("kind", ["builtins.tuple", "builtins.list", "collections.OrderedDict"])
def test_a_tree_spec_imports_no_module(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """Its context may name an enum, whose module torch imports."""
    (tmp_path / "marker_module.py").write_text(f"open({str(tmp_path / 'marker')!r}, 'w')")
    monkeypatch.syspath_prepend(tmp_path)
    context = {"__enum__": True, "fqn": "marker_module:Marker", "name": "A"}
    spec = {"type": kind, "context": json.dumps([context]), "children_spec": [LEAF]}
    bad = rewritten(whole, tmp_path / "m.pt2", with_tree(spec))
    with pytest.raises(ModelError, match=f"holds a tree of {kind}"):
        archive.rebuilt(bad)
    assert not (tmp_path / "marker").exists()
    assert "marker_module" not in sys.modules


@pytest.mark.parametrize(
    "spec",
    [
        {"type": "collections.defaultdict", "context": '["os", "system", []]', "children_spec": []},
        {"type": "collections.namedtuple", "context": '"os.stat_result"', "children_spec": []},
        {"type": "builtins.dict", "context": '["a\\nb"]', "children_spec": [LEAF]},
        {"type": "builtins.dict", "context": '["a", "b"]', "children_spec": [LEAF]},
        {"type": "builtins.tuple", "context": "null", "children_spec": {}},
        {"type": None, "context": None},
        7,
    ],
)
def test_other_trees_are_refused(whole: Path, tmp_path: Path, spec: object) -> None:
    with pytest.raises(ModelError, match=r"holds (a|the) tree"):
        archive.rebuilt(rewritten(whole, tmp_path / "m.pt2", with_tree(spec)))


def test_deep_trees_and_deep_json_are_refused(whole: Path, tmp_path: Path) -> None:
    spec: object = LEAF
    for _ in range(200):
        spec = {"type": "builtins.tuple", "context": "null", "children_spec": [spec]}
    with pytest.raises(ModelError, match=r"holds the tree spec"):
        archive.rebuilt(rewritten(whole, tmp_path / "m.pt2", with_tree(spec)))
    deep = swapped(b'"metadata": {}', b'"metadata": ' + b"[" * 100_000 + b"]" * 100_000)
    with pytest.raises(ModelError, match=r"no readable models/model.json"):
        archive.rebuilt(rewritten(whole, tmp_path / "d.pt2", deep))


def parts(path: Path) -> tuple[bytes, bytes]:
    """Members and central directory of an archive."""
    content = path.read_bytes()
    n, size, at = struct.unpack("<HII", content[-12:-2])
    assert n
    return content[:at], content[at : at + size]


def moved(directory: bytes, by: int) -> bytes:
    """A central directory whose members lie elsewhere."""
    held, at = bytearray(directory), 0
    while at < len(held):
        lengths = struct.unpack_from("<HHH", held, at + 28)
        (offset,) = struct.unpack_from("<I", held, at + 42)
        struct.pack_into("<I", held, at + 42, offset + by)
        at += 46 + sum(lengths)
    return bytes(held)


def two_archives(shown: Path, hidden: Path, *, zip64: bool) -> bytes:
    """One file that Python's zipfile reads as `shown`, and torch as `hidden`."""
    a, a_list = parts(shown)
    b, b_list = parts(hidden)
    n = len(zipfile.ZipFile(shown).namelist())
    if not zip64:  # zipfile looks right before the end, torch at the offset that is given
        assert len(a_list) == len(b_list)
        assert len(b) >= len(a)
        end = struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, n, n, len(b_list), len(b), 0)
        return b + b_list + a + moved(a_list, len(b) - len(a)) + end

    def record(list_size: int, offset: int) -> bytes:
        fields = (b"PK\6\6", 44, 45, 45, 0, 0, n, n, list_size, offset)
        return struct.pack("<4sQHHIIQQQQ", *fields)

    first = b + b_list + record(len(b_list), len(b))
    second = a + moved(a_list, len(first)) + record(len(a_list), len(first) + len(a))
    locator = struct.pack("<4sIQI", b"PK\6\7", 0, len(b) + len(b_list), 1)
    most = 2**32 - 1
    end = struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, 2**16 - 1, 2**16 - 1, most, most, 0)
    return first + second + locator + end


@pytest.mark.parametrize("zip64", [False, True])
def test_torch_reads_the_members_that_were_checked(
    whole: Path, tmp_path: Path, zip64: bool
) -> None:
    """Two readers of one file see two archives; whichever is checked is the one that is loaded."""
    shown = rewritten(whole, tmp_path / "shown.pt2", lambda _, content: content)
    bad = swapped(b"torch.ops.aten.linear.default", b"torch.os.system" + b" " * 40)
    hidden = rewritten(whole, tmp_path / "hidden.pt2", bad)
    path = tmp_path / "m.pt2"
    path.write_bytes(two_archives(shown, hidden, zip64=zip64))
    assert b"os.system" not in zipfile.ZipFile(path).read("m/models/model.json")
    assert b"os.system" in torch._C.PyTorchFileReader(str(path)).get_record("models/model.json")
    content = archive.rebuilt(path)
    reader = torch._C.PyTorchFileReader(io.BytesIO(content))
    assert b"os.system" not in reader.get_record("models/model.json")
    assert b"os.system" not in content


def test_archives_with_libraries_are_refused_and_pickles_left_behind(
    whole: Path, tmp_path: Path
) -> None:
    library = {"data/aotinductor/model/run.so": b"elf"}
    bad = rewritten(whole, tmp_path / "a.pt2", lambda _, content: content, **library)
    with pytest.raises(ModelError, match=r"holds data/aotinductor/model/run\.so"):
        archive.rebuilt(bad)
    torch.save(Means(), tmp_path / "whole.pt")
    pickled = (tmp_path / "whole.pt").read_bytes()
    examples = rewritten(
        whole, tmp_path / "b.pt2", lambda n, c: pickled if n.endswith("model.pt") else c
    )
    assert b"exported_samples" in examples.read_bytes()
    assert b"exported_samples" not in archive.rebuilt(examples)


def test_archives_that_are_larger_inside_are_refused(whole: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "m.pt2", "w", zipfile.ZIP_DEFLATED) as bomb:
        bomb.writestr("m/data/weights/weight_0", bytes(10**7))
    with pytest.raises(ModelError, match="holds compressed files"):
        archive.rebuilt(tmp_path / "m.pt2")
    content = bytearray(whole.read_bytes())
    (at,) = struct.unpack("<I", content[-6:-2])  # of the list of members
    struct.pack_into("<II", content, at + 20, 2**31, 2**31)
    (tmp_path / "n.pt2").write_bytes(content)
    with pytest.raises(ModelError, match="its files are larger than itself"):
        archive.rebuilt(tmp_path / "n.pt2")


def test_torch_programs_need_trust(whole: Path) -> None:
    with pytest.raises(ModelError, match=r"say that you trust.*`trust: true`.*`--trust`"):
        read(whole, trust=False)
