"""Files of other engines that are damaged, hostile or not ours."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import lwisp
from lwisp.architecture import LWISPConfig
from lwisp.engines.contract import CARD_KEY, SEAL_KEY, seal
from lwisp.engines.engine import prepare_engine
from lwisp.engines.frames import WholeFrame
from lwisp.weights import Card, InputConvention, load, to_header
from tests.conftest import TOY, refusal


def write(
    path: Path, card: str | None, channels: int = 4, sealed: bool = True, place: str | None = None, value: float = 1.0
) -> Path:
    """An ONNX file of one convolution of ones, with a card or without, its tensor at another place if named."""
    weight = helper.make_tensor("w", TensorProto.FLOAT, [3, channels, 1, 1], [value] * 3 * channels)
    if place is not None:
        weight.ClearField("float_data")
        weight.data_location = TensorProto.EXTERNAL
        weight.external_data.add(key="location", value=place)
    graph = helper.make_graph(
        [helper.make_node("Conv", ["planes", "w"], ["rgb"])],
        "g",
        [helper.make_tensor_value_info("planes", TensorProto.FLOAT, [1, channels, "h", "w"])],
        [helper.make_tensor_value_info("rgb", TensorProto.FLOAT, [1, 3, "h", "w"])],
        [weight],
    )
    content = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10).SerializeToString()
    tail = onnx.ModelProto()
    if card is not None:
        helper.set_model_props(tail, {CARD_KEY: card, SEAL_KEY: seal(content if sealed else content + b" ")})
    path.write_bytes(content + tail.SerializeToString())
    return path


CARD = to_header(Card("toy", LWISPConfig(4, 4, upsample=False), InputConvention(), "MIT"), "")


def test_what_is_no_export_of_ours_is_refused_in_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "x.onnx"
    assert load(write(path, CARD)).card.name == "toy"  # the material itself is sound
    assert "without a lwisp card" in refusal(path, load, write(path, None))
    assert "card does not fit" in refusal(path, load, write(path, "[1"))
    assert "card does not fit" in refusal(path, load, write(path, CARD.replace('"width": 4', '"width": 4, "depth": 9')))
    assert "SHA-256 differs" in refusal(path, load, write(path, CARD, sealed=False))
    assert "expected planes of (1, 4, h, w), got (1, 3, None, None)" in refusal(
        path, load, write(path, CARD, channels=3)
    )
    for content in (b"", b"not a network", write(path, CARD).read_bytes()[:90]):
        path.write_bytes(content)
        assert "damaged, or no network" in refusal(path, load, path)


def test_a_network_of_another_kind_on_the_card_is_refused(tmp_path: Path) -> None:
    architecture = '{"network": "unet"}'
    start = CARD.index('"architecture": ') + len('"architecture": ')
    card = CARD[:start] + architecture + CARD[CARD.index("}", start) + 1 :]
    assert "expected the architecture of an LW-ISP" in refusal(
        tmp_path / "x.onnx", load, write(tmp_path / "x.onnx", card)
    )


def test_tensors_in_other_files_are_never_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tensors.bin").write_bytes(bytes(3 * 4 * 4))
    for place in ("tensors.bin", "./tensors.bin", f"../..{tmp_path}/tensors.bin", str(tmp_path / "tensors.bin")):
        path = write(tmp_path / "x.onnx", CARD, place=place)
        assert "damaged, or no network" in refusal(path, load, path)


def test_an_engine_that_is_not_installed_is_named_with_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "x.onnx", CARD)
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    assert "onnxruntime is not installed; pip install 'lwisp[onnxruntime]'" in refusal(path, load, path)


def test_the_engine_of_a_file_is_the_only_one_that_runs_it(tmp_path: Path) -> None:
    network = load(write(tmp_path / "x.onnx", CARD)).runnable
    engine = prepare_engine(network)
    assert (engine.backend, engine.precision) == ("onnxruntime", "fp32")
    planes = np.random.default_rng(0).random((4, 32, 48), np.float32)
    assert np.allclose(engine(planes), planes.sum(0)[..., None].repeat(3, -1), atol=1e-6)
    assert engine.description == "onnxruntime in fp32 on 1 thread, which the weights are a file for"
    with pytest.raises(lwisp.InputError, match="are a file for onnxruntime, not for openvino"):
        prepare_engine(network, "openvino")
    with pytest.raises(lwisp.InputError, match="the file's own precision"):
        prepare_engine(network, precision="bf16")


def test_a_file_that_gives_another_picture_than_its_card_says_is_refused(tmp_path: Path) -> None:
    card = to_header(Card("toy", TOY, InputConvention(), "MIT"), "")
    engine = prepare_engine(load(write(tmp_path / "x.onnx", card)).runnable)
    with pytest.raises(lwisp.InputError, match=r"expected RGB of \(1, 3, 64, 96\) .*, got \(1, 3, 32, 48\)"):
        engine(np.zeros((4, 30, 48), np.float32))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("dtype", [np.float32, np.uint8, np.uint16])
def test_a_file_that_gives_no_numbers_gives_no_picture(value: float, dtype: type[Any], tmp_path: Path) -> None:
    engine = prepare_engine(load(write(tmp_path / "x.onnx", CARD, value=value)).runnable)
    planes = np.random.default_rng(0).random((4, 32, 48), np.float32) - np.float32(0.5)
    with pytest.raises(lwisp.InputError, match="got NaN or infinity by onnxruntime: export them in fp32, or take oth"):
        engine.develop(WholeFrame(planes), np.zeros((32, 48, 3), dtype))


def test_an_exported_file_is_no_module(tmp_path: Path) -> None:
    with pytest.raises(lwisp.InputError, match="are no module of torch; load a safetensors file"):
        _ = load(write(tmp_path / "x.onnx", CARD)).network


def test_an_ir_without_its_tensors_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.xml"
    path.write_text("<net")
    assert "expected x.bin" in refusal(path, load, path)
    path.with_suffix(".bin").write_bytes(b"")
    assert "damaged, or no network" in refusal(path, load, path)
