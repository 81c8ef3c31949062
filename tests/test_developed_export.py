"""Exported files that take a mosaic give the picture that the weights themselves give."""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

import lwisp
from lwisp.architecture import LWISPConfig
from lwisp.conversion import export, metadata, verify_developed
from lwisp.engines.backends import FORMATS
from lwisp.engines.contract import CONTRACT_KEY
from lwisp.engines.developed import INPUTS, contract
from lwisp.engines.exported import Exported
from lwisp.engines.names import PIXELS, Format
from lwisp.engines.openvino import openvino_core
from lwisp.files.optional import need
from lwisp.files.pictures import read_picture
from lwisp.files.raw import RawImage
from lwisp.imaging.bayer import CFAS
from lwisp.model import LWISP
from lwisp.pipeline import Developer, inputs_of
from lwisp.planes import FrameExposure
from lwisp.weights import Card, InputConvention, Weights, load
from tests.conftest import SAMPLE, TOY, refusal
from tests.test_cli import call

CELLS = LWISPConfig(width=4, cell=4, detail=8)
ZURICH = InputConvention("keep", "none", "camera", "none")
"""A convention of few steps."""
FALLING = InputConvention(shading=(0.4, -0.2, 0.1))
HEADROOM = InputConvention(headroom=2.0)
TOLD = InputConvention(shading=(0.4, -0.2, 0.1), headroom=1.5, noise=True)
INPUTS_BEFORE = [name for name in INPUTS if name not in ("highlights", "frame", "noise")]
"""Those of a file without headroom."""
MATRIX = np.array([[1.6, -0.5, -0.1], [-0.2, 1.5, -0.3], [0.0, -0.6, 1.6]], np.float32)


EXPORTED = [
    *((ZURICH, TOY), (FALLING, TOY), (InputConvention(), CELLS), (HEADROOM, TOY)),
    *((replace(HEADROOM, exposure="none"), TOY), (TOLD, replace(TOY, in_channels=5))),
    (TOLD, replace(CELLS, in_channels=5)),
    (InputConvention(noise=True), replace(TOY, in_channels=5)),
]


def make(convention: InputConvention = InputConvention(), config: LWISPConfig = TOY) -> Weights:
    """Random weights whose pictures differ from place to place."""
    torch.manual_seed(0)
    network = LWISP(config).eval()
    with torch.no_grad():
        for parameter in network.parameters() if config.cell == 2 else ():  # cells begin as a demosaicing
            parameter.mul_(1.7)
    return Weights(network, Card("toy", config, convention, "MIT"), "0" * 64)


