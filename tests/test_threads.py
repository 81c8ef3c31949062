"""One engine under many threads: everyone gets his own picture, bit for bit the one that is made alone."""

import copy
import gc
import pickle
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import lwisp
from lwisp.architecture import LWISPConfig
from lwisp.engines import backends
from lwisp.engines.contract import Array, CompileError
from lwisp.engines.eager_runner import EagerRunner
from lwisp.engines.engine import MARGIN, Engine, prepare_engine
from lwisp.engines.kept import _shelves
from lwisp.engines.names import Backend, Name
from lwisp.files.raw import RawImage
from lwisp.model import LWISP
from lwisp.weights import Card, InputConvention, Weights
from tests.conftest import TOY, require

THREADS = 32
SIZES = ((40, 60), (70, 40))
BACKENDS: tuple[Backend, ...] = ("torch", "openvino", "onnxruntime")


def raw(number: int) -> RawImage:
    """A RAW of its own content, one of two sizes."""
    rng = np.random.default_rng(number)
    mosaic = rng.integers(100, 4000, SIZES[number % len(SIZES)], dtype=np.uint16) // (1 + number % 3)
    return RawImage(mosaic, "RGGB", (64.0,) * 4, (4095.0,) * 4, (2.0, 1.0, 1.5))


RAWS = [raw(number) for number in range(10)]


def at_once(call: Callable[[int], Any], count: int = 40) -> list[Any]:
    """What a call gives for each number, by as many threads as begin together."""
    barrier = threading.Barrier(THREADS)

    def work(number: int) -> Any:
        if number < THREADS:
            barrier.wait()
        return call(number)

    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(work, range(count)))


def check_pictures(developer: lwisp.Developer, alone: lwisp.Developer, raws: Sequence[RawImage]) -> None:
    """Each picture that many threads get of a developer at once is the one that another gives them alone."""
    expected = [alone.develop(each) for each in raws]
    assert len({picture.tobytes() for picture in expected}) == len(raws)
    for number, picture in enumerate(at_once(lambda number: developer.develop(raws[number % len(raws)]))):
        assert np.array_equal(picture, expected[number % len(raws)]), number


@pytest.fixture(scope="module")
def weights() -> Weights:
    torch.manual_seed(0)
    return Weights(LWISP(TOY).eval(), Card("toy", TOY, InputConvention(), "MIT"))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("memory", [None, 60.0], ids=["sizes kept", "one size kept"])
def test_everyone_gets_his_own_picture(backend: Backend, memory: float | None, weights: Weights) -> None:
    if backend != "torch":
        require(backend)
    developer, alone = (lwisp.Developer(weights, backend, memory=memory) for _ in range(2))
    check_pictures(developer, alone, RAWS)


@pytest.mark.slow
@pytest.mark.parametrize("backend", BACKENDS)
def test_everyone_gets_his_own_picture_by_windows(
    backend: Backend, weights: Weights, monkeypatch: pytest.MonkeyPatch
) -> None:
    if backend != "torch":
        require(backend)
    developer, alone = (lwisp.Developer(weights, backend) for _ in range(2))
    tall = replace(RAWS[0], mosaic=np.tile(RAWS[0].mosaic, (9, 2)))
    for each in (developer, alone):  # some sizes by windows, others whole
        monkeypatch.setattr(each.engine, "_choose_window", lambda height, *_: 96 if height > 96 else None)
    check_pictures(developer, alone, [*RAWS, tall])


def test_passes_are_not_mixed_up() -> None:
    torch.manual_seed(0)
    config = LWISPConfig(3, 4, upsample=False)
    weights = Weights(LWISP(config).eval(), Card("rgb", config, InputConvention(), "MIT"))
    pictures = [
        np.random.default_rng(number).random((40 + 20 * (number % 2), 60, 3), np.float32) for number in range(6)
    ]
    expected = [lwisp.denoise(picture, weights) for picture in pictures]
    made = at_once(lambda number: lwisp.denoise(pictures[number % 6], weights), THREADS)
    assert all(np.array_equal(picture, expected[number % 6]) for number, picture in enumerate(made))


