"""What reads and writes files, what runs networks, and the commands until one is run, need no torch."""

import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT, SAMPLE

WITHOUT_TORCH = (
    "lwisp",
    "lwisp.architecture",
    "lwisp.errors",
    "lwisp.imaging.bayer",
    "lwisp.imaging.matrices",
    "lwisp.imaging.pixels",
    "lwisp.files.damage",
    "lwisp.files.decoding",
    "lwisp.files.dng",
    "lwisp.files.encoding",
    "lwisp.files.exif",
    "lwisp.files.icc",
    "lwisp.files.libraw",
    "lwisp.files.makernotes",
    "lwisp.files.matlab",
    "lwisp.files.optional",
    "lwisp.files.pictures",
    "lwisp.files.raw",
    "lwisp.files.report",
    "lwisp.files.sources",
    "lwisp.files.tensors",
    "lwisp.files.writing",
    "lwisp.baselines.config",
    "lwisp.engines.engine",
    "lwisp.engines.onnxruntime",
    "lwisp.engines.openvino",
    "lwisp.engines.runners",
    "lwisp.engines.structures",
    "lwisp.engines.tiles",
    "lwisp.weights",
    "lwisp.batch",
    "lwisp.development",
    "lwisp.pipeline",
    "lwisp.restoration",
    "lwisp.diagnosis",
    "lwisp.verification",
    "lwisp.serve.knobs",
    "lwisp.serve.photo_facts",
    "lwisp.serve.worker",
    "lwisp.cluster.running",
    "lwisp.cluster.sources",
    "lwisp.cluster.worker",
    "lwisp.cli",
    "lwisp.cli.cluster",
    "lwisp.cli.commands",
    "lwisp.cli.develop",
    "lwisp.cli.evaluate",
    "lwisp.cli.export",
    "lwisp.cli.inspection",
    "lwisp.cli.options",
    "lwisp.cli.progress",
    "lwisp.cli.restore",
    "lwisp.cli.serve",
    "lwisp.cli.stopping",
    "lwisp.cli.terminal",
    "lwisp.cli.train",
    "lwisp.cli.weights",
)

CODE = f"""
import sys
from importlib import import_module

for module in {WITHOUT_TORCH}:
    import_module(module)
    assert "torch" not in sys.modules, f"{{module}} imports torch"

import numpy as np
import lwisp

source, folder = sys.argv[1:]
raw = lwisp.read_raw(source)
lwisp.write_dng(f"{{folder}}/plain.dng", raw)
assert np.allclose(lwisp.read_raw(f"{{folder}}/plain.dng").cam2rgb, raw.cam2rgb, atol=1e-4)
lwisp.write_picture(f"{{folder}}/gray.png", np.full((4, 6, 3), 0.5, np.float32))
assert lwisp.read_picture(f"{{folder}}/gray.png").rgb.shape == (4, 6, 3)
assert "torch" not in sys.modules, "reading or writing imports torch"
"""


def test_files_are_read_and_written_without_torch(tmp_path: Path) -> None:
    command = [sys.executable, "-c", CODE, str(SAMPLE), str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
