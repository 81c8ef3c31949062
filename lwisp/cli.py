"""The command line: verbs translate strings and call one public function each."""

import contextlib
import io
import logging
import math
import signal
import sys
import time
from collections.abc import Generator, Iterator
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Literal, NoReturn

import typer

from lwisp.errors import log, printable

if TYPE_CHECKING:
    from lwisp.batch import Job, Outcome
    from lwisp.files.raw import RawImage
    from lwisp.training.recipe import Recipe

Precision = Annotated[Literal["auto", "fp32", "bf16"], typer.Option(help="auto: bf16 where the processor has it.")]
Backend = Annotated[
    Literal["auto", "torch", "openvino", "onnxruntime"],
    typer.Option(help="What runs the network; auto: OpenVINO where it is installed, else torch."),
]
Output = Annotated[
    Path | None, typer.Option("--output", "-o", help="A file name for one picture, else a folder.", readable=False)
]
Overwrite = Annotated[
    bool,
    typer.Option(
        "--overwrite", help="Replace pictures that lwisp wrote before; with --output FILE whatever lies there."
    ),
]
Shipped = Annotated[str, typer.Option(help="Name of shipped weights, or a safetensors file.")]
Finished = Annotated[
    list[Path], typer.Argument(metavar="FILE...", help="JPEG, PNG or TIFF files, or folders.", readable=False)
]
FinishedFormat = Annotated[
    Literal["jpg", "png", "png16", "tiff"] | None,
    typer.Option(help="JPEG, PNG of 8 or 16 bits, TIFF of 16; the file's own, or what the output's suffix says."),
]
Passes = Annotated[
    int, typer.Option(help="1, 2 or 4: the mean over mirror images, cleaner, in as many times the time.")
]
MaxPixels = Annotated[
    float, typer.Option(help="Pictures of more pixels are refused before they are decoded.", show_default="200e6")
]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Show where an unforeseen failure came from.")]
Memory = Annotated[float | None, typer.Option(help="Bound on the memory of the whole process, in GB.")]
Device = Annotated[Literal["auto", "cpu", "cuda"], typer.Option(help="auto: a GPU where there is one.")]
Data = Annotated[Path | None, typer.Option(help="Folder of the data, in place of the recipe's.", readable=False)]

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="RAW photos to finished pictures with one two-million-parameter network (LW-ISP).",
)


weights_app = typer.Typer(no_args_is_help=True, help="Look at weights, delete learned ones.")
app.add_typer(weights_app, name="weights")


@app.command()
def develop(
    sources: Annotated[list[Path], typer.Argument(metavar="FILE...", help="RAW files, or folders.", readable=False)],
    output: Output = None,
    format: Annotated[
        Literal["jpg", "png", "png16", "tiff"] | None,
        typer.Option(help="JPEG, PNG of 8 or 16 bits, TIFF of 16; jpg, or what the output's suffix says."),
    ] = None,
    weights: Annotated[
        str,
        typer.Option(help="A name or a safetensors file; auto: those learned from the RAW's camera, else photo."),
    ] = "auto",
    exposure: Annotated[float, typer.Option(help="EV on top of the exposure rule, -5 to 5.")] = 0.0,
    precision: Precision = "auto",
    backend: Backend = "auto",
    memory: Memory = None,
    overwrite: Overwrite = False,
    verbose: Verbose = False,
    cfa: Annotated[
        Literal["RGGB", "BGGR", "GRBG", "GBRG"] | None,
        typer.Option(help="The files are bare 16-bit grayscale mosaics of this pattern; needs both levels."),
    ] = None,
    black_level: Annotated[float | None, typer.Option(help="Black of bare mosaics, in DN.")] = None,
    white_level: Annotated[float | None, typer.Option(help="White of bare mosaics, in DN.")] = None,
    max_pixels: MaxPixels = 200e6,
) -> None:
    """Develop RAW files into finished pictures: NAME-lwisp beside each, or NAME where --output says."""
    from lwisp.batch import plan
    from lwisp.errors import InputError
    from lwisp.files.raw import MOSAIC_SUFFIXES, RAW_SUFFIXES, read_mosaic, read_raw
    from lwisp.pipeline import develop_files, pick
    from lwisp.weights import load

    _listen(verbose)
    if len({value is None for value in (cfa, black_level, white_level)}) > 1:
        _stop("--cfa, --black-level and --white-level go together", code=2)

    def read(path: Path) -> "RawImage":
        if cfa is None or black_level is None or white_level is None:
            return read_raw(path)
        return read_mosaic(path, cfa, black_level, white_level, max_pixels=max_pixels)

    try:
        jobs = plan(sources, output, format, RAW_SUFFIXES if cfa is None else MOSAIC_SUFFIXES)
        chosen = pick if weights == "auto" else load(weights)
        outcomes = develop_files(chosen, jobs, exposure, precision, overwrite, read, backend, memory)
    except InputError as error:
        _stop(str(error), code=2)
    _follow(outcomes, jobs, "developing")


