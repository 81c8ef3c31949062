import torch

from lwisp.data import dead_leaves

PALETTE = torch.tensor([[0.2, 0.8], [0.5, 0.1], [0.9, 0.3]])


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_a_picture_is_a_function_of_its_generator() -> None:
    first, again, other = (dead_leaves.draw(64, PALETTE, seeded(seed)) for seed in (0, 0, 1))
    assert first.shape == (3, 64, 64)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_things_have_the_colors_of_the_palette_but_for_their_shading() -> None:
    """Every flat pixel is a palette color by some factor within the shading."""
    for seed in range(20):
        picture = dead_leaves.draw(96, PALETTE, seeded(seed))
        assert 0 <= float(picture.min()) <= float(picture.max()) <= 1
        flat = (picture[:, 1:, 1:] - picture[:, :-1, :-1]).abs().amax(0) < 1e-3
        pixels = picture[:, 1:, 1:][:, flat]
        if pixels.numel():
            ratios = pixels[:, None] / PALETTE[:, :, None]  # (3, 2, n)
            spread = (ratios.amax(0) - ratios.amin(0)).amin(0)
            assert float(spread.quantile(0.9)) < 0.06


def test_there_is_no_grain_in_flat_things() -> None:
    """Most of a picture is flat or evenly shaded: second differences vanish there."""
    shares = []
    for seed in range(20):
        picture = dead_leaves.draw(96, PALETTE, seeded(seed))
        bend = picture[..., 2:] - 2 * picture[..., 1:-1] + picture[..., :-2]
        shares.append(float((bend.abs() < 2e-3).float().mean()))
    assert sum(shares) / len(shares) > 0.7


def test_borders_are_smooth_at_any_turn() -> None:
    """Pixels on a border have a mixture of both colors."""
    picture = dead_leaves.draw(128, torch.tensor([[0.0, 1.0]] * 3), seeded(3))
    values = picture[0][(picture[0] > 0.02) & (picture[0] < 0.98)]
    assert len(values) > 50
