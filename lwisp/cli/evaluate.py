"""`lwisp evaluate`, `compare`, `bench`, `reproduce` and `synthesize`: scores, and what they are measured on."""

import math
from pathlib import Path
from typing import Annotated, Literal

import typer

from lwisp.cli.commands import FAILED_WORK, WRONG_REQUEST, app, exit_on_error
from lwisp.cli.networks import Network, import_network
from lwisp.cli.options import Data, Device, Precision, Quiet, Raws, Shipped, Verbose, parse_size, split
from lwisp.cli.stopping import clear_leftovers, resumable
from lwisp.cli.terminal import complain, say, show, show_tracebacks, stop
from lwisp.errors import ArgumentError, InputError


@app.command()
def evaluate(
    weights: Annotated[str, typer.Argument(help="Name of shipped weights, or a safetensors file.")],
    data: Annotated[list[Path], typer.Option(help="Folder of the data; may be repeated.", readable=False)],
    protocol: Annotated[
        str | None,
        typer.Option(help="What is scored and how: docs/evaluation.md; as the weights were trained, if not given."),
    ] = None,
    against: Annotated[
        Path | None, typer.Option(help="Folder of another tool's pictures, to be scored beside.", readable=False)
    ] = None,
    beside: Annotated[
        str,
        typer.Option(help="bm3d, nlm, wavelets, ksvd, wnnm, epll, equalized, clahe, clahe-plain, or weights files."),
    ] = "",
    side: Annotated[int | None, typer.Option(help="Score only the middles of pictures, so many px a side.")] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder for rows, report and contact sheet.", readable=False)
    ] = None,
    precision: Annotated[
        Literal["auto", "fp32", "bf16"] | None,
        typer.Option(metavar="NAME", help="fp32 or bf16; fp32 for published protocols, else auto, if not given."),
    ] = None,
    passes: Annotated[
        int | None, typer.Option(help="1, 2 or 4; 1 for published protocols, else as denoise, if not given.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a report that exists.")] = False,
    record: Annotated[bool, typer.Option("--record", help="Write the means into the weights' card.")] = False,
    network: Network = None,
    verbose: Verbose = False,
) -> None:
    """Score weights by a named protocol, beside a classical chain or another tool's pictures."""
    from lwisp.downloads import is_address
    from lwisp.evaluation import scoring, submissions
    from lwisp.weights import find, load, record_scores

    show_tracebacks(verbose)
    if network is not None:
        import_network(network)
    if record and is_address(weights):
        raise ArgumentError(
            f"--record writes into a file of weights, and {weights} is none here; save it, and score that"
        )
    loaded = load(weights)
    if protocol in submissions.SUBMISSIONS and (output is None or len(data) != 1):
        raise InputError(f"{protocol} gives results for a server; name one --data and --output, their folder")
    if output is not None and protocol not in submissions.SUBMISSIONS:
        scoring.check_report(output, overwrite)
    clear_leftovers(output)
    with exit_on_error(FAILED_WORK):
        if protocol in submissions.SUBMISSIONS and output is not None:
            submissions.submit(loaded, data[0], protocol, output, precision, overwrite, passes)
            return
        sheet = None if output is None else output / "sheet.png"
        report = scoring.evaluate(loaded, data, protocol, precision, against, sheet, split(beside), side, passes)
        show(scoring.to_markdown(report))
        if output is not None:
            scoring.write_report(output, report, overwrite)
        if record:
            record_scores(find(weights), report.protocol, report.summary())