@app.command()
def denoise(
    sources: Finished,
    output: Output = None,
    format: FinishedFormat = None,
    weights: Shipped = "denoise",
    precision: Precision = "auto",
    backend: Backend = "auto",
    memory: Memory = None,
    passes: Passes = 4,
    max_pixels: MaxPixels = 200e6,
    overwrite: Overwrite = False,
    verbose: Verbose = False,
) -> None:
    """Take the noise out of finished pictures: NAME-denoised beside each, or where --output says."""
    _listen(verbose)
    chosen = (sources, output, format, weights, precision, backend, memory, passes, overwrite, max_pixels)
    _retouch("denoising", "-denoised", *chosen)


@app.command()
def enhance(
    sources: Finished,
    output: Output = None,
    format: FinishedFormat = None,
    weights: Shipped = "enhance",
    precision: Precision = "auto",
    backend: Backend = "auto",
    memory: Memory = None,
    passes: Passes = 4,
    max_pixels: MaxPixels = 200e6,
    overwrite: Overwrite = False,
    verbose: Verbose = False,
) -> None:
    """Brighten pictures taken in low light: NAME-enhanced beside each, or where --output says."""
    _listen(verbose)
    chosen = (sources, output, format, weights, precision, backend, memory, passes, overwrite, max_pixels)
    _retouch("enhancing", "-enhanced", *chosen)


def _retouch(
    word: str,
    mark: str,
    sources: list[Path],
    output: Path | None,
    format: Literal["jpg", "png", "png16", "tiff"] | None,
    weights: str,
    precision: Literal["auto", "fp32", "bf16"],
    backend: Literal["auto", "torch", "openvino", "onnxruntime"],
    memory: float | None,
    passes: int,
    overwrite: bool,
    max_pixels: float,
) -> None:
    from lwisp.batch import plan
    from lwisp.errors import InputError
    from lwisp.files.pictures import SUFFIX_FORMATS, own_format
    from lwisp.restoration import retouch_files
    from lwisp.weights import load

    try:
        jobs = plan(sources, output, format, frozenset(SUFFIX_FORMATS), own_format, mark)
        outcomes = retouch_files(load(weights), jobs, precision, overwrite, backend, memory, passes, max_pixels)
    except InputError as error:
        _stop(str(error), code=2)
    _follow(outcomes, jobs, word)


