"""Structures: the shipped ones are those of today's source, and with weights they compute what torch computes."""

import json
import runpy
import zipfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from onnx import numpy_helper

import lwisp
from lwisp.architecture import LWISPConfig
from lwisp.baselines.config import Architecture
from lwisp.engines import names, stages, structures
from lwisp.engines.backends import compile_model
from lwisp.engines.contract import Array
from lwisp.engines.eager import shapes_of
from lwisp.engines.engine import prepare_engine
from lwisp.engines.modules import make_module
from lwisp.engines.runners import as_stored
from lwisp.engines.tracing import trace
from lwisp.model import LWISP
from tests.conftest import ROOT, TOY, require

SCRIPT = runpy.run_path(str(ROOT / "benchmarks" / "structures.py"))
FOLDER: Path = SCRIPT["FOLDER"]
SHIPPED: list[LWISPConfig] = SCRIPT["shipped"]()
Compiling = Literal["openvino", "onnxruntime"]
ENGINES: tuple[Compiling, ...] = get_args(Compiling)
CELLS = LWISPConfig(width=4, cell=4, detail=8)
RNG = np.random.default_rng(0)
ADVICE = "the source of the networks has changed: run `python benchmarks/structures.py` and commit what it writes"


@pytest.mark.slow
@pytest.mark.parametrize("architecture", [None, *SHIPPED], ids=stages.file_of)
def test_the_shipped_structures_are_those_of_todays_source(architecture: Architecture | None) -> None:
    with zipfile.ZipFile(FOLDER / stages.file_of(architecture)) as archive:
        found = {name: archive.read(name) for name in archive.namelist()}
    if architecture is not None:
        assert found.pop(stages.SHAPES) == json.dumps(shapes_of(architecture)).encode(), ADVICE
    assert sorted(found) == sorted(f"{name}.onnx" for name in stages.names_of(architecture)), ADVICE
    for name in stages.names_of(architecture):
        assert found[f"{name}.onnx"] == trace(architecture, name), f"{name}: {ADVICE}"


def test_nothing_else_is_shipped() -> None:
    expected = {stages.file_of(architecture) for architecture in (None, *SHIPPED)}
    assert {path.name for path in FOLDER.iterdir()} == expected, ADVICE


def run_both(
    architecture: LWISPConfig | None, network: LWISP | None, name: str, inputs: Sequence[Array], backend: Compiling
) -> tuple[list[Array], list[Array]]:
    """What a back end computes of a structure with weights, and what the torch module does."""
    tensors = {} if network is None else as_stored(network).tensors
    model = structures.fill(structures.structure(architecture, name), tensors)
    found = compile_model(backend, model, [values.shape for values in inputs], False)(*inputs)
    with torch.inference_mode():
        outputs = make_module(network, name)(*(torch.from_numpy(values.astype(np.float32)) for values in inputs))
    return found, [output.numpy() for output in (outputs if isinstance(outputs, tuple) else (outputs,))]


@pytest.mark.parametrize("backend", ENGINES)
@pytest.mark.parametrize("pixels", names.PIXELS)
@pytest.mark.parametrize("config", [TOY, CELLS], ids=["cells of 2", "cells of 4"])
def test_a_structure_with_weights_is_the_network(config: LWISPConfig, pixels: str, backend: Compiling) -> None:
    require(backend)
    torch.manual_seed(0)
    planes = RNG.random((1, 4, 64, 96), np.float32)
    (picture, total), (expected, expected_total) = run_both(
        config, LWISP(config).eval(), f"whole-{pixels}", [planes], backend
    )
    assert picture.shape == expected.shape == (128, 192, 3)
    assert picture.dtype == pixels
    assert np.ptp(expected) > 0.01
    difference = np.abs(picture.astype(np.float64) - expected)
    if pixels == "float32":
        assert difference.max() < 1e-5
    else:  # a value between two integers may be rounded either way
        assert difference.max() <= 1
        assert (difference > 0).mean() < 0.02
    assert np.isclose(total, expected_total, rtol=1e-5)


