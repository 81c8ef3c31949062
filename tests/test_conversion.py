"""Exports are run by their own engines, through the public road: `export`, `load`, `run_network`."""

import copy
import json
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

import lwisp
from lwisp import conversion as exports
from lwisp.architecture import LWISPConfig
from lwisp.cli.commands import app
from lwisp.conversion import export, verify
from lwisp.engines.backends import BACKENDS, FORMATS
from lwisp.engines.contract import SEAL_KEY, Program, seal
from lwisp.engines.export import OPSET
from lwisp.engines.exported import Exported
from lwisp.engines.names import Backend, Format, Name, Precision
from lwisp.engines.openvino import openvino_core
from lwisp.engines.portable import portable
from lwisp.engines.tensors import run_network
from lwisp.files.optional import need
from lwisp.model import LWISP
from lwisp.weights import Card, InputConvention, Photo, Weights, load
from tests.conftest import SAMPLE, TOY
from tests.test_cli import call
from tests.test_threads import RAWS, check_pictures

onnxruntime = need("onnxruntime")

SIZES = ((2, 3), (33, 50), (96, 65))
RESTORING = LWISPConfig(3, 4, upsample=False, residual=True)


def make(config: LWISPConfig = TOY) -> Weights:
    torch.manual_seed(0)
    network = LWISP(config).eval()
    with torch.no_grad():  # outputs that differ from place to place, not all near 0.5
        for parameter in network.parameters():
            parameter.mul_(1.7)
        if config.residual:  # which begins with nothing to add
            network.out.weight.normal_(std=0.1)
    photos = (Photo("a.jpg", "CC0"),)
    return Weights(network, Card("toy", config, InputConvention(), "MIT", photos, {"steps": 3}), "0" * 64)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Exports of the toy, made once: converting takes seconds."""
    folder = tmp_path_factory.mktemp("exports")
    export(make(), folder / "free.onnx", "onnx", planes=True)
    export(make(), folder / "free.xml", "openvino", planes=True)
    assert sorted(path.name for path in folder.iterdir()) == ["free.bin", "free.onnx", "free.xml"]
    return folder


@pytest.fixture(scope="module")
def variants(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Exports in half precision and of one size, for slow tests."""
    folder = tmp_path_factory.mktemp("variants")
    export(make(), folder / "half.onnx", "onnx", "fp16", planes=True)
    export(make(), folder / "fixed.onnx", "onnx", size=(48, 64))
    assert sorted(path.name for path in folder.iterdir()) == ["fixed.onnx", "half.onnx"]
    return folder


def reference(planes: Tensor) -> Tensor:
    return run_network(make().network, planes, "fp32", "torch")


def run_file(path: Path, planes: Tensor, precision: Precision = "auto") -> Tensor:
    network = load(path).runnable
    assert isinstance(network, Exported)
    return run_network(network, planes, precision)


@pytest.mark.parametrize(
    "config",
    [TOY, LWISPConfig(4, 4, padding="zeros", attention="multiply", core_input="twice", contrast="gated"),
     LWISPConfig(3, 4, upsample=False), RESTORING, LWISPConfig(4, 4, fgam=False, ccb=False), LWISPConfig(),
     LWISPConfig(4, 4, fgam_reduced=True, fgam_before=True, near_dilation=3, far_dilation=5),
     LWISPConfig(4, 4, frame_colors=8)],
)  # fmt: skip
@pytest.mark.parametrize("slices", [True, False])
def test_the_portable_network_is_the_readable_one(config: LWISPConfig, slices: bool) -> None:
    network = make(config).network
    assert isinstance(network, LWISP)
    planes = 1.4 * torch.rand(1, config.in_channels, 48, 80) - 0.2
    with torch.inference_mode():
        expected, got = network(planes), portable(network, slices)(planes)
    assert expected.std() > 0.001
    assert torch.allclose(got, expected, rtol=0, atol=1e-5)


def check_export(path: Path, size: tuple[int, int], tolerance: float) -> None:
    """An exported toy has its card, and gives planes of this size as torch does."""
    weights = load(path)
    assert weights.card == make().card
    assert weights.sha256 == "0" * 64
    planes = torch.rand(4, *size)
    assert torch.allclose(run_file(path, planes, "fp32"), reference(planes), rtol=0, atol=tolerance)


