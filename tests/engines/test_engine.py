import re
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import lwisp
from lwisp.architecture import LWISPConfig
from lwisp.baselines.build import Baseline
from lwisp.baselines.config import BaselineConfig
from lwisp.engines import backends, runners
from lwisp.engines import engine as engines
from lwisp.engines.contract import Compiled, CompileError
from lwisp.engines.eager import has_bf16
from lwisp.engines.engine import MARGIN, prepare_engine
from lwisp.engines.frames import WholeFrame
from lwisp.engines.memory import free_memory, resident_memory
from lwisp.engines.names import Backend, Name, Precision
from lwisp.engines.tensors import run_network
from lwisp.engines.torch import TORCH
from lwisp.model import LWISP
from lwisp.pipeline import prepare
from lwisp.weights import Weights
from tests.conftest import ROOT, TOY, WriteDng, require

BACKENDS = ("torch", "openvino", "onnxruntime")


@pytest.fixture(scope="module")
def network() -> LWISP:
    torch.manual_seed(0)
    return LWISP(TOY).eval()


def noise(*shape: int) -> NDArray[np.float32]:
    return np.random.default_rng(0).random(shape, np.float32)


def plain(network: torch.nn.Module, planes: NDArray[np.float32]) -> NDArray[np.float32]:
    """(H, W, C), by the network's own pass."""
    with torch.inference_mode():
        picture: torch.Tensor = network(torch.from_numpy(planes)[None])[0]
    return picture.permute(1, 2, 0).numpy()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("size", [(1, 1), (1, 37), (33, 50)])
def test_every_back_end_gives_the_network_s_pixels(backend: Backend, size: tuple[int, int], network: LWISP) -> None:
    if backend != "torch":
        require(backend)
    planes = noise(4, *size)
    engine = prepare_engine(network, backend, "fp32")
    rgb = engine(planes)
    assert rgb.shape == (2 * size[0], 2 * size[1], 3)
    assert rgb.dtype == np.float32
    assert np.abs(rgb - plain(network, planes)).max() < 1e-5
    assert np.array_equal(engine(planes), rgb)
    assert (engine.backend, engine.precision) == (backend, "fp32")
    assert engine.description.startswith(f"{backend} in fp32 on 1 thread")


def cells_of_4(look: int = 0) -> LWISP:
    torch.manual_seed(0)
    network = LWISP(LWISPConfig(width=4, cell=4, detail=8, look=look)).eval()
    if look:
        torch.nn.init.normal_(network.get_parameter("look.layers.4.weight"), std=0.1)
    return network


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("look", [0, 4])
def test_every_back_end_gives_the_pixels_of_cells_of_4(backend: Backend, look: int) -> None:
    if backend != "torch":
        require(backend)
    network, planes = cells_of_4(look), noise(4, 33, 70)
    expected = plain(network, planes)
    engine = prepare_engine(network, backend, "fp32")
    whole = engine(planes)
    assert whole.shape == (66, 140, 3)
    assert np.abs(whole - expected).max() < 1e-5
    picture = np.zeros((64, 137, 3), np.uint8)
    engine.develop(WholeFrame(planes), picture, (1, 1))
    assert np.abs(picture / 255 - expected[1:65, 1:138]).max() < 0.5 / 255 + 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("backend", BACKENDS)