@pytest.mark.parametrize("backend", ENGINES)
@pytest.mark.parametrize("name", stages.LIGHTS)
def test_the_steps_before_the_network_are_those_of_torch(name: str, backend: Compiling) -> None:
    require(backend)
    photosites = RNG.integers(0, 4096, (68, 100), dtype=np.uint16)
    photosites[:20, :20] = 4095  # blown
    facts: list[NDArray[Any]] = [np.array([60, 64, 64, 70], np.float32), np.full(4, 4095, np.float32)]
    if name.removeprefix("light-")[:1] in ("b", "g", "h"):
        facts.append(np.array([2, 1, 1.5], np.float32))
    if "h" in name.removeprefix("light-"):
        facts.append(RNG.random((3, 34, 50), np.float32) + 0.5)
    if "m" in name:
        facts.append(np.array([[1.5, -0.4, -0.1], [-0.2, 1.4, -0.2], [0, -0.5, 1.5]], np.float32))
    (planes,), (expected,) = run_both(None, None, name, [photosites, *facts], backend)
    assert planes.shape == expected.shape == (1, 4, 32, 48)
    assert np.abs(planes - expected).max() < 1e-5


@pytest.mark.parametrize("backend", ENGINES)
def test_the_gain_is_that_of_torch(backend: Compiling) -> None:
    require(backend)
    for light in (0.01, 0.1, 0.5, 2.0):
        grid = light * RNG.random((1, 4, 64, 64), np.float32) ** 2
        (found,), (expected,) = run_both(None, None, "gain", [grid], backend)
        assert found.shape == (2,)
        assert np.allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize("backend", ENGINES)
def test_the_colors_of_bright_light_are_those_of_torch(backend: Compiling) -> None:
    require(backend)
    gains = np.array([2, 1, 1.5], np.float32)
    for height, width in ((2, 2), (6, 130), (300, 402)):
        photosites = RNG.integers(0, 4096, (height, width), dtype=np.uint16)
        facts: list[NDArray[Any]] = [photosites, np.full(4, 64, np.float32), np.full(4, 4095, np.float32), gains]
        (found,), (expected,) = run_both(None, None, "colors", facts, backend)
        assert found.shape == (3, 64, 64)
        assert np.abs(found - expected).max() < 1e-5


@pytest.mark.parametrize("backend", ENGINES)
@pytest.mark.parametrize("name", [*stages.LINEARS, *stages.ENCODES])
def test_the_steps_of_demosaiced_pictures_are_those_of_torch(name: str, backend: Compiling) -> None:
    require(backend)
    for height, width in ((64, 100), (1, 3), (70, 65)):
        if name in stages.ENCODES:
            planes = 3 * RNG.random((1, 3, height, width), np.float32) - 0.1
            facts: list[NDArray[Any]] = [planes, np.array(1.5, np.float32), np.array(3.2, np.float32)]
            facts += [np.array([2e-3, 1e-5], np.float32)] * name.endswith("n")
        else:
            pixels = RNG.integers(0, 4096, (height, width, 3), dtype=np.uint16)
            pixels[:20, :20] = 4095  # blown
            facts = [pixels, np.array([60, 64, 70], np.float32), np.full(3, 4095, np.float32)]
            facts.append(np.array([2, 1, 1.5], np.float32))
            facts += [RNG.random((3, height, width), np.float32) + 0.5] * (name == "linear-h")
            matrix = np.array([[1.5, -0.4, -0.1], [-0.2, 1.4, -0.2], [0, -0.5, 1.5]], np.float32)
            facts += [matrix] * (name != "linear-colors")
        (found,), (expected,) = run_both(None, None, name, facts, backend)
        assert found.shape == expected.shape
        assert np.abs(found - expected).max() < 2e-5


@pytest.mark.parametrize("backend", ENGINES)
@pytest.mark.parametrize("name", stages.EXPOSES)
def test_the_last_step_before_the_network_is_that_of_torch(name: str, backend: Compiling) -> None:
    require(backend)
    planes = 3 * RNG.random((1, 4, 64, 100), np.float32) - 0.1
    facts: list[NDArray[Any]] = [planes, np.array(1.5, np.float32), np.array(3.2, np.float32)]
    if name == "expose-n":
        facts.append(np.array([2e-3, 1e-5], np.float32))
    (found,), (expected,) = run_both(None, None, name, facts, backend)
    assert found.shape == (1, 5 if name == "expose-n" else 4, 64, 100)
    assert np.abs(found - expected).max() < 1e-5