@app.command()
def compare(
    sources: Raws,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for page and scores.", readable=False)],
    truth: Annotated[
        Path | None, typer.Option(help="Folder with what the RAWs show, NAME.png, to be scored by.", readable=False)
    ] = None,
    charts: Annotated[
        Path | None, typer.Option(help="JSON file that says where ColorCheckers lie in the RAWs.", readable=False)
    ] = None,
    networks: Annotated[
        str,
        typer.Option(
            metavar="FILE,...",
            help="Weights to stand beside in a grid (figure.png) in place of the page; FILE... may be Zurich's folder.",
        ),
    ] = "",
    weights: Shipped = "photo",
    precision: Precision = "auto",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a page that exists.")] = False,
    verbose: Verbose = False,
) -> None:
    """Set lwisp beside rawpy, darktable, RawTherapee and the camera's own JPEG on one page, or beside networks."""
    from lwisp.evaluation.comparison import compare as compare_tools
    from lwisp.evaluation.figure import draw_figure
    from lwisp.pipeline import check_develops
    from lwisp.weights import load

    show_tracebacks(verbose)
    clear_leftovers(output)
    loaded = load(weights)
    if networks:
        if charts is not None:
            stop("--networks draws pictures without charts; drop --charts or --networks", WRONG_REQUEST)
        beside = {name: load(name) for name in split(networks)}
        draw_figure(loaded, beside, sources, output, truth, precision, overwrite)
        say(f"{output / 'figure.png'}")
        return
    check_develops(loaded)
    comparison = compare_tools(loaded, sources, output, truth, charts, precision, overwrite)
    say(f"{output / 'compare.html'}")
    for failure in comparison.failures:
        complain(failure)
    if comparison.failures:
        stop(f"{len(comparison.failures)} of {comparison.count} files failed", FAILED_WORK)


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
    folder: Annotated[
        int | None, typer.Option(metavar="N", help="Also develop a folder of N copies of that RAW, beside rawpy.")
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
    from lwisp.evaluation import bench as benches

    try:
        areas = [float(part) for part in split(sizes)]
        counts = [int(part) for part in split(threads)]
    except ValueError as error:
        stop(f"expected numbers with commas between: {error}", WRONG_REQUEST)
    if output is not None:
        benches.check_report(output, overwrite)
        clear_leftovers(output)
    report = benches.bench(
        weights, parse_size(size), split(engines), split(against), rounds, end_to_end, areas, counts, memory, folder
    )
    show(benches.to_markdown(report).removesuffix("\n"))
    if output is not None:
        benches.write_report(output, report, overwrite)


@app.command()
def reproduce(
    study: Annotated[
        Literal[
            "table1",
            "table1-again",
            "table1-clock",
            "table3",
            "table4",
            "table5",
            "fgam",
            "dilation",
            "plug-in",
            "distillation",
            "distillation-places",
            "distillation-controls",
            "teacher",
            "blocks",
            "alpha",
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
    seeds: Annotated[int, typer.Option(help="Runs of every variant: two show next to nothing (docs/training.md).")] = 8,
    runs: Annotated[Path, typer.Option(help="Folder to keep the runs in.", readable=False)] = Path("runs"),
    device: Device = "auto",
    hours: Annotated[float, typer.Option(help="A run that would take longer gets the steps that fit.")] = math.inf,
    quiet: Quiet = False,
) -> None:
    """Train and score the rows of one of the paper's tables; the same command goes on where it was stopped."""
    if study == "table3":
        _write_table3(output)
        return
    if recipe_file is None:
        stop(f"{study} trains networks; name a RECIPE, as recipes/ablation.toml", WRONG_REQUEST)
    from lwisp.files.optional import import_dynamo
    from lwisp.training import studies
    from lwisp.training.progress import Reporter
    from lwisp.training.recipe import read_recipe

    recipe = read_recipe(recipe_file)
    clear_leftovers(output, runs)
    import_dynamo()
    root = data or recipe.root
    with exit_on_error(FAILED_WORK), resumable(), Reporter(quiet=quiet) as reporter:
        table = studies.reproduce(study, recipe, root, output, seeds, runs, device, hours, reporter)
    show(table.read_text(encoding="utf-8"))


def _write_table3(folder: Path) -> None:
    from lwisp.files.writing import check_output, make_folder, write_text
    from lwisp.training.table3 import is_table3, table3

    with exit_on_error(FAILED_WORK):
        make_folder(folder)
        clear_leftovers(folder)
        page = table3()
        check_output(folder / "table3.md", overwrite=True, is_own=is_table3)
        write_text(folder / "table3.md", page)
    show(page)


@app.command()
def synthesize(
    kind: Annotated[
        Literal["zurich", "zurich-varied", "mai21", "lol", "dng", "xtrans", "linear", "camera"],
        typer.Argument(
            help="The dataset whose form to write; zurich-varied: exposure, balance, noise and vignetting differ from "
            "scene to scene; dng: plain RAW files with their truth, for compare; "
            "xtrans, linear: the same of an X-Trans mosaic, and demosaiced already; camera: RAW "
            "files with JPEGs of a hard look, to learn it."
        ),
    ],
    photos: Annotated[
        list[Path],
        typer.Argument(
            help="Folders with photographs in train and val, after the first also with more of them to test on; for "
            "dng, xtrans, linear and camera in themselves.",
            readable=False,
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="The folder to make.", readable=False)],
    headroom: Annotated[float, typer.Option(metavar="EV", help="Light above white, for dng, xtrans and linear.")] = 0.0,
) -> None:
    """Make a synthetic benchmark of photographs, in the form of a dataset."""
    from lwisp.data import synthetic

    clear_leftovers(output.parent, output)
    with exit_on_error(FAILED_WORK):
        synthetic.synthesize(kind, photos, output, headroom)
    say(f"{output}")