@app.command()
def denoise_raw(
    sources: Annotated[list[Path], typer.Argument(metavar="FILE...", help="RAW files, or folders.", readable=False)],
    output: Output = None,
    format: Annotated[
        Literal["dng", "jpg", "png", "png16", "tiff"] | None,
        typer.Option(help="dng: a RAW again, for any tool; else a picture; dng, or what the output's suffix says."),
    ] = None,
    weights: Shipped = "denoise-raw",
    develop_weights: Annotated[str, typer.Option(help="Weights that develop pictures.")] = "photo",
    precision: Precision = "auto",
    backend: Backend = "auto",
    memory: Memory = None,
    overwrite: Overwrite = False,
    verbose: Verbose = False,
) -> None:
    """Take the noise out of RAW files: NAME-denoised.dng beside each, or a finished picture."""
    from lwisp.batch import plan
    from lwisp.errors import InputError
    from lwisp.restoration import denoise_raw_files
    from lwisp.weights import load

    _listen(verbose)
    try:
        jobs = plan(sources, output, format, default=lambda file: "dng", mark="-denoised")
        outcomes = denoise_raw_files(load(weights), jobs, load(develop_weights), precision, overwrite, backend, memory)
    except InputError as error:
        _stop(str(error), code=2)
    _follow(outcomes, jobs, "denoising")


def _is_newer(path: Path, began: float) -> bool:
    try:
        return path.stat().st_mtime >= began - 1  # file systems count seconds, some of them two
    except OSError:
        return False


def _follow(outcomes: "Iterator[Outcome]", jobs: "list[Job]", word: str) -> None:
    """Tell of every file as it is done; those that failed at the end, with exit code 1."""
    from rich.console import Console
    from rich.progress import Progress

    console, failures = Console(stderr=True), []
    count, began = len(jobs), time.time()
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        engine, used = "", ""

        def say(text: str) -> None:
            console.print(printable(text), markup=False, emoji=False, highlight=False, soft_wrap=True)

        try:
            for outcome in progress.track(outcomes, total=count, description=word):
                if outcome.error:
                    failures.append(outcome)
                    continue
                if outcome.engine != engine:
                    engine = outcome.engine
                    say(f"{word} with {engine}")
                if outcome.weights != used and (used or outcome.camera):
                    look = f", the look of {outcome.camera.name}" if outcome.camera else ""
                    say(f"weights {outcome.weights}{look}")
                used = outcome.weights
                say(f"{outcome.source} -> {outcome.output}")
                for note in outcome.notes:
                    say(f"  {outcome.source.name}: {note}")
        except _Stopped as stopped:
            if isinstance(outcomes, Generator):
                outcomes.close()  # what is being written is finished
            done = sum(_is_newer(job.output, began) for job in jobs)
            stopped.add_note(f"{done} of {count} files are done; the same command makes the others")
            raise
    for outcome in failures:
        _say(f"lwisp: {outcome.error}", err=True)
    if failures:
        _stop(f"{len(failures)} of {count} files failed", code=1)


@app.command()
def train(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="RECIPE|FOLDER",
            help="A recipe in TOML, such as recipes/photo.toml; or a folder of RAW files with their camera's JPEGs, "
            "whose look is learned (docs/camera.md).",
            readable=False,
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="The safetensors file to write; for a folder by default where develop finds it.",
            readable=False,
        ),
    ] = None,
    data: Data = None,
    device: Device = "auto",
    report: Annotated[
        Path | None, typer.Option(help="Folder for a camera's report; beside the weights if not given.", readable=False)
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a camera's weights that exist.")] = False,
    verbose: Verbose = False,
) -> None:
    """Train weights by a recipe, or learn a camera's look; the same command goes on where it was stopped."""
    _listen(verbose)
    if source.is_dir():
        if data is not None or device != "auto":
            _stop("--data and --device belong to recipes; leave them out for a folder", code=2)
        _learn(source, output, report, overwrite)
        return
    if output is None or report is not None or overwrite:
        _stop("a recipe takes --output, and neither --report nor --overwrite", code=2)
    from lwisp.engines.exported import import_dynamo
    from lwisp.errors import InputError
    from lwisp.training import loop
    from lwisp.training.recipe import read_stages

    try:
        stages = read_stages(source)
    except InputError as error:
        _stop(str(error), code=2)

    _tidy(output.parent)
    import_dynamo()
    try:
        with _resumable():
            loop.train_stages(stages, output, data, device)
    except InputError as error:
        _stop(str(error), code=1)
    _say(f"{output}")


