"""What ONNX files of stylize say, and which files are refused."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

from stylize.checkpoints import WeightsFile, read_weights_file
from stylize.errors import InputError, WeightsError
from tests.helpers import run_python, tiny_config, tiny_metadata, tiny_weights

onnx = pytest.importorskip("onnx")

from onnx import TensorProto, helper  # noqa: E402

from stylize.engines.onnx_files import check_content, file_metadata, read_metadata  # noqa: E402
from stylize.engines.onnx_graph import onnx_model  # noqa: E402
from stylize.program import lower  # noqa: E402
from stylize.transformer import TransformerNet  # noqa: E402

WEIGHTS = WeightsFile(Path("w.safetensors"), tiny_config("ibn"), tiny_metadata(norm="ibn"))


@pytest.fixture(scope="module")
def content():
    return onnx_model(lower(TransformerNet(tiny_config("ibn"))), file_metadata(WEIGHTS)).SerializeToString()


@pytest.fixture
def model(content):
    return onnx.load_model_from_string(content)


def test_metadata_come_back(content, tmp_path):
    path = tmp_path / "a.onnx"
    path.write_bytes(content)
    read = read_metadata(path)
    assert (read.path, read.architecture, read.metadata) == (path, WEIGHTS.architecture, WEIGHTS.metadata)


def test_plain_metadata(tmp_path):
    weights = read_weights_file(tiny_weights(tmp_path / "a.safetensors", "great-wave", "batch"))
    plain = file_metadata(weights)
    assert json.loads(plain.pop("stylize"))["architecture"] == json.loads(json.dumps(asdict(weights.architecture)))
    expected = {"style": "great-wave", "norm": "batch", "preset": "fast", "licence": "CC0-1.0", "opset": "17"}
    assert plain == expected
    nothing = file_metadata(WeightsFile(Path("of-a-friend.safetensors"), tiny_config(), {}))
    assert (nothing["style"], nothing["preset"], nothing["licence"]) == ("of-a-friend", "custom", "not stated")


def test_reading_needs_no_torch(content, tmp_path):
    path = tmp_path / "a.onnx"
    path.write_bytes(content)
    code = f"""
import sys
from stylize.engines.onnx_files import read_metadata
assert read_metadata({str(path)!r}).architecture.norm == "ibn"
assert "torch" not in sys.modules and "onnxruntime" not in sys.modules
"""
    result = run_python("-c", code)
    assert result.returncode == 0, result.stderr


def foreign():
    pictures = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8])
    result = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3, 8, 8])
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [pictures], [result])
    return helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)]).SerializeToString()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (b"", "is no ONNX file, or it is truncated"),
        (b"\x89PNG\r\n\x1a\n rest of a picture", "is no ONNX file, or it is truncated"),
        (b"PK\x03\x04 a pickle", "is no ONNX file, or it is truncated"),
        (foreign(), "is an ONNX file of something else; a file made by `stylize export` is accepted"),
    ],
    ids=["empty", "picture", "pickle", "foreign"],
)
def test_another_file(tmp_path, wrong, message):
    path = tmp_path / "a.onnx"
    path.write_bytes(wrong)
    with pytest.raises(WeightsError, match=message):
        read_metadata(path)


def test_every_truncation_is_refused(content):
    for length in [*range(0, len(content), max(1, len(content) // 60)), len(content) - 1]:
        with pytest.raises(WeightsError):
            check_content(content[:length], Path("a.onnx"))


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(WeightsError, match="ONNX file .*none.onnx not found"):
        read_metadata(tmp_path / "none.onnx")
    with pytest.raises(WeightsError, match="is a folder"):
        read_metadata(tmp_path)


def external(model):
    tensor = model.graph.initializer[-1]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "/etc/passwd"


def custom_operator(model):
    model.graph.node[3].domain = "com.example"


def custom_operator_set(model):
    model.opset_import.append(helper.make_opsetid("com.example", 1))


def own_function(model):
    model.functions.add().name = "f"


def fixed_size(model):
    model.graph.input[0].type.tensor_type.shape.dim[2].dim_value = 10**9


def other_type(model):
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.DOUBLE


def second_input(model):
    model.graph.input.append(helper.make_tensor_value_info("more", TensorProto.FLOAT, [1]))


def no_output(model):
    del model.graph.output[:]


def subgraph(model):
    model.graph.node[0].attribute.append(helper.make_attribute("body", helper.make_graph([], "inner", [], [])))


def tensor_in_an_operator(model):
    tensor = helper.make_tensor("value", TensorProto.FLOAT, [1], [1.0])
    model.graph.node[0].attribute.append(helper.make_attribute("value", tensor))


def impossible_weights(model):
    model.graph.initializer[-1].dims[:] = [2**40, 2**20]


def negative_weights(model):
    model.graph.initializer[-1].dims[:] = [-1]


def sparse_weights(model):
    model.graph.sparse_initializer.add()


FAULTS = {
    external: "points to another file for its weights",
    custom_operator: "needs operators that are not part of ONNX",
    custom_operator_set: "needs operators that are not part of ONNX",
    own_function: "needs operators that are not part of ONNX",
    fixed_size: "has another photo than float32",
    other_type: "has another painting than float32",
    second_input: "has another photo than float32",
    no_output: "has another painting than float32",
    subgraph: "holds graphs or tensors inside its operators",
    tensor_in_an_operator: "holds graphs or tensors inside its operators",
    impossible_weights: "holds weights of an impossible shape",
    negative_weights: "holds weights of an impossible shape",
    sparse_weights: "holds more than a graph and its weights",
}


@pytest.mark.parametrize("change", FAULTS, ids=lambda change: change.__name__)
def test_what_no_file_of_ours_has_is_refused(model, change):
    check_content(model.SerializeToString(), Path("a.onnx"))
    change(model)
    with pytest.raises(WeightsError, match=f"a.onnx {FAULTS[change]}") as caught:
        check_content(model.SerializeToString(), Path("a.onnx"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "its metadata cannot be used"),
        ("[]", "its metadata cannot be used"),
        ("{}", "its metadata cannot be used"),
        ('{"format_version": "2"}', "has format version '2', not 1: update stylize"),
        ('{"format_version": "1", "architecture": {"colour": 1}, "metadata": {}}', r"does not know: \['colour'\]"),
        ('{"format_version": "1", "architecture": {"norm": "x"}, "metadata": {}}', "unknown normalisation 'x'"),
        ('{"format_version": "1", "architecture": {}, "metadata": []}', "its metadata is no table"),
        ("[" * 100_000, "its metadata cannot be used"),
    ],
)
def test_damaged_metadata(model, text, message):
    next(entry for entry in model.metadata_props if entry.key == "stylize").value = text
    with pytest.raises(WeightsError, match=message):
        check_content(model.SerializeToString(), Path("a.onnx"))


def test_without_the_package(content, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(InputError, match=r"ONNX files need the package onnx.*pip install 'stylize\[onnx\]'"):
        check_content(content, Path("a.onnx"))
    with pytest.raises(InputError, match=r"pip install 'stylize\[onnx\]'"):
        onnx_model(lower(TransformerNet(tiny_config())))
