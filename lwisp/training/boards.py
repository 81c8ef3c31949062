"""Where the curves of a run are shown: TensorBoard, a CSV table, MLflow or Weights & Biases.

All of them write into the run folder, and none connects to anything: MLflow gets a folder, Weights & Biases is offline
(`wandb sync` sends what was kept, where that is wanted).
"""

from pathlib import Path
from typing import Any, Literal, Protocol

from torch import Tensor

from lwisp.files.optional import need, with_variable

Logger = Literal["tensorboard", "csv", "mlflow", "wandb"]
LIBRARIES: dict[Logger, str] = {
    "tensorboard": "tensorboard",
    "csv": "lightning_fabric.loggers",
    "mlflow": "mlflow",
    "wandb": "wandb",
}
"""What each needs."""
WITHOUT_MACHINE: dict[str, Any] = {
    "console": "off",
    "disable_git": True,
    "save_code": False,
    "host": "",
    "x_disable_meta": True,
    "x_disable_stats": True,
}
"""Settings by which Weights & Biases records no output, repository, host, user, command, path or hardware."""


class Board(Protocol):
    """Curves and pictures of one run."""

    def write(self, values: dict[str, float], step: int) -> None:
        """Add a point to each curve.

        Args:
            values: By name.
            step: Of the run.
        """

    def show(self, name: str, rgb: Tensor, step: int) -> None:
        """Add a picture.

        Args:
            name: Its title.
            rgb: (3, H, W) in [0, 1], on the processor.
            step: Of the run.
        """

    def close(self) -> None:
        """Write what is not written yet."""


class TensorBoard:
    """TensorBoard's event files, in `tensorboard`."""

    def __init__(self, folder: Path, name: str) -> None:
        need("tensorboard.compat.tensorflow_stub.io.gfile", "TensorBoard")
        from torch.utils.tensorboard import SummaryWriter

        self.writer: Any = SummaryWriter(str(folder / "tensorboard"))

    def write(self, values: dict[str, float], step: int) -> None:
        for name, value in values.items():
            self.writer.add_scalar(name, value, step)

    def show(self, name: str, rgb: Tensor, step: int) -> None:
        self.writer.add_image(name, rgb, step)

    def close(self) -> None:
        self.writer.close()


class Table:
    """Lightning Fabric's CSV table, `csv/version_N/metrics.csv`, N one more each time a run goes on; no pictures."""

    def __init__(self, folder: Path, name: str) -> None:
        self.logger = need(LIBRARIES["csv"], "a table of curves").CSVLogger(str(folder), name="csv")

    def write(self, values: dict[str, float], step: int) -> None:
        self.logger.log_metrics(values, step)
        self.logger.save()

    def show(self, name: str, rgb: Tensor, step: int) -> None:
        """The table has no place for pictures."""

    def close(self) -> None:
        self.logger.finalize("success")


class MLflow:
    """A run of MLflow in the folder `mlflow`: `mlflow ui --backend-store-uri sqlite:///FOLDER/mlflow/mlflow.db`."""

    def __init__(self, folder: Path, name: str) -> None:
        mlflow = need(LIBRARIES["mlflow"], "MLflow")
        place = (folder / "mlflow").resolve()
        place.mkdir(exist_ok=True)
        self.client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{place}/mlflow.db")
        known = self.client.get_experiment_by_name("lwisp")
        pictures = (place / "pictures").as_uri()
        experiment = known.experiment_id if known else self.client.create_experiment("lwisp", pictures)
        self.run = self.client.create_run(experiment, run_name=name).info.run_id

    def write(self, values: dict[str, float], step: int) -> None:
        for name, value in values.items():
            self.client.log_metric(self.run, name, value, step=step)

    def show(self, name: str, rgb: Tensor, step: int) -> None:
        picture = (rgb.permute(1, 2, 0) * 255).round().byte().numpy()
        self.client.log_image(self.run, picture, key=name.replace("/", "_"), step=step)

    def close(self) -> None:
        self.client.set_terminated(self.run)


class WeightsAndBiases:
    """A run of Weights & Biases in the folder `wandb`, offline, which tells of packages and platform alone."""

    def __init__(self, folder: Path, name: str) -> None:
        self.wandb = need(LIBRARIES["wandb"], "Weights & Biases")
        (folder / "wandb").mkdir(exist_ok=True)
        with with_variable("WANDB_ERROR_REPORTING", "false"):  # of its own process
            settings = self.wandb.Settings(**WITHOUT_MACHINE)
            self.run: Any = self.wandb.init(
                project="lwisp", name=name, dir=str(folder), mode="offline", settings=settings
            )

    def write(self, values: dict[str, float], step: int) -> None:
        self.run.log(values, step=step)

    def show(self, name: str, rgb: Tensor, step: int) -> None:
        self.run.log({name: self.wandb.Image(rgb.permute(1, 2, 0).numpy())}, step=step)

    def close(self) -> None:
        self.run.finish()


BOARDS: dict[Logger, Any] = {"tensorboard": TensorBoard, "csv": Table, "mlflow": MLflow, "wandb": WeightsAndBiases}


def open_board(logger: Logger, folder: Path, name: str) -> Board:
    """The board of a run.

    Args:
        logger: Which.
        folder: The run folder.
        name: Of the run.

    Raises:
        InputError: The library is not installed.
    """
    board: Board = BOARDS[logger](folder, name)
    return board


def check_logger(logger: Logger) -> None:
    """Check before any work that a board's library is installed.

    Args:
        logger: Which.

    Raises:
        InputError: It is not.
    """
    if logger != "tensorboard":  # without which runs go on
        need(LIBRARIES[logger], f"--logger {logger}")