def sense(height: int, width: int, cfa: Any = "RGGB") -> RawImage:
    mosaic = np.random.default_rng(height).integers(100, 4000, (height, width), dtype=np.uint16)
    return RawImage(
        mosaic, cfa, (90.0, 100.0, 110.0, 120.0), (3800.0, 3900.0, 4000.0, 4090.0), (2.1, 1.0, 1.6), MATRIX, 6
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Exports of the toy, made once, named for their pixels."""
    folder = tmp_path_factory.mktemp("developed")
    for pixels in PIXELS:
        export(make(), folder / f"{pixels}.onnx", "onnx", pixels=pixels)
        export(make(), folder / f"{pixels}.xml", "openvino", pixels=pixels)
    return folder


@pytest.mark.parametrize("suffix", ["onnx", "xml"])
@pytest.mark.parametrize("cfa", CFAS)
def test_a_file_gives_the_picture_that_the_weights_give(folder: Path, suffix: str, cfa: str) -> None:
    weights = make()
    files = {pixels: load(folder / f"{pixels}.{suffix}") for pixels in PIXELS}
    for height, width in ((2, 3), (3, 2), (64, 96), (131, 70)):
        raw = sense(height, width, cfa)
        expected = lwisp.develop(weights, raw, -0.7, "fp32", "torch")
        assert min(height, width) < 64 or expected.std() > 0.01
        for pixels, file in files.items():
            tolerance = {"float32": 1e-5, "uint16": 1e-5 + 1 / 65535, "uint8": 1 / 255}[pixels]
            picture = lwisp.develop(file, raw, -0.7)
            assert picture.shape == (width, height, 3)  # upright
            assert picture.dtype == np.float32
            assert np.abs(picture - expected).max() <= tolerance


@pytest.mark.parametrize("format", ["onnx", "openvino"])
@pytest.mark.parametrize(("convention", "config"), EXPORTED)
def test_every_convention_and_network_is_exported(
    convention: InputConvention, config: LWISPConfig, format: Format, tmp_path: Path
) -> None:
    weights = make(convention, config)
    path = tmp_path / ("x.onnx" if format == "onnx" else "x.xml")
    report = export(weights, path, format, pixels="float32")
    assert max(report.errors.values()) <= 1e-5
    raw = replace(sense(75, 90, "GBRG"), noise=(2e-3, 1e-5))
    strengths: dict[str, float] = {"highlights": 0.6} if convention.headroom else {}
    strengths |= {"noise_reduction": 1.7} if convention.noise else {}
    expected = lwisp.develop(weights, raw, 0.5, "fp32", "torch", **strengths)  # type: ignore[arg-type]
    assert np.abs(lwisp.develop(load(path), raw, 0.5, **strengths) - expected).max() <= 1e-5  # type: ignore[arg-type]
    for name in strengths:
        others = {key: strength for key, strength in strengths.items() if key != name}
        differs = lwisp.develop(weights, raw, 0.5, "fp32", "torch", **others)  # type: ignore[arg-type]
        assert np.abs(differs - expected).max() > 1e-4, name
    if convention.headroom:
        other = FrameExposure(1.3, 2.1)
        expected = Developer(weights, "torch", "fp32").develop(raw, frame=other)
        assert np.abs(Developer(load(path)).develop(raw, frame=other) - expected).max() <= 1e-5


@pytest.mark.parametrize("format", ["onnx", "openvino"])
def test_half_precision_is_in_the_network_alone(format: Format, tmp_path: Path) -> None:
    path = tmp_path / ("x.onnx" if format == "onnx" else "x.xml")
    export(make(), path, format, "fp16", pixels="float32")
    raw = sense(75, 90)
    assert np.abs(lwisp.develop(load(path), raw) - lwisp.develop(make(), raw, 0, "fp32", "torch")).max() < 5e-3
    if format == "onnx":
        model = onnx.load(path)
        weights = [tensor for tensor in model.graph.initializer if tensor.name.startswith("network.")]
        assert {tensor.data_type for tensor in weights} == {onnx.TensorProto.FLOAT16}
    else:
        model = openvino_core().read_model(path)
        halves = [node for node in model.get_ordered_ops() if node.get_type_name() == "Constant"]
        halves = [node for node in halves if node.get_element_type().get_type_name() == "f16"]
        sizes = sum(node.get_data().size for node in halves)
        assert sizes == sum(parameter.numel() for parameter in make().network.parameters())


def test_the_bare_runtime_needs_nothing_but_the_contract(folder: Path) -> None:
    model = onnx.load(folder / "uint16.onnx")
    onnx.checker.check_model(model, full_check=True)
    facts = {entry.key: json.loads(entry.value) for entry in model.metadata_props}
    assert set(facts) == {"lwisp", "lwisp_contract", "lwisp_seal"}
    assert (facts[CONTRACT_KEY]["version"], facts[CONTRACT_KEY]["pixels"]) == (1, "uint16")
    assert list(facts[CONTRACT_KEY]["inputs"]) == [entry.name for entry in model.graph.input] == INPUTS_BEFORE
    assert str(Path.cwd()) not in str(model)
    session = need("onnxruntime").InferenceSession(folder / "uint16.onnx", providers=["CPUExecutionProvider"])
    raw = sense(30, 41, "GRBG")
    facts_of = inputs_of(raw, exposure=1.0)
    (picture,) = session.run(["picture"], {name: facts_of[name] for name in INPUTS_BEFORE})
    assert (picture.shape, picture.dtype) == ((30, 41, 3), np.uint16)
    expected = lwisp.Developer(make(), "torch", "fp32").develop(replace(raw, orientation=1), 1.0, np.uint16)
    assert np.abs(picture.astype(int) - expected).max() <= 1


def test_the_card_and_the_contract_are_in_the_ir_too(folder: Path) -> None:
    info = openvino_core().read_model(folder / "uint8.xml")
    assert json.loads(info.get_rt_info(["lwisp", CONTRACT_KEY]).astype(str))["pixels"] == "uint8"
    assert json.loads(info.get_rt_info(["lwisp", "lwisp"]).astype(str))["licence"] == "MIT"


@pytest.mark.parametrize("suffix", ["onnx", "xml"])
def test_develop_writes_what_the_weights_write(folder: Path, toy_file: Path, tmp_path: Path, suffix: str) -> None:
    lwisp_file = tmp_path / "same.safetensors"
    lwisp_file.write_bytes(toy_file.read_bytes())
    exported = tmp_path / f"same.{suffix}"
    export(load(lwisp_file), exported, "onnx" if suffix == "onnx" else "openvino")
    pictures = []
    for weights in (lwisp_file, exported):
        output = tmp_path / f"{weights.suffix[1:]}.png"
        result = call("develop", SAMPLE, "--weights", weights, "-o", output, "--exposure", "0.5", "--precision", "fp32")
        assert result.exit_code == 0, result.output
        pictures.append(read_picture(output).rgb.astype(int))
    assert np.abs(pictures[0] - pictures[1]).max() <= 1


def test_what_a_file_cannot_give_is_refused_in_one_sentence(folder: Path, tmp_path: Path) -> None:
    result = call("develop", SAMPLE, "--weights", folder / "uint8.onnx", "-o", tmp_path / "x.tiff")
    assert (result.exit_code, "gives 8 bits, not 16" in result.stderr) == (1, True), result.output
    result = call("develop", SAMPLE, "--weights", folder / "uint16.onnx", "-o", tmp_path / "x.tiff")
    assert result.exit_code == 0, result.output
    with pytest.raises(lwisp.InputError, match="computed in fp32; take --precision auto"):
        lwisp.develop(load(folder / "uint8.xml"), sense(40, 40), precision="bf16")
    weights = load(folder / "uint8.onnx")
    engine = lwisp.Developer(weights).engine
    with pytest.raises(lwisp.InputError, match="takes a whole RAW, not planes; export one with --planes"):
        engine(np.zeros((4, 32, 32), np.float32))
    with pytest.raises(lwisp.InputError, match=r"--memory allows 0.01 GB"):
        lwisp.develop(weights, sense(40, 40), memory=0.01)


def change(path: Path, source: Path, **facts: Any) -> Path:
    """A copy of a file with other facts in its contract, which lies outside of what is sealed."""
    content = source.read_bytes()
    tail = onnx.ModelProto()
    known = json.loads(contract(InputConvention().preparation, "uint8")[CONTRACT_KEY])
    onnx.helper.set_model_props(tail, {CONTRACT_KEY: json.dumps({**known, **facts})})
    path.write_bytes(content + tail.SerializeToString())
    return path


def test_files_of_another_contract_are_refused_in_one_sentence(folder: Path, tmp_path: Path) -> None:
    path, source = tmp_path / "x.onnx", folder / "uint8.onnx"
    assert load(change(path, source)).card.name == "toy"  # the material itself is sound
    assert "expected a file of contract 1, got one of contract 2" in refusal(
        path, load, change(path, source, version=2)
    )
    assert "with pixels 'int4'" in refusal(path, load, change(path, source, pixels="int4"))
    assert "with pixels ['uint8']" in refusal(path, load, change(path, source, pixels=["uint8"]))
    with pytest.raises(lwisp.InputError, match=r"expected a picture of \(40, 40, 3\) in uint16 .* got .* in uint8"):
        lwisp.develop(load(change(path, source, pixels="uint16")), sense(40, 40))


def test_damaged_files_and_those_of_one_size_are_refused_in_one_sentence(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "x.onnx"
    content = (folder / "uint8.onnx").read_bytes()
    path.write_bytes(content[: len(content) // 2])
    assert "damaged" in refusal(path, load, path)
    changed = bytearray(content)
    changed[-200_000] ^= 1
    path.write_bytes(changed)
    message = refusal(path, load, path)
    assert "SHA-256 differs" in message or "damaged" in message
    model = onnx.load_from_string(content)
    for dim, side in zip(model.graph.input[0].type.tensor_type.shape.dim, (64, 96), strict=True):
        dim.dim_value = side
    del model.metadata_props[:]
    wrap = FORMATS["onnx"].wrap
    assert wrap is not None
    path.write_bytes(wrap(model.SerializeToString(), metadata(make(), "uint8"), "fp32")[0])
    assert "expected mosaics of any size, got a file for (64, 96) alone" in refusal(path, load, path)
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "H"
    model.graph.input[1].name = "black"
    model.graph.node.insert(0, onnx.helper.make_node("Identity", ["black"], ["black_level"]))
    path.write_bytes(wrap(model.SerializeToString(), metadata(make(), "uint8"), "fp32")[0])
    assert "expected the inputs mosaic, black_level, white_level" in refusal(path, load, path)


@pytest.mark.parametrize("name", ["float32.onnx", "float32.xml"])
def test_every_thread_gets_its_own_picture(folder: Path, name: str) -> None:
    shared = load(folder / name)
    developer = lwisp.Developer(shared)
    raws = [sense(40 + number % 2 * 30, 60 + number) for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(developer.develop, raws))
    for raw, picture in zip(raws, together, strict=True):
        assert np.array_equal(picture, lwisp.develop(shared, raw))


def test_a_file_that_gives_no_numbers_gives_no_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = make()
    monkeypatch.setattr("lwisp.conversion.verify_developed", lambda *_: {})
    assert isinstance(weights.network, LWISP)
    torch.nn.init.constant_(weights.network.out.weight, torch.nan)
    export(weights, tmp_path / "x.onnx", "onnx")
    with pytest.raises(lwisp.InputError, match="got NaN or infinity by onnxruntime"):
        lwisp.develop(load(tmp_path / "x.onnx"), sense(40, 40))


def test_a_file_that_differs_is_deleted(folder: Path) -> None:
    exported, weights = load(folder / "float32.onnx").source, make()
    assert isinstance(exported, Exported)
    network = weights.network
    assert isinstance(network, LWISP)
    assert max(verify_developed(network, exported, InputConvention(), 1e-5).values()) <= 1e-5
    with pytest.raises(lwisp.InputError, match=r"differs from torch by .* on a real mosaic, over 1e-05"):
        verify_developed(network, exported, replace(InputConvention(), exposure="none"), 1e-5)


def test_pixels_are_an_option_of_files_that_take_mosaics(toy_file: Path, tmp_path: Path) -> None:
    for rest in (("--planes",), ("--size", "48x64")):
        result = call("export", toy_file, "--format", "onnx", "-o", tmp_path / "x.onnx", "--pixels", "uint16", *rest)
        assert (result.exit_code, "--pixels is for ONNX and OpenVINO files" in result.stderr) == (2, True)
        assert result.stderr.count("\n") == 1
    result = call("export", toy_file, "--format", "onnx", "-o", tmp_path / "x.onnx", "--pixels", "uint16")
    assert "mosaic HxW uint16 -> picture HxWx3 uint16" in result.output


@pytest.mark.slow
def test_planes_are_an_option(toy_file: Path, tmp_path: Path) -> None:
    result = call("export", toy_file, "--format", "onnx", "-o", tmp_path / "y.onnx", "--planes")
    assert "planes 1x4xhxw float32 -> rgb float32" in result.output


def test_the_same_weights_give_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    export(make(), tmp_path / "x.onnx", "onnx", pixels="uint8")
    assert (tmp_path / "x.onnx").read_bytes() == (folder / "uint8.onnx").read_bytes()