@pytest.mark.parametrize(("room", "expected"), [(3 * 10**6, range(1, 2)), (10**12, range(2, 5))])
def test_threads_wait_where_memory_has_no_room_for_their_pictures(
    room: int, expected: range, weights: Weights, monkeypatch: pytest.MonkeyPatch
) -> None:
    developer, alone = (lwisp.Developer(weights, "torch", "fp32") for _ in range(2))
    runner = developer.engine._runner
    assert isinstance(runner, EagerRunner)
    call, busy, most = runner._call, 0, 0
    lock = threading.Lock()

    def counted(name: str, *inputs: Array) -> list[Array]:
        nonlocal busy, most
        if not name.startswith("whole"):  # what is before the network takes no turn
            return call(name, *inputs)
        with lock:
            busy += 1
            most = max(most, busy)
        time.sleep(0.002)
        output = call(name, *inputs)
        with lock:
            busy -= 1
        return output

    monkeypatch.setattr(runner, "_call", counted)
    monkeypatch.setattr("lwisp.engines.engine.free_memory", lambda: MARGIN + room)
    check_pictures(developer, alone, RAWS[1::2])  # of 2.4 MB each
    assert most in expected


def test_a_picture_that_is_refused_leaves_its_place_to_others(
    weights: Weights, monkeypatch: pytest.MonkeyPatch
) -> None:
    developer, alone = (lwisp.Developer(weights, "torch", "fp32") for _ in range(2))
    expected = [alone.develop(each) for each in RAWS[:2]]
    room = MARGIN + 10**7  # which the larger of the two goes beyond
    monkeypatch.setattr("lwisp.engines.engine.free_memory", lambda: room)
    monkeypatch.setattr("lwisp.engines.engine.can_tile", lambda architecture: False)
    large = replace(RAWS[1], mosaic=np.tile(RAWS[1].mosaic, (9, 9)))

    def develop(number: int) -> NDArray[np.float32] | str:
        try:
            return developer.develop(large if number % 3 == 2 else RAWS[number % 3])
        except lwisp.InputError as error:
            return str(error)

    for number, picture in enumerate(at_once(develop)):
        if number % 3 == 2:
            assert "GB are free" in picture
        else:
            assert np.array_equal(picture, expected[number % 3])


def test_a_back_end_that_fails_is_left_once_by_all(weights: Weights, monkeypatch: pytest.MonkeyPatch) -> None:
    require("openvino")
    compile_model = backends.compile_model

    def fail(backend: Name, model: bytes, shapes: Sequence[tuple[int, ...]], *more: Any) -> Any:
        if backend == "openvino" and shapes[0][-2:] in ((48, 32), (48, 64)):
            raise CompileError("openvino: no such shape")
        return compile_model(backend, model, shapes, *more)

    monkeypatch.setattr(backends, "compile_model", fail)
    developer = lwisp.Developer(weights, precision="fp32")
    runners, make_runner = [], developer.engine._make_runner

    def found(*names: Any) -> Any:
        runners.append(make_runner(*names))
        return runners[-1]

    monkeypatch.setattr(developer.engine, "_make_runner", found)
    last = backends.others("openvino")[0]
    expected = [lwisp.Developer(weights, last, "fp32").develop(each) for each in RAWS]  # type: ignore[arg-type]
    for number, picture in enumerate(at_once(lambda number: developer.develop(RAWS[number % len(RAWS)]))):
        assert np.abs(picture - expected[number % len(RAWS)]).max() < 1e-5, number
    assert len(runners) == 1
    assert "because it failed in openvino: no such shape" in developer.engine.description
    assert np.array_equal(developer.develop(RAWS[0]), expected[0])
    with pytest.raises(lwisp.InputError, match="take --backend auto"):
        lwisp.Developer(weights, "openvino").develop(replace(RAWS[0], mosaic=np.tile(RAWS[0].mosaic, (2, 2))))


def test_a_developer_gives_what_develop_gives(weights: Weights) -> None:
    developer = lwisp.Developer(weights, "torch", "fp32")
    expected = lwisp.develop(weights, RAWS[0], 0.5, "fp32", "torch")
    assert np.array_equal(developer.develop(RAWS[0], 0.5), expected)
    for kind, top in ((np.uint8, 255), (np.uint16, 65535)):
        made = developer.develop(RAWS[0], 0.5, kind)
        assert np.array_equal(made, np.floor(expected * np.float32(top) + np.float32(0.5)).astype(kind))
    with pytest.raises(lwisp.InputError, match="expected an exposure of"):
        developer.develop(RAWS[0], 6)


