"""ONNX files that take weights from other files, and files that are no models."""

from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from medaudit.core.errors import ModelError
from medaudit.model.exported import onnx_program
from tests.unit.model.exported_samples import onnx_file


def elsewhere(name: str = "w") -> TensorProto:
    """A tensor of 6 numbers that lie in a file beside, of the working directory."""
    tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=[2, 3])
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="params.yaml")
    return tensor


def constant(tensor: TensorProto) -> onnx.NodeProto:
    return helper.make_node("Constant", [], ["c"], value=tensor)


def branches(inner: onnx.NodeProto) -> onnx.NodeProto:
    graph = helper.make_graph([inner], "then", [], [])
    return helper.make_node("If", ["x"], ["y"], then_branch=graph, else_branch=graph)


def tensors() -> dict[str, onnx.ModelProto]:
    held = {name: helper.make_model(helper.make_graph([], "g", [], [])) for name in PLACES}
    held["initializer"].graph.initializer.append(elsewhere())
    held["sparse values"].graph.sparse_initializer.add().values.CopyFrom(elsewhere())
    held["sparse indices"].graph.sparse_initializer.add().indices.CopyFrom(elsewhere())
    held["constant"].graph.node.append(constant(elsewhere()))
    held["subgraph"].graph.node.append(branches(constant(elsewhere())))
    held["nested subgraph"].graph.node.append(branches(branches(constant(elsewhere()))))
    several = held["tensors"].graph.node.add(op_type="X").attribute.add(name="t")
    several.tensors.append(elsewhere())
    graphs = held["graphs"].graph.node.add(op_type="X").attribute.add(name="g")
    graphs.graphs.append(helper.make_graph([], "g", [], [], initializer=[elsewhere()]))
    sparse = held["sparse attribute"].graph.node.add(op_type="X").attribute.add(name="s")
    sparse.sparse_tensor.values.CopyFrom(elsewhere())
    held["function"].functions.add(name="f").node.append(constant(elsewhere()))
    default = held["default of a function"].functions.add(name="f").attribute_proto.add(name="t")
    default.t.CopyFrom(elsewhere())
    held["training"].training_info.add().algorithm.initializer.append(elsewhere())
    held["no place"].graph.initializer.add(data_location=TensorProto.EXTERNAL)
    held["place alone"].graph.initializer.add().external_data.add(key="location", value="x")
    return held


PLACES = (
    *("initializer", "sparse values", "sparse indices", "constant", "subgraph", "nested subgraph"),
    *("tensors", "graphs", "sparse attribute", "function", "default of a function", "training"),
    *("no place", "place alone"),
)


@pytest.mark.parametrize("place", PLACES)
def test_weights_in_other_files_are_refused(tmp_path: Path, place: str) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(tensors()[place].SerializeToString())
    with pytest.raises(ModelError, match="takes weights from another file"):
        onnx_program.read(path)


def test_a_file_of_the_working_directory_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where onnxruntime looks for it, if it is given bytes."""
    held = onnx.load(onnx_file(tmp_path / "m.onnx"))
    held.graph.initializer[1].CopyFrom(elsewhere())
    (tmp_path / "m.onnx").write_bytes(held.SerializeToString())
    (tmp_path / "params.yaml").write_bytes(bytes(24))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelError, match="weights must lie in the same file"):
        onnx_program.read(Path("m.onnx"))


def test_an_enum_of_more_than_32_bits_counts() -> None:
    """Protobuf cuts 2 ** 32 + 1 to 1, which is EXTERNAL."""
    tensor = b"\x70\x81\x80\x80\x80\x10"
    graph = b"\x2a" + bytes([len(tensor)]) + tensor
    content = b"\x3a" + bytes([len(graph)]) + graph
    held = onnx.ModelProto.FromString(content)
    assert held.graph.initializer[0].data_location == TensorProto.EXTERNAL
    with pytest.raises(onnx_program._ExternalError):
        onnx_program.check(content)


def test_files_that_are_no_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "m.onnx"
    for content in (b"\x3a\xff\xff\xff\xff\x7f", b"\x80" * 20, b"\x0b", b"\x05", b"\x3a\x02\x08"):
        path.write_bytes(content)
        with pytest.raises(ModelError, match="not an ONNX model"):
            onnx_program.read(path)
    monkeypatch.setattr(onnx_program, "MOST_FIELDS", 100)
    path.write_bytes(b"\x08\x01" * 101)
    with pytest.raises(ModelError, match="more than 100 parts"):
        onnx_program.read(path)
    monkeypatch.setattr(onnx_program, "LARGEST", 100)
    with pytest.raises(ModelError, match="larger than 2 GiB"):
        onnx_program.read(path)


def test_graphs_in_graphs_end() -> None:
    content = b""
    for _ in range(60):  # node of a graph, attribute, graph
        attribute = wrapped(0x32, content)
        content = wrapped(0x0A, wrapped(0x2A, attribute))
    with pytest.raises(onnx_program._DamagedError, match="nested more than 100 deep"):
        onnx_program.check(wrapped(0x3A, content))


def wrapped(tag: int, content: bytes) -> bytes:
    length, n = b"", len(content)
    while n > 127:
        length += bytes([n & 127 | 128])
        n >>= 7
    return bytes([tag]) + length + bytes([n]) + content