def test_windows_do_not_show_in_cells_of_4(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    if backend != "torch":
        require(backend)
    network, planes = cells_of_4(), noise(4, 203, 230)
    whole = prepare_engine(network, backend, "fp32")(planes)
    monkeypatch.setattr(engines.Engine, "_choose_window", lambda *_: 192)
    tiled = prepare_engine(network, backend, "fp32")(planes)
    assert np.abs(tiled - whole).max() < 3e-6


@pytest.mark.slow
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_windows_do_not_show(
    backend: Backend, precision: Precision, network: LWISP, monkeypatch: pytest.MonkeyPatch
) -> None:
    if backend != "torch":
        require(backend)
    if (backend, precision) == ("onnxruntime", "bf16"):
        pytest.skip("computes in fp32 only")
    planes = torch.rand(4, 171, 190)
    whole = run_network(network, planes, precision, backend)
    monkeypatch.setattr(engines.Engine, "_choose_window", lambda *_: 96)
    tiled = run_network(network, planes, precision, backend)
    assert float((tiled - whole).abs().max()) < (1e-5 if precision == "fp32" else 0.02)
    assert torch.equal(run_network(network, planes, precision, backend), tiled)


@pytest.mark.parametrize("backend", ["torch", "openvino"])
@pytest.mark.parametrize("name", ["CRW_0101.CRW", "CRW_0117.CRW", "gopro_hero6_mural.dng"])
def test_bf16_stays_within_55_db_of_fp32_on_real_files(backend: Backend, name: str) -> None:
    if backend != "torch":
        require(backend)
    photo = lwisp.load("photo")
    planes, _ = prepare(lwisp.read_raw(ROOT / "samples" / name), photo.card.convention)
    _, height, width = planes.shape
    planes = planes[:, height // 4 : height // 4 + 300, width // 4 : width // 4 + 400]
    network = photo.network
    exact, fast = (run_network(network, torch.from_numpy(planes), precision, backend) for precision in ("fp32", "bf16"))
    assert -10 * float(((exact - fast) ** 2).mean().log10()) > 55


@pytest.mark.parametrize("backend", BACKENDS)
def test_integers_are_the_rounded_floats(backend: Backend, network: LWISP) -> None:
    if backend != "torch":
        require(backend)
    planes = noise(4, 20, 30)
    frame = WholeFrame(planes)
    engine = prepare_engine(network, backend, "fp32")
    rgb = engine(planes)
    for kind, top in ((np.uint8, 255), (np.uint16, 65535)):
        picture = np.zeros((37, 55, 3), kind)
        engine.develop(frame, picture, (1, 0))
        assert np.array_equal(picture, np.floor(rgb[1:38, :55] * np.float32(top) + np.float32(0.5)).astype(kind))


def test_a_back_end_that_is_not_installed_is_named_or_left_out(network: LWISP, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends, "is_installed", lambda name: name == "torch")
    assert prepare_engine(network).backend == "torch"
    with pytest.raises(lwisp.InputError, match=re.escape("pip install openvino")):
        prepare_engine(network, "openvino")


@pytest.mark.parametrize(("failing", "last"), [({"openvino"}, "onnxruntime"), ({"openvino", "onnxruntime"}, "torch")])
def test_a_back_end_that_fails_is_left_by_auto_and_named_otherwise(
    failing: set[Name], last: Name, network: LWISP, monkeypatch: pytest.MonkeyPatch
) -> None:
    require("openvino")
    require("onnxruntime")
    compile_model = backends.compile_model

    def fail(backend: Name, *arguments: Any) -> Compiled:
        if backend in failing:
            raise CompileError(f"{backend}: no such processor")
        return compile_model(backend, *arguments)

    monkeypatch.setattr(backends, "compile_model", fail)
    planes = noise(4, 20, 30)
    engine = prepare_engine(network)
    assert engine.description.startswith("openvino")
    assert np.abs(engine(planes) - plain(network, planes)).max() < (1e-5 if engine.precision == "fp32" else 0.02)
    assert engine.backend == last
    assert engine.description.startswith(f"{last} in {engine.precision}")
    left = "onnxruntime" if last == "torch" else "openvino"
    assert f"because it failed in {left}: no such processor" in engine.description
    with pytest.raises(lwisp.InputError, match="no such processor; take --backend auto"):
        prepare_engine(network, "openvino")(planes)


def test_the_order_of_back_ends_is_the_one_of_preference(network: LWISP, monkeypatch: pytest.MonkeyPatch) -> None:
    installed = ["torch", "onnxruntime", "openvino"]
    monkeypatch.setattr(backends, "is_installed", lambda name: name in installed)
    monkeypatch.setattr(backends, "has_gpu", lambda: False)
    while installed:
        assert prepare_engine(network, precision="fp32").backend == installed[-1]
        assert backends.others(installed[-1]) == installed[-2::-1]
        installed.pop()
    with pytest.raises(lwisp.InputError, match="no engine for networks is installed; pip install openvino"):
        prepare_engine(network)


def test_torch_is_taken_where_it_has_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert backends.preferred() == "torch"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert backends.preferred() != "torch" or not backends.others("openvino")


def test_other_networks_run_on_torch() -> None:
    torch.manual_seed(0)
    baseline = Baseline(BaselineConfig("srcnn")).eval()
    planes = noise(4, 20, 30)
    engine = prepare_engine(baseline, precision="fp32")
    assert engine.backend == "torch"
    assert np.abs(engine(planes) - plain(baseline, planes)).max() < 1e-5
    with pytest.raises(lwisp.InputError, match="runs LW-ISP only, not other networks; take --backend torch"):
        prepare_engine(baseline, "onnxruntime")


@pytest.mark.parametrize("change", [{"ccb": False}, {"fgam": False}, {"upsample": False, "in_channels": 3}], ids=str)
def test_ablations_and_the_teacher_run_on_the_default(change: dict[str, bool]) -> None:
    torch.manual_seed(0)
    network = LWISP(LWISPConfig(width=4, **change)).eval()  # type: ignore[arg-type]
    planes = noise(network.config.in_channels, 37, 50)
    assert np.abs(prepare_engine(network, precision="fp32")(planes) - plain(network, planes)).max() < 1e-5


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_planes_that_are_not_finite_are_refused(value: float, network: LWISP) -> None:
    planes = noise(4, 20, 30)
    planes[2, 3, 4] = value
    with pytest.raises(lwisp.InputError, match="expected planes of finite numbers"):
        prepare_engine(network)(planes)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("window", [None, 96], ids=["whole", "windows"])
@pytest.mark.parametrize("residual", [False, True], ids=["raw", "rgb"])
def test_a_network_whose_numbers_overflow_gives_no_picture(
    backend: Backend, window: int | None, residual: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if backend != "torch":
        require(backend)
    torch.manual_seed(0)
    network = LWISP(LWISPConfig(3, 4, upsample=False, residual=True) if residual else TOY).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(1e9)
        if residual:
            network.out.bias.fill_(torch.inf)  # type: ignore[union-attr]
    engine = prepare_engine(network, backend, "fp32")
    monkeypatch.setattr(engine, "_choose_window", lambda *_: window)
    frame = WholeFrame(noise(network.config.in_channels, 130, 100))
    scale = network.config.scale
    for kind in (np.float32, np.uint8):
        picture = np.zeros((130 * scale, 100 * scale, 3), kind)
        with pytest.raises(lwisp.InputError, match=f"got NaN or infinity by {backend} in fp32: take other weights"):
            engine.develop(frame, picture)
    assert not engine._running


def test_infinity_that_would_be_cut_off_is_no_picture() -> None:
    network = LWISP(LWISPConfig(3, 4, upsample=False, residual=True)).eval()
    with torch.no_grad():
        network.out.bias[1] = torch.inf  # type: ignore[index]
    with pytest.raises(lwisp.InputError, match="in bf16: take --precision fp32, or other weights"):
        run_network(network, torch.rand(3, 40, 50), "bf16", "torch", passes=2)


def test_a_gpu_that_only_emulates_bf16_does_not_have_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation)
    assert not has_bf16("cuda")
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: True)
    assert has_bf16("cuda")


@pytest.mark.parametrize("memory", [0.0, -1.0, float("nan"), float("inf")])
def test_impossible_bounds_are_refused(memory: float, network: LWISP) -> None:
    with pytest.raises(lwisp.InputError, match="expected a memory bound above 0 GB"):
        prepare_engine(network, memory=memory)


def test_a_bound_too_small_is_said_before_work_begins(network: LWISP) -> None:
    engine = prepare_engine(network, "torch", "fp32", memory=0.001)
    with pytest.raises(lwisp.InputError, match=r"needs about \d\.\d\d GB in fp32, --memory allows 0.001 GB"):
        engine(noise(4, 20, 30))


def test_a_picture_is_run_by_windows_where_it_does_not_fit(network: LWISP, monkeypatch: pytest.MonkeyPatch) -> None:
    planes = noise(4, 300, 320)
    engine = prepare_engine(network, "torch", "fp32")
    bytes_of_picture = 600 * 640 * 12
    whole = 304 * 320 * 4 * TORCH.bytes_per_pixel["fp32"]
    monkeypatch.setattr("lwisp.engines.engine.free_memory", lambda: MARGIN + bytes_of_picture + whole - 1)
    assert np.abs(engine(planes) - plain(network, planes)).max() < 1e-5
    assert list(engine._windows.values()) == [256]


def test_memory_is_plausible() -> None:
    assert 2**28 < free_memory() < 2**45
    before = resident_memory()
    ballast = np.ones(2**27, np.uint8)
    assert 2**26 < resident_memory() - before < 2**29
    assert ballast[0] == 1


def test_networks_of_equal_weights_but_other_choices_are_not_mixed_up() -> None:
    require("openvino")
    torch.manual_seed(0)
    planes = noise(4, 20, 30)
    adds = LWISP(TOY)
    multiplies = LWISP(LWISPConfig(width=4, attention="multiply"))
    multiplies.load_state_dict(adds.state_dict())
    pictures = [prepare_engine(network, "openvino", "fp32")(planes) for network in (adds, multiplies)]
    for network, picture in zip((adds, multiplies), pictures, strict=True):
        assert np.abs(picture - plain(network, planes)).max() < 1e-5
    assert np.abs(pictures[0] - pictures[1]).max() > 1e-5


def test_weights_stay_as_they_are(toy: Weights) -> None:
    before = {name: value.clone() for name, value in toy.network.state_dict().items()}
    run_network(toy.network, torch.rand(4, 20, 30), "bf16", "torch")
    assert all(torch.equal(value, before[name]) for name, value in toy.network.state_dict().items())


def test_what_was_compiled_serves_the_next_picture(monkeypatch: pytest.MonkeyPatch, write_dng: WriteDng) -> None:
    require("openvino")
    raw = lwisp.read_raw(write_dng(np.random.default_rng(0).integers(64, 4000, (140, 200), dtype=np.uint16)))
    made: list[list[tuple[int, ...]]] = []
    compile_model = backends.compile_model

    def count(name: str, model: bytes, shapes: list[tuple[int, ...]], *arguments: object) -> object:
        made.append(shapes)
        return compile_model(name, model, shapes, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(engines, "KEPT_BYTES", 1000)  # of other sizes: less than one picture takes
    monkeypatch.setattr(backends, "compile_model", count)
    developer = lwisp.Developer(lwisp.load("photo"), "openvino", "fp32")
    for _ in range(3):
        developer.develop(raw)
    assert len(made) == 5, made  # colors of bright light, levels and colors, exposure rule, exposure, network


def test_compiled_steps_for_ever_new_widths_do_not_pile_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runners, "KEPT_SMALL", 3)
    monkeypatch.setattr(backends, "compile_model", lambda *_: None)
    runner = runners.CompiledRunner(runners.as_stored(LWISP(TOY)), "openvino", "fp32", None)
    runner.prepare("whole-float32", (1, 4, 32, 32), 10**9)
    for width in range(20, 40, 2):
        runner.prepare("light-", (20, width), 10**9)
    assert [key[0] for key in runner._kept] == ["whole-float32", *["light-"] * 3]