def test_threads_of_a_developer_are_its_own(weights: Weights) -> None:
    before = torch.get_num_threads()
    for backend in ("openvino", "onnxruntime"):
        developer = lwisp.Developer(weights, backend, "fp32", threads=2)
        assert developer.engine.description == f"{backend} in fp32 on 2 threads"
        assert np.abs(developer.develop(RAWS[0]) - lwisp.develop(weights, RAWS[0], 0, "fp32")).max() < 1e-5
    assert lwisp.Developer(weights, "torch", threads=before).engine.threads == before
    with pytest.raises(lwisp.InputError, match=r"torch has \d+ threads? for the whole process, not 7 for one"):
        lwisp.Developer(weights, "torch", threads=7)
    with pytest.raises(lwisp.InputError, match="expected 1 thread or more, got 0"):
        lwisp.Developer(weights, threads=0)
    assert torch.get_num_threads() == before


@pytest.fixture
def own(weights: Weights) -> Weights:
    """Weights that no other test has developed with."""
    return replace(weights, source=copy.deepcopy(weights.network), _built={})


@pytest.fixture
def prepared(monkeypatch: pytest.MonkeyPatch) -> list[weakref.ref[Engine]]:
    """Of all engines that are prepared."""
    engines: list[weakref.ref[Engine]] = []
    prepare = prepare_engine

    def watched(*arguments: Any, **named: Any) -> Engine:
        engine = prepare(*arguments, **named)
        engines.append(weakref.ref(engine))
        return engine

    monkeypatch.setattr("lwisp.engines.engine.prepare_engine", watched)
    return engines


Prepared = list[weakref.ref[Engine]]


def test_a_second_call_prepares_nothing(own: Weights, prepared: Prepared) -> None:
    expected = [lwisp.develop(own, each, backend="torch") for each in RAWS]
    assert len(prepared) == 1
    made = at_once(lambda number: lwisp.develop(own, RAWS[number % len(RAWS)], backend="torch"))
    assert len(prepared) == 1
    assert all(np.array_equal(picture, expected[number % len(RAWS)]) for number, picture in enumerate(made))
    lwisp.develop(own, RAWS[0], backend="torch", precision="bf16")
    assert len(prepared) == 2
    lwisp.develop(own, RAWS[0], backend="torch", exposure=1)
    assert len(prepared) == 2


def test_many_threads_prepare_one_engine(own: Weights, prepared: Prepared) -> None:
    at_once(lambda number: lwisp.develop(own, RAWS[0], backend="torch"), THREADS)
    assert len(prepared) == 1


def test_engines_go_with_their_weights_and_few_are_kept(own: Weights, prepared: Prepared) -> None:
    others = replace(own)
    lwisp.develop(own, RAWS[0], backend="torch")
    for memory in (None, 50.0, 60.0, 70.0):
        lwisp.develop(others, RAWS[0], backend="torch", memory=memory)
    gc.collect()
    assert [engine() is not None for engine in prepared] == [True, False, False, True, True]
    number = id(others)
    del others
    gc.collect()
    assert [engine() is not None for engine in prepared] == [True, False, False, False, False]
    assert number not in _shelves


def test_a_network_that_was_changed_is_prepared_anew(own: Weights) -> None:
    before = lwisp.develop(own, RAWS[0], backend="torch")
    with torch.no_grad():
        own.network.get_parameter("out.bias").add_(1.0)
    after = lwisp.develop(own, RAWS[0], backend="torch")
    assert float((after - before).mean()) > 0.05
    own.network.load_state_dict(LWISP(TOY).state_dict())
    assert not np.array_equal(lwisp.develop(own, RAWS[0], backend="torch"), after)


def test_weights_are_copied_and_pickled_as_before(own: Weights) -> None:
    expected = lwisp.develop(own, RAWS[0], backend="torch")
    for same in (copy.copy(own), copy.deepcopy(own), replace(own, sha256="1"), pickle.loads(pickle.dumps(own))):
        assert vars(same).keys() == vars(own).keys()
        assert np.array_equal(lwisp.develop(same, RAWS[0], backend="torch"), expected)