@pytest.mark.parametrize("backend", ENGINES)
def test_an_architecture_that_is_not_shipped_is_traced(backend: Compiling) -> None:
    require(backend)
    assert not (FOLDER / stages.file_of(TOY)).exists()
    torch.manual_seed(0)
    network, planes = LWISP(TOY).eval(), RNG.random((4, 33, 50), np.float32)
    with torch.inference_mode():
        expected = network(torch.from_numpy(planes[None]))[0].permute(1, 2, 0).numpy()
    assert np.abs(prepare_engine(as_stored(network), backend, "fp32")(planes) - expected).max() < 1e-5


@pytest.mark.parametrize("missing", ["torch", "onnx"])
def test_without_torch_it_is_said_what_to_install(
    missing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    require("onnxruntime")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(structures, "is_there", lambda package: package != missing)
    structures.structure.cache_clear()
    stored = as_stored(LWISP(TOY).eval())
    with pytest.raises(lwisp.InputError) as caught:
        prepare_engine(stored, "onnxruntime", "fp32")(np.zeros((4, 32, 32), np.float32))
    assert "pip install 'lwisp[torch]'" in str(caught.value)
    assert "\n" not in str(caught.value)
    if missing == "torch":
        structures.known_shapes.cache_clear()
        assert structures.shapes(TOY) is None
    structures.known_shapes.cache_clear()
    for architecture in SHIPPED:
        assert structures.shapes(architecture) == shapes_of(architecture)
        assert structures.structure(architecture, "whole-uint8")


@pytest.mark.parametrize("value", [0, 1, 127, 128, 300, 2**14 - 1, 2**14, 2**31, 2**40 + 5])
def test_integers_are_coded_in_sevens(value: int) -> None:
    coded = structures._varint(value)
    assert sum((byte & 127) << 7 * place for place, byte in enumerate(coded)) == value
    assert [byte >> 7 for byte in coded] == [1] * (len(coded) - 1) + [0]
    assert len(coded) == max(1, -(-value.bit_length() // 7))


@pytest.mark.parametrize("shape", [(), (1,), (7,), (127,), (128,), (300, 2, 3, 3), (5, 200, 1, 1)])
@pytest.mark.parametrize("name", ["w", 40 * "long."])
def test_tensors_are_read_by_onnx_as_they_were(shape: tuple[int, ...], name: str) -> None:
    values = RNG.random(shape).astype(np.float16)
    named = onnx.ModelProto()
    named.graph.node.add(op_type="Neg", input=[stages.PREFIX + name], output=["y"])
    filled = structures.fill(named.SerializeToString(), {name: values, "unnamed": values})
    model = onnx.load_model_from_string(filled)
    (tensor,) = model.graph.initializer  # the one that is named
    assert tensor.name == stages.PREFIX + name
    found = numpy_helper.to_array(tensor)
    assert found.dtype == np.float32
    assert found.shape == shape
    assert np.array_equal(found, values.astype(np.float32))
    assert model.graph.node == named.graph.node


def test_every_weight_that_a_structure_takes_is_put_into_it() -> None:
    stored = as_stored(LWISP(TOY).eval())
    for name in stages.names_of(TOY):
        model = onnx.load_model_from_string(structures.fill(structures.structure(TOY, name), stored.tensors))
        taken = {entry for node in model.graph.node for entry in node.input}
        weights = {tensor.name for tensor in model.graph.initializer if tensor.name.startswith(stages.PREFIX)}
        assert {entry for entry in taken if entry.startswith(stages.PREFIX)} <= weights, name


@pytest.mark.parametrize(
    "change",
    [{"fgam_maps": "spatial"}, {"fgam_reduced": True}, {"fgam_before": True}, {"far_dilation": 4}, {"frame_colors": 8}],
    ids=str,
)
def test_a_studied_network_runs_as_a_whole_under_a_name_of_its_own(change: dict[str, Any]) -> None:
    studied = replace(TOY, **change)
    assert stages.can_tile(TOY)
    assert not stages.can_tile(studied)
    assert stages.file_of(studied) != stages.file_of(TOY)
    network, planes = LWISP(studied).eval(), RNG.random((1, 4, 32, 48), np.float32)
    require("onnxruntime")
    found, expected = run_both(studied, network, "whole-float32", [planes], "onnxruntime")
    assert np.allclose(found[0], expected[0], atol=1e-5)


def test_the_name_of_a_structure_stays_what_it_was_before_the_ablations() -> None:
    assert stages.file_of(LWISPConfig(in_channels=5, attention="centered")) in {path.name for path in FOLDER.iterdir()}