@pytest.mark.parametrize("name", ["free.onnx", "free.xml"])
@pytest.mark.parametrize("size", SIZES)
def test_an_export_develops_any_size_as_torch_does(folder: Path, name: str, size: tuple[int, int]) -> None:
    check_export(folder / name, size, 1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("size", SIZES)
def test_an_export_in_half_precision_develops_any_size_as_torch_does(variants: Path, size: tuple[int, int]) -> None:
    check_export(variants / "half.onnx", size, 5e-3)


@pytest.mark.slow
def test_an_export_of_one_size_serves_what_is_padded_to_it(variants: Path) -> None:
    path = variants / "fixed.onnx"
    for size in ((48, 64), (33, 50)):
        planes = torch.rand(4, *size)
        assert torch.allclose(run_file(path, planes), reference(planes), rtol=0, atol=1e-5)
    with pytest.raises(lwisp.InputError, match=r"made for planes of 48x64, which 32x64 do not fill"):
        run_file(path, torch.rand(4, 32, 64))


def test_the_ir_computes_in_bf16_too(folder: Path) -> None:
    planes = torch.rand(4, 48, 64)
    difference = (run_file(folder / "free.xml", planes, "bf16") - reference(planes)).abs().max()
    assert 0 <= difference < 0.02


def test_the_card_and_the_preprocessing_are_read_without_lwisp(folder: Path) -> None:
    model = onnx.load(folder / "free.onnx")
    onnx.checker.check_model(model, full_check=True)
    assert model.opset_import[0].version == OPSET
    props = {prop.key: json.loads(prop.value) for prop in model.metadata_props}
    info = openvino_core().read_model(folder / "free.xml")
    for key in ("lwisp", "lwisp_preprocessing"):
        assert json.loads(info.get_rt_info(["lwisp", key]).astype(str)) == props[key]
    assert props["lwisp"]["licence"] == "MIT"
    assert props["lwisp"]["photos"] == [{"file": "a.jpg", "licence": "CC0", "author": "", "source": ""}]
    assert props["lwisp_preprocessing"]["saturation"] == [0.88, 0.95]
    assert props["lwisp_preprocessing"]["exposure"]["white_quantile"] == 0.99
    assert str(Path.cwd()) not in str(model)  # where it was made is nobody's business


def test_the_card_of_an_export_is_shown(folder: Path) -> None:
    page = call("weights", "show", folder / "free.onnx").stdout
    assert "A file for onnxruntime, " in page
    assert f"- SHA-256 of the tensors: `{'0' * 64}`" in page
    assert "| a.jpg | CC0 |" in page


def check_bare_runtime(path: Path) -> None:
    """ONNX Runtime alone gives what torch gives, in float32."""
    planes = np.random.default_rng(0).random((1, 4, 64, 48), np.float32)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (rgb,) = session.run(["rgb"], {"planes": planes})
    assert (rgb.shape, rgb.dtype) == ((1, 3, 128, 96), np.float32)
    assert np.abs(rgb - reference(torch.from_numpy(planes[0])).numpy()).max() < 5e-3


def test_a_file_runs_in_the_bare_runtime_in_float32(folder: Path) -> None:
    check_bare_runtime(folder / "free.onnx")


@pytest.mark.slow
def test_a_file_in_half_precision_runs_in_the_bare_runtime_in_float32(variants: Path) -> None:
    check_bare_runtime(variants / "half.onnx")


@pytest.mark.slow
def test_half_precision_is_in_the_file(folder: Path, variants: Path) -> None:
    assert (variants / "half.onnx").stat().st_size < 0.8 * (folder / "free.onnx").stat().st_size
    model = onnx.load(variants / "half.onnx")
    convolution = next(node for node in model.graph.node if node.op_type == "Conv")
    weight = next(tensor for tensor in model.graph.initializer if tensor.name == convolution.input[1])
    assert weight.data_type == onnx.TensorProto.FLOAT16


def test_a_converter_that_misorders_the_pixel_shuffle_is_refused(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(*arguments: Any) -> list[bytes]:
        model = onnx.load(folder / "free.onnx")
        shuffles = [node for node in model.graph.node if node.op_type == "DepthToSpace"]
        assert len(shuffles) == 4
        for node in shuffles:
            for attribute in node.attribute:
                if attribute.name == "mode":
                    attribute.s = b"DCR"
        return seal_again(model)

    monkeypatch.setitem(FORMATS, "onnx", replace(FORMATS["onnx"], export=wrong))
    with pytest.raises(lwisp.InputError, match=r"deleted, because it differs from torch by .* pixel shuffles put"):
        export(make(), tmp_path / "wrong.onnx", "onnx", planes=True)
    assert list(tmp_path.iterdir()) == []


def seal_again(model: onnx.ModelProto) -> list[bytes]:
    metadata = exports.metadata(make())
    del model.metadata_props[:]
    content = model.SerializeToString()
    tail = onnx.ModelProto()
    onnx.helper.set_model_props(tail, {**metadata, SEAL_KEY: seal(content)})
    return [content + tail.SerializeToString()]


@pytest.mark.slow
def test_a_converter_that_loses_precision_is_refused(
    variants: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lossy = replace(FORMATS["onnx"], export=lambda *_: [(variants / "half.onnx").read_bytes()])
    monkeypatch.setitem(FORMATS, "onnx", lossy)
    path = tmp_path / "lossy.onnx"
    path.write_text("what was there before")
    with pytest.raises(lwisp.InputError, match=r"lossy.onnx: deleted, because it differs .* over 1e-05$"):
        export(make(), path, "onnx", overwrite=True, planes=True)
    assert path.read_text() == "what was there before"
    assert [entry.name for entry in tmp_path.iterdir()] == ["lossy.onnx"]


def test_not_a_number_is_a_difference() -> None:
    network = make().network
    assert isinstance(network, LWISP)

    def run(planes: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        height, width = planes.shape[-2:]
        return [np.full((1, 3, 2 * height, 2 * width), np.nan, np.float32)]

    broken = Exported(network.config, Program("onnxruntime", {}, {"planes": (1, 4, None, None)}, lambda *_: run))
    with pytest.raises(lwisp.InputError, match=r"differs from torch by nan on flat 0.0 of 33x50"):
        verify(network, broken, None, 1e-5)


def test_a_changed_byte_is_noticed(folder: Path, tmp_path: Path) -> None:
    for name, other in (("free.onnx", "free.onnx"), ("free.xml", "free.bin")):
        for source in {name, other}:
            (tmp_path / source).write_bytes((folder / source).read_bytes())
        content = bytearray((folder / other).read_bytes())
        content[3000] ^= 1
        (tmp_path / other).write_bytes(content)
        with pytest.raises(lwisp.InputError, match=r"SHA-256 differs|damaged"):
            load(tmp_path / name)
        (tmp_path / other).write_bytes(content[:-2000])
        with pytest.raises(lwisp.InputError, match=r"SHA-256 differs|damaged"):
            load(tmp_path / name)


def test_develop_takes_an_exported_file(folder: Path, tmp_path: Path) -> None:
    for name in ("free.onnx", "free.xml"):
        output = tmp_path / f"{name}.png"
        result = call("develop", SAMPLE, "--weights", folder / name, "-o", output)
        assert result.exit_code == 0, result.output
        assert output.is_file()


@pytest.mark.parametrize("name", ["free.onnx", "free.xml"])
def test_every_thread_gets_its_own_picture_of_an_export(folder: Path, name: str) -> None:
    check_pictures(lwisp.Developer(load(folder / name)), lwisp.Developer(load(folder / name)), RAWS)
    shared = load(folder / name)  # and where two have loaded it once
    check_pictures(lwisp.Developer(shared), lwisp.Developer(shared), RAWS)
    developer = lwisp.Developer(copy.deepcopy(shared), threads=2)
    assert "on 2 threads" in developer.engine.description
    assert np.abs(developer.develop(RAWS[0]) - lwisp.develop(shared, RAWS[0])).max() < 1e-5


@pytest.mark.slow
def test_weights_that_add_to_their_input_are_exported_too(tmp_path: Path) -> None:
    weights, path = make(RESTORING), tmp_path / "restore.onnx"
    assert max(export(weights, path, "onnx").errors.values()) <= 1e-5
    rgb = np.random.default_rng(0).random((33, 50, 3), np.float32)
    expected = lwisp.denoise(rgb, weights, "fp32", "torch")
    assert np.abs(expected - rgb).max() > 0.01
    assert np.abs(lwisp.denoise(rgb, load(path)) - expected).max() < 1e-5


def test_what_cannot_be_exported_is_refused_before_work_begins(toy_file: Path, tmp_path: Path, folder: Path) -> None:
    for arguments, word in (
        (("onnx", "x.xml"), "ending in .onnx"),
        (("litert", "x.tflite"), "one size only"),
        (("onnx", "x.onnx", "--size", "48x65"), "multiples of 16"),
        (("onnx", "x.onnx", "--size", "16x64"), "from 32 up"),
        (("onnx", "x.onnx", "--size", "48"), "HEIGHTxWIDTH"),
        (("litert", "x.tflite", "--size", "48x64", "--precision", "fp16"), "not for litert"),
        (("onnx", "none/x.onnx"), "there is no folder"),
    ):
        kind, name, *rest = arguments
        result = call("export", toy_file, "--format", kind, "-o", tmp_path / name, *rest)
        assert (result.exit_code, word in result.stderr) == (2, True), result.output
        assert result.stderr.count("\n") == 1
    (tmp_path / "there.bin").write_bytes(b"")
    result = call("export", toy_file, "--format", "openvino", "-o", tmp_path / "there.xml")
    assert (result.exit_code, "there.bin exists already" in result.stderr) == (2, True)
    result = call("export", folder / "free.onnx", "--format", "onnx", "-o", tmp_path / "x.onnx")
    assert (result.exit_code, "no LW-ISP in a safetensors file" in result.stderr) == (2, True)
    assert call("export", toy_file, "--format", "tensorrt", "-o", "x.trt").exit_code == 2


@pytest.mark.parametrize("format", ["litert", "executorch"])
def test_engines_with_an_environment_of_their_own_agree_too(format: Format, toy_file: Path, tmp_path: Path) -> None:
    output = tmp_path / f"toy{FORMATS[format].suffix}"
    arguments = ("export", toy_file, "--format", format, "--size", "48x64", "-o", output)
    try:
        need({"litert": "litert_torch", "executorch": "executorch"}[format])
    except lwisp.InputError as error:
        result = call(*arguments)
        assert (result.exit_code, result.stderr) == (2, f"lwisp: {error}\n")
        pytest.skip(str(error))
    result = call(*arguments)
    assert result.exit_code == 0, result.output
    weights, planes = load(output), torch.rand(4, 47, 50)
    assert weights.card == load(toy_file).card
    expected = run_network(load(toy_file).network, planes, "fp32", "torch")
    assert torch.allclose(run_file(output, planes), expected, atol=1e-5)


def test_the_formats_of_the_command_are_those_of_the_function() -> None:
    assert set(FORMATS) == set(get_args(Format))
    assert list(BACKENDS) == list(get_args(Name))
    compiles = [name for name, back_end in BACKENDS.items() if name == "torch" or back_end.compile]
    assert ["auto", *compiles] == list(get_args(Backend))
    assert app.registered_commands


@pytest.mark.slow
def test_tensors_of_another_network_beside_an_output_are_not_overwritten(folder: Path, tmp_path: Path) -> None:
    output, tensors = tmp_path / "x.xml", tmp_path / "x.bin"
    tensors.write_bytes(b"a firmware image")
    with pytest.raises(lwisp.InputError, match=r"x.bin beside it belongs to no file of lwisp"):
        export(make(), output, "openvino", overwrite=True)
    output.write_text("<net")
    with pytest.raises(lwisp.InputError, match=r"x.bin beside it belongs to no file of lwisp"):
        export(make(), output, "openvino", overwrite=True)
    assert tensors.read_bytes() == b"a firmware image"
    for path in (output, tensors):
        path.write_bytes((folder / f"free{path.suffix}").read_bytes())
    export(make(), output, "openvino", size=(48, 64), overwrite=True)
    assert load(output).card.name == "toy"
