"""A process that has imported everything, and runs each command in a fork of itself: a run costs what it does alone.

It reads a JSON object a line, a `Request`, from stdin, and answers each by the exit code on stdout.
"""

import atexit
import gc
import json
import os
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any, NoReturn


def import_everything() -> None:
    """Import what any of the commands imports."""
    from lwisp.files.optional import import_dynamo, need

    import_dynamo()
    for module in ("lightning_fabric", "onnx", "openvino", "onnxruntime", "onnxscript", "torch.utils.tensorboard"):
        need(module)
    for name in ("cli", "batch", "restoration", "training.runs", "camera.learning", "data.synthetic", "conversion"):
        import_module(f"lwisp.{name}")
    gc.freeze()  # forks share what never is collected


def run(
    arguments: Sequence[str],
    function: str,
    folder: str,
    variables: Mapping[str, str | None],
    output: str,
    seconds: float,
) -> int:
    """Run a command in a fork, and wait for it.

    Args:
        arguments: Of the command.
        function: "module:function" that is called in place of the command; "" for none.
        folder: The working folder.
        variables: Environment variables; None for those that are not set.
        output: A file that gets what the command prints.
        seconds: After which it is killed.

    Returns:
        The exit code; the negative number of a signal.
    """
    process = os.fork()
    if not process:
        _be(arguments, function, folder, variables, output)
    deadline = time.monotonic() + seconds
    while True:
        done, status = os.waitpid(process, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > deadline:
            os.kill(process, signal.SIGKILL)
            return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
        time.sleep(0.002)


def _be(
    arguments: Sequence[str], function: str, folder: str, variables: Mapping[str, str | None], output: str
) -> NoReturn:
    """Become the command; ends the process."""
    code = 1
    try:
        descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        os.close(descriptor)
        for name, value in variables.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        tempfile.tempdir = None
        os.chdir(folder)
        sys.argv = ["lwisp", *arguments]
        code = _code_of(_find(function))
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def _find(function: str) -> Callable[[], Any]:
    if not function:
        from lwisp.cli.commands import main

        return main
    module, _, name = function.partition(":")
    found: Callable[[], Any] = getattr(import_module(module), name)
    return found


def _code_of(function: Callable[[], Any]) -> int:
    from lwisp.cli.terminal import complain
    from lwisp.errors import InputError

    try:
        function()
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except InputError as error:  # as the command tells of it
        complain(str(error))
        return 1
    return 0


def main() -> None:
    """Answer requests until there are no more."""
    import_everything()
    _answer("ready")
    for line in sys.stdin:
        _answer(str(run(**json.loads(line))))


def _answer(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