def _learn(folder: Path, output: Path | None, report: Path | None, overwrite: bool) -> None:
    from lwisp.camera.learning import learn
    from lwisp.camera.report import OWN
    from lwisp.engines.exported import import_dynamo
    from lwisp.errors import InputError
    from lwisp.weights import user_folder

    _tidy(output.parent if output else user_folder(), report)
    import_dynamo()
    try:
        with _resumable():
            results, refusals = learn(folder, output, report, overwrite=overwrite)
    except InputError as error:
        _stop(str(error), code=1)
    for refusal in refusals:
        _say(f"lwisp: left out: {refusal.reason}", err=True)
    for result in results:
        if result.weights is None or result.report is None:
            _say(f"lwisp: {result.reason}", err=True)
            continue
        count = len(result.report.photos)
        near = f"{result.report.mean(OWN):.2f} dE2000 from the camera's JPEG on {count} held-out photos"
        _say(f"{result.weights}: {near}; {result.page}")
    if all(result.weights is None for result in results):
        _stop(f"{folder}: no look was learned", code=1)


@app.command()
def synthesize(
    kind: Annotated[
        Literal["zurich", "mai21", "lol", "dng", "camera"],
        typer.Argument(
            help="The dataset whose form to write; dng: plain RAW files with their truth, for compare; camera: RAW "
            "files with JPEGs of a hard look, to learn it."
        ),
    ],
    photos: Annotated[
        list[Path],
        typer.Argument(
            help="Folders with photographs in train and val; for dng and camera in themselves.", readable=False
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="The folder to make.", readable=False)],
) -> None:
    """Make a synthetic benchmark of photographs, in the form of a dataset."""
    from lwisp.data import synthetic
    from lwisp.errors import InputError

    _tidy(output.parent, output)
    try:
        synthetic.synthesize(kind, photos, output)
    except InputError as error:
        _stop(str(error), code=1)
    _say(f"{output}")


@app.command()
def reproduce(
    study: Annotated[
        Literal[
            "table1",
            "table1-clock",
            "table3",
            "table5",
            "fgam",
            "distillation",
            "teacher",
            "blocks",
            "beta",
            "lr",
            "denoise-clock",
            "denoise-distillation",
            "denoise-residual",
        ],
        typer.Argument(),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder for table, curves and scores.", readable=False)
    ],
    recipe_file: Annotated[
        Path | None,
        typer.Argument(
            metavar="[RECIPE]", help="Data and budget, as recipes/ablation.toml; table3 takes none.", readable=False
        ),
    ] = None,
    data: Data = None,
    seeds: Annotated[int, typer.Option(help="Runs of every variant.")] = 2,
    runs: Annotated[Path, typer.Option(help="Folder to keep the runs in.", readable=False)] = Path("runs"),
    device: Device = "auto",
    hours: Annotated[float, typer.Option(help="A run that would take longer gets the steps that fit.")] = math.inf,
) -> None:
    """Train and score the rows of one of the paper's tables; the same command goes on where it was stopped."""
    if study == "table3":
        _write_table3(output)
        return
    if recipe_file is None:
        _stop(f"{study} trains networks; name a RECIPE, as recipes/ablation.toml", code=2)
    recipe = _read_recipe(recipe_file)
    from lwisp.engines.exported import import_dynamo
    from lwisp.errors import InputError
    from lwisp.training import studies as reproduction

    _tidy(output, runs)
    import_dynamo()
    try:
        with _resumable():
            table = reproduction.reproduce(study, recipe, data or recipe.root, output, seeds, runs, device, hours)
    except InputError as error:
        _stop(str(error), code=1)
    _show(table.read_text(encoding="utf-8"))


