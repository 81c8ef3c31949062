"""`--exact` computes in fp32 where the processor would be asked for bf16, on every verb that makes pictures."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from lwisp.architecture import LWISPConfig
from lwisp.cli.commands import app
from lwisp.cli.options import precision_of
from lwisp.data.datasets import AS_SENSED
from lwisp.engines import backends
from lwisp.errors import ArgumentError
from lwisp.model import LWISP
from lwisp.weights import Card, save
from tests.conftest import WriteDng

MOSAIC = np.random.default_rng(0).integers(64, 4000, (40, 60), dtype=np.uint16)


def call(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def verbs(write_dng: WriteDng, toy_file: Path, tmp_path: Path) -> dict[str, list[object]]:
    """Arguments of each verb that makes pictures, but its precision."""
    raw, picture = write_dng(MOSAIC), tmp_path / "picture.png"
    Image.fromarray((MOSAIC >> 4).astype(np.uint8)).convert("RGB").save(picture)
    for name, channels in (("rgb", 3), ("planes", 4)):
        config = LWISPConfig(width=4, in_channels=channels, out_channels=channels, upsample=False, residual=True)
        save(tmp_path / f"{name}.safetensors", LWISP(config), Card(name, config, AS_SENSED, "MIT"))
    rgb, planes = tmp_path / "rgb.safetensors", tmp_path / "planes.safetensors"
    return {
        "develop": [raw, "--weights", toy_file],
        "denoise": [picture, "--weights", rgb],
        "enhance": [picture, "--weights", rgb],
        "denoise-raw": [raw, "--weights", planes, "--develop-weights", toy_file],
    }


def test_exact_is_fp32_on_a_processor_that_has_bf16(
    verbs: dict[str, list[object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backends, "has_bf16", lambda name: True)
    for verb, arguments in verbs.items():
        usual = call(verb, *arguments, "--backend", "torch")
        assert usual.exit_code == 0, usual.output
        assert "torch in bf16" in usual.output, verb
        exact = call(verb, *arguments, "--backend", "torch", "--exact", "--overwrite")
        assert exact.exit_code == 0, exact.output
        assert "torch in fp32" in exact.output, verb


def test_exact_and_bf16_are_refused_together(verbs: dict[str, list[object]]) -> None:
    for verb, arguments in (verbs | {"serve": [], "watch": [".", "-o", "made"]}).items():
        refused = call(verb, *arguments, "--exact", "--precision", "bf16")
        assert refused.exit_code == 2, refused.output
        assert "--exact computes in fp32, --precision bf16 does not" in refused.stderr, verb
        assert len(refused.stderr.strip().splitlines()) == 1


def test_exact_is_another_word_for_a_precision() -> None:
    told: Any
    for told, expected in (("auto", "auto"), ("fp32", "fp32"), ("bf16", "bf16")):
        assert precision_of(told, False) == expected
    assert precision_of("auto", True) == precision_of("fp32", True) == "fp32"
    with pytest.raises(ArgumentError, match="drop one of them"):
        precision_of("bf16", True)
