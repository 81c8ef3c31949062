import pytest
import torch

from lwisp.data import unprocess
from lwisp.imaging import color

COUNT = 64


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_random_cameras_keep_neutral_neutral(generator: torch.Generator) -> None:
    camera = unprocess.random_camera(COUNT, generator)
    assert torch.allclose(camera.rgb2cam.sum(-1), torch.ones(COUNT, 3), atol=1e-4)
    assert bool((camera.white_balance[:, 1] == 1).all())
    assert float(camera.cam2rgb.abs().max()) < 4


def test_use_undoes_the_way_in(generator: torch.Generator) -> None:
    camera = unprocess.random_camera(COUNT, generator)
    light = torch.rand(COUNT, 3, 1, 1, generator=generator) * 0.8
    flat = light.expand(COUNT, 3, 8, 8)
    packed = unprocess.take_mosaic(unprocess.expose(flat, camera, torch.full((COUNT,), 0.5)))
    planes = color.canonicalize(packed, camera.white_balance, camera.cam2rgb) / 0.5
    assert torch.allclose(planes[:, [0, 1, 3]], light.expand(COUNT, 3, 4, 4), atol=1e-4)


def test_a_mosaic_takes_one_color_a_photosite() -> None:
    sensor = torch.rand(1, 3, 4, 6)
    packed = unprocess.take_mosaic(sensor)
    assert torch.equal(packed[0, 0], sensor[0, 0, ::2, ::2])
    assert torch.equal(packed[0, 1], sensor[0, 1, ::2, 1::2])
    assert torch.equal(packed[0, 2], sensor[0, 1, 1::2, ::2])
    assert torch.equal(packed[0, 3], sensor[0, 2, 1::2, 1::2])


@pytest.mark.parametrize("signal", [0.0, 0.1, 0.7])
def test_noise_has_the_variance_it_states(signal: float, generator: torch.Generator) -> None:
    shot, read = torch.tensor([0.01]), torch.tensor([0.0004])
    noisy = unprocess.add_noise(torch.full((1, 4, 200, 200), signal), shot, read, generator)
    assert float(noisy.mean()) == pytest.approx(signal, abs=1e-3)
    assert float(noisy.var()) == pytest.approx(0.01 * signal + 0.0004, rel=0.02)


def test_noise_is_drawn_as_brooks_draws_it(generator: torch.Generator) -> None:
    shot, read = unprocess.random_noise(20000, generator)
    assert float(shot.min()) >= 0.99e-4
    assert float(shot.max()) <= 1.21e-2
    residual = read.log() - 2.18 * shot.log() - 1.2
    assert float(residual.mean()) == pytest.approx(0, abs=0.01)
    assert float(residual.std()) == pytest.approx(0.26, abs=0.01)


def test_defects_come_in_the_share_asked_for(generator: torch.Generator) -> None:
    packed = torch.full((2, 4, 200, 200), 0.3)
    defective = unprocess.add_defects(packed, torch.tensor([0.01, 0.0]), generator)
    share = (defective != packed).float().mean((1, 2, 3))
    assert float(share[0]) == pytest.approx(0.01, rel=0.1)
    assert float(share[1]) == 0


def test_digitizing_rounds_and_clips_at_white_and_below_black() -> None:
    packed = torch.tensor([-0.5, -0.01, 0.50001, 1.3])[None, :, None, None]
    digital = unprocess.digitize(packed, torch.tensor([10]), torch.tensor([0.05]))[0, :, 0, 0]
    assert digital.tolist() == pytest.approx([-0.05, -10 / 1023, 512 / 1023, 1])


def test_a_capture_is_fixed_by_its_seed_and_noise_comes_on_top() -> None:
    photo = torch.rand(3, 32, 48, generator=torch.Generator().manual_seed(1))
    first, second = (unprocess.capture(photo, 3, noisy=True) for _ in range(2))
    clean = unprocess.capture(photo, 3, noisy=False)
    assert torch.equal(first.packed, second.packed)
    assert torch.equal(first.camera.rgb2cam, clean.camera.rgb2cam)
    assert torch.equal(first.exposure, clean.exposure)
    assert not torch.equal(first.packed, clean.packed)
    assert not torch.equal(unprocess.capture(photo, 4, noisy=False).packed, clean.packed)


def test_planes_and_target_show_the_same_thing() -> None:
    generator = torch.Generator().manual_seed(0)
    light = torch.rand(64, 3, 1, 1, generator=generator) * 0.6 + 0.02
    planes, target = unprocess.simulate(light.expand(64, 3, 8, 8), light.expand(64, 3, 64, 64), generator)
    seen = color.render(planes.mean((2, 3))[:, [0, 1, 3], None, None])
    difference = (seen - target[:, :, :1, :1]).abs().amax((1, 2, 3))
    assert float(difference.median()) < 0.03  # noise, defects and clipping shift some


def test_a_single_dot_stays_on_its_spot() -> None:
    light = torch.full((16, 3, 32, 32), 0.05)
    light[:, :, 10:12, 20:22] = 0.8
    frame = torch.full((16, 3, 64, 64), 0.9)
    planes, target = unprocess.simulate(light, frame, torch.Generator().manual_seed(3))
    for picture in (planes, target[..., ::2, ::2]):  # over all samples: in one, a hot photosite may be brighter
        assert divmod(int(picture.sum((0, 1)).argmax()), 16) == (5, 10)


def test_some_samples_get_colors_of_their_own(generator: torch.Generator) -> None:
    pictures, frames = torch.rand(COUNT, 3, 8, 8, generator=generator), torch.rand(COUNT, 3, 4, 4, generator=generator)
    frames[..., 0, 0] = pictures[..., 0, 0]
    recolored, changed = unprocess.recolor([pictures, frames], generator)
    kept = (recolored == pictures).flatten(1).all(1)
    assert 0.2 < float(kept.float().mean()) < 0.6
    assert torch.equal(kept, (changed == frames).flatten(1).all(1))
    assert torch.allclose(changed[..., 0, 0], recolored[..., 0, 0], atol=1e-6)  # the same change in all batches
    assert 0 <= float(recolored.min()) <= float(recolored.max()) <= 1.2
    gray = torch.rand(COUNT, 1, 8, 8, generator=generator).expand(-1, 3, -1, -1)
    for channel in unprocess.recolor([gray], generator)[0].unbind(1):  # only black and white move in a gray picture
        pairs = torch.stack([channel.flatten(1), gray[:, 0].flatten(1)], 1)
        assert min(abs(float(torch.corrcoef(pair)[0, 1])) for pair in pairs) > 0.999
