"""`lwisp serve`."""

from pathlib import Path
from typing import Annotated

import typer

from lwisp.cli.commands import app
from lwisp.cli.options import Backend, Exact, Precision, Verbose, precision_of
from lwisp.cli.terminal import say, show_tracebacks
from lwisp.errors import ArgumentError

LISTENING, BOUNDS, ALONE = "Listening", "Bounds", "In the browser alone"
"""Panels of the help."""


@app.command()
def serve(
    host: Annotated[
        str,
        typer.Option(
            metavar="ADDRESS",
            help="Address to listen at; others than this machine's own let others in.",
            rich_help_panel=LISTENING,
        ),
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(metavar="N", min=0, max=65535, help="0: any that is free.", rich_help_panel=LISTENING)
    ] = 8000,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="A name under which browsers may ask for the page; may be repeated.",
            show_default=False,
            rich_help_panel=LISTENING,
        ),
    ] = None,
    max_upload: Annotated[
        float, typer.Option(metavar="MB", min=0.001, help="Largest file that is taken.", rich_help_panel=BOUNDS)
    ] = 200,
    queue: Annotated[
        int, typer.Option(metavar="N", min=1, help="Pictures that may wait for their turn.", rich_help_panel=BOUNDS)
    ] = 16,
    time_limit: Annotated[
        float, typer.Option(metavar="S", min=0.1, help="Seconds for one picture.", rich_help_panel=BOUNDS)
    ] = 300,
    keep: Annotated[
        float,
        typer.Option(metavar="MIN", min=0.1, help="Minutes that pictures can be fetched.", rich_help_panel=BOUNDS),
    ] = 30,
    jobs: Annotated[
        int,
        typer.Option(
            "--jobs",
            "-j",
            min=1,
            metavar="N",
            rich_help_panel=BOUNDS,
            help="Pictures made at once, each in a process of its own, by its share of the threads.",
        ),
    ] = 1,
    memory: Annotated[
        float | None,
        typer.Option(metavar="GB", help="Bound on the memory of each of these processes.", rich_help_panel=BOUNDS),
    ] = None,
    static: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Write the page that develops in the browser as plain files, and serve nothing.",
            show_default=False,
            rich_help_panel=ALONE,
        ),
    ] = None,
    modules: Annotated[
        Path | None,
        typer.Option(
            "--from",
            metavar="NODE_MODULES",
            help="Where npm installed onnxruntime-web and libraw-wasm; ./node_modules if not given.",
            show_default=False,
            rich_help_panel=ALONE,
        ),
    ] = None,
    precision: Precision = "auto",
    exact: Exact = False,
    backend: Backend = "auto",
    verbose: Verbose = False,
) -> None:
    """Show a page on this machine to drop RAW files on, and take them from programs (POST /develop)."""
    show_tracebacks(verbose)
    precision = precision_of(precision, exact)
    if static is not None:
        from lwisp.serve.static import write_static

        written = write_static(static, modules or Path("node_modules"))
        size = sum(path.stat().st_size for path in written) / 1e6
        how = f"any web server shows them: python -m http.server -d {static}"
        say(f"{static}: {len(written)} files, {size:.0f} MB; {how}")
        return
    if modules is not None:
        raise ArgumentError("--from tells where the runtimes of --static are; name a folder to write with --static DIR")
    from lwisp.engines.engine import check_request
    from lwisp.serve.limits import Limits
    from lwisp.serve.server import is_loopback
    from lwisp.serve.server import serve as serve_requests

    check_request(backend, precision, memory)
    limits = Limits(
        jobs=jobs,
        upload=int(max_upload * 1e6),
        queue=queue,
        seconds=time_limit,
        memory=memory,
        keep_seconds=60 * keep,
        backend=backend,
        precision=precision,
    )

    from lwisp.sandbox.confinement import why_unavailable

    def tell(address: str) -> None:
        if reason := why_unavailable():
            say(f"lwisp: files are opened without a sandbox: {reason}", err=True)
        say(f"{address} shows the page, {address}docs tells programs how; Ctrl-C ends it")
        if not is_loopback(host):
            say(
                f"lwisp: whoever reaches {host} can develop files here: there is no password, and nothing is encrypted",
                err=True,
            )

    serve_requests(host, port, limits, allow_host or (), verbose, tell)