@app.command()
def evaluate(
    weights: Annotated[str, typer.Argument(help="Name of shipped weights, or a safetensors file.")],
    data: Annotated[list[Path], typer.Option(help="Folder of the data; may be repeated.", readable=False)],
    protocol: Annotated[str, typer.Option(help="What is scored and how: docs/evaluation.md.")] = "photos/val",
    against: Annotated[
        Path | None, typer.Option(help="Folder of another tool's pictures, to be scored beside.", readable=False)
    ] = None,
    beside: Annotated[
        str, typer.Option(help="bm3d, nlm, wavelets, equalized, clahe, clahe-plain, or weights files.")
    ] = "",
    side: Annotated[int | None, typer.Option(help="Score only the middles of pictures, so many px a side.")] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder for rows, report and contact sheet.", readable=False)
    ] = None,
    precision: Precision = "auto",
    passes: Annotated[int | None, typer.Option(help="1, 2 or 4; as denoise and enhance, if not given.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a report that exists.")] = False,
    record: Annotated[bool, typer.Option("--record", help="Write the means into the weights' card.")] = False,
    verbose: Verbose = False,
) -> None:
    """Score weights by a named protocol, beside a classical chain or another tool's pictures."""
    from lwisp.errors import InputError
    from lwisp.evaluation import scoring
    from lwisp.weights import find, load, record_scores

    _listen(verbose)
    try:
        loaded = load(weights)
        if protocol in scoring.SUBMISSIONS and (output is None or len(data) != 1):
            raise InputError(f"{protocol} gives results for a server; name one --data and --output, their folder")
        if output is not None and protocol not in scoring.SUBMISSIONS:
            scoring.check_report(output, overwrite)
    except InputError as error:
        _stop(str(error), code=2)
    _tidy(output)
    try:
        if protocol in scoring.SUBMISSIONS and output is not None:
            scoring.submit(loaded, data[0], protocol, output, precision, overwrite, passes)
            return
        sheet = None if output is None else output / "sheet.png"
        report = scoring.evaluate(loaded, data, protocol, precision, against, sheet, _split(beside), side, passes)
        _show(scoring.to_markdown(report))
        if output is not None:
            scoring.write_report(output, report, overwrite)
        if record:
            record_scores(find(weights), report.protocol, report.summary())
    except InputError as error:
        _stop(str(error), code=1)


@app.command()
def bench(
    weights: Annotated[str, typer.Argument(help="Name of shipped weights, or a weights file.")] = "photo",
    size: Annotated[str, typer.Option(metavar="HxW", help="Of the planes, half the picture's.")] = "736x992",
    engines: Annotated[
        str, typer.Option(help="Of eager, auto, torch-, openvino- and onnxruntime-, with fp32 or bf16.")
    ] = "eager,auto",
    against: Annotated[str, typer.Option(help="Peers, as pynet,nafnet,unet (docs/networks.md).")] = "",
    rounds: Annotated[int, typer.Option(help="Rounds, after one to warm up.")] = 5,
    end_to_end: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A RAW to develop, beside rawpy, darktable, RawTherapee.", readable=False),
    ] = None,
    sizes: Annotated[str, typer.Option(help="Megapixels of whole files, as 1,12,100.")] = "",
    threads: Annotated[str, typer.Option(help="Numbers of threads, as 1,2,4.")] = "",
    memory: Annotated[float | None, typer.Option(help="GB that a whole file's process may take.")] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Folder for bench.md, bench.json, scaling.png.", readable=False),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a report that exists.")] = False,
) -> None:
    """Measure time and memory, in turn with peers and other tools."""
    from lwisp.errors import InputError
    from lwisp.evaluation import bench as benches

    try:
        areas, counts = [float(part) for part in _split(sizes)], [int(part) for part in _split(threads)]
    except ValueError as error:
        _stop(f"expected numbers with commas between: {error}", code=2)
    try:
        if output is not None:
            benches.check_report(output, overwrite)
            _tidy(output)
        report = benches.bench(
            weights, _parse_size(size), _split(engines), _split(against), rounds, end_to_end, areas, counts, memory
        )
        _show(benches.to_markdown(report).removesuffix("\n"))
        if output is not None:
            benches.write_report(output, report, overwrite)
    except InputError as error:
        _stop(str(error), code=2)


@app.command()
def export(
    weights: Annotated[str, typer.Argument(help="Name of shipped weights, or a safetensors file.")],
    format: Annotated[Literal["onnx", "openvino", "litert", "executorch"], typer.Option(help="docs/export.md.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="A file ending in .onnx, .xml, .tflite or .pte.", readable=False)
    ],
    precision: Annotated[
        Literal["fp32", "fp16"], typer.Option(help="What ONNX computes in, and OpenVINO's IR stores.")
    ] = "fp32",
    size: Annotated[
        str | None, typer.Option(metavar="HxW", help="One size of the planes, half the picture's; else any.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files that exist.")] = False,
) -> None:
    """Write weights as a file for another engine, kept only where it gives what torch gives."""
    from lwisp.conversion import check
    from lwisp.conversion import export as convert
    from lwisp.errors import InputError
    from lwisp.weights import load

    try:
        sides = None if size is None else _parse_size(size)
        loaded = load(weights)
        check(loaded, output, format, precision, sides, overwrite)
    except InputError as error:
        _stop(str(error), code=2)
    _tidy(output.parent)
    logging.disable(logging.ERROR)  # converters tell of what is none of a user's business, and print where they are
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            report = convert(loaded, output, format, precision, sides, overwrite)
    except InputError as error:
        _stop(str(error), code=1)
    finally:
        logging.disable(logging.NOTSET)
    for path in report.files:
        _say(f"{path}  {path.stat().st_size:,} bytes")
    _say(f"planes {report.planes} float32; largest differences from torch, {report.tolerance:.0e} allowed:")
    for picture, difference in report.errors.items():
        _say(f"  {difference:.1e}  {picture}")


@app.command()
def compare(
    sources: Annotated[list[Path], typer.Argument(metavar="FILE...", help="RAW files, or folders.", readable=False)],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for page and scores.", readable=False)],
    truth: Annotated[
        Path | None, typer.Option(help="Folder with what the RAWs show, NAME.png, to be scored by.", readable=False)
    ] = None,
    charts: Annotated[
        Path | None, typer.Option(help="JSON file that says where ColorCheckers lie in the RAWs.", readable=False)
    ] = None,
    weights: Annotated[str, typer.Option(help="Name of shipped weights, or a safetensors file.")] = "photo",
    precision: Precision = "auto",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a page that exists.")] = False,
    verbose: Verbose = False,
) -> None:
    """Set lwisp beside rawpy, darktable, RawTherapee and the camera's own JPEG, on one page."""
    from lwisp.errors import InputError
    from lwisp.evaluation.comparison import compare as compare_tools
    from lwisp.weights import check_takes, load

    _listen(verbose)
    _tidy(output)
    try:
        loaded = load(weights)
        check_takes(loaded.card, "raw")
        comparison = compare_tools(loaded, sources, output, truth, charts, precision, overwrite)
    except InputError as error:
        _stop(str(error), code=2)
    _say(f"{output / 'compare.html'}")
    for failure in comparison.failures:
        _say(f"lwisp: {failure}", err=True)
    if comparison.failures:
        _stop(f"{len(comparison.failures)} of {comparison.count} files failed", code=1)


@weights_app.command("list")
def list_weights() -> None:
    """Names of the shipped weights and of those that were learned here, with their camera."""
    from lwisp.errors import InputError
    from lwisp.weights import learned_names, names, read_card, user_folder

    for name in names():
        _say(name)
    for name in learned_names():
        try:
            camera = read_card(user_folder() / f"{name}.safetensors").camera
        except InputError as error:
            _say(f"{name}  (damaged: {error})")
            continue
        _say(f"{name}  {', '.join(filter(None, (camera.name, camera.style))) if camera else ''}".rstrip())


@weights_app.command("remove")
def remove_weights(name: Annotated[str, typer.Argument(help="Name of weights that were learned here.")]) -> None:
    """Delete learned weights from the user's folder."""
    from lwisp.errors import InputError
    from lwisp.weights import remove

    try:
        _say(f"{remove(name)} is deleted")
    except InputError as error:
        _stop(str(error), code=2)


@weights_app.command()
def show(weights: Annotated[str, typer.Argument(help="Name of weights, or a safetensors file.")]) -> None:
    """The card of weights as a page of Markdown."""
    from lwisp.errors import InputError
    from lwisp.weights import describe

    try:
        _show(describe(weights).removesuffix("\n"))
    except InputError as error:
        _stop(str(error), code=2)


def _write_table3(folder: Path) -> None:
    from lwisp.engines.cost import table3
    from lwisp.errors import InputError
    from lwisp.files.writing import make_folder, write_text

    try:
        make_folder(folder)
        page = table3()
        write_text(folder / "table3.md", page)
    except InputError as error:
        _stop(str(error), code=1)
    _show(page)


def _read_recipe(path: Path) -> "Recipe":
    from lwisp.errors import InputError
    from lwisp.training.recipe import read_recipe

    try:
        return read_recipe(path)
    except InputError as error:
        _stop(str(error), code=2)


def _split(text: str) -> list[str]:
    return [part for part in text.split(",") if part]


def _parse_size(text: str) -> tuple[int, int]:
    from lwisp.errors import InputError

    height, x, width = text.partition("x")
    if not (height.isdecimal() and x and width.isdecimal()):
        raise InputError(f"expected a size of HEIGHTxWIDTH, as 736x992, got {text!r}")
    return int(height), int(width)


def _say(message: str, err: bool = False) -> None:
    """One line; what a file's name could make a terminal do is shown instead."""
    typer.echo(printable(message), err=err)


def _show(page: str) -> None:
    """A text of several lines."""
    _say_lines(page, err=False)


def _say_lines(text: str, err: bool) -> None:
    for line in text.split("\n"):
        _say(line, err)


def _stop(message: str, code: int) -> NoReturn:
    _say(f"lwisp: {message}", err=True)
    raise typer.Exit(code)


def _tidy(*folders: Path | None) -> None:
    """Delete what processes that were killed have left unfinished where this one will write."""
    from lwisp.files.writing import clear_leftovers

    for folder in folders:
        if folder is not None:
            clear_leftovers(folder)


class _Aloud(logging.Handler):
    """Shows the log on stderr."""

    def emit(self, record: logging.LogRecord) -> None:
        _say_lines(self.format(record), err=True)


def _listen(verbose: bool) -> None:
    """Show the tracebacks of failures that nobody foresaw, if asked to."""
    if verbose and not any(isinstance(handler, _Aloud) for handler in log.handlers):
        log.addHandler(_Aloud())
        log.setLevel(logging.DEBUG)


class _Stopped(KeyboardInterrupt):
    """A signal that ends the program, raised where it works, so that what it began is put away."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


@contextlib.contextmanager
def _resumable() -> Iterator[None]:
    try:
        yield
    except _Stopped as stopped:
        stopped.add_note("the same command goes on")
        raise


def _handle_signals() -> list[_Stopped]:
    """End as Ctrl-C ends by all signals that ask for it; one that is ignored (`nohup`) stays so, a second one kills.

    Gives a list that will hold what has come.
    """
    received: list[_Stopped] = []
    numbers = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    heeded = [number for number in numbers if signal.getsignal(number) != signal.SIG_IGN]

    def stop(number: int, _: FrameType | None) -> NoReturn:
        for other in heeded:
            signal.signal(other, signal.SIG_DFL)
        received.append(_Stopped(number))
        raise received[0]

    for number in heeded:
        signal.signal(number, stop)
    return received


def main() -> None:
    """Entry point of the `lwisp` command."""
    received = _handle_signals()
    try:
        app()
    except BaseException:  # typer ends by an exit code of its own
        if not received:
            raise
        with contextlib.suppress(OSError):  # the terminal may be gone
            _say("; ".join([f"lwisp: stopped by {received[0]}", *getattr(received[0], "__notes__", ())]), err=True)
        sys.exit(128 + received[0].number)
