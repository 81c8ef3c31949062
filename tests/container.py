"""Do what the Dockerfile does, without Docker, and use the result as a container would: `make container`.

    sudo python -m tests.container

The wheel is built of what `.dockerignore` lets through, and installed with the same packages. Then it is used by the
Dockerfile's user with its variables, in namespaces of its own: the root is read-only but for /tmp and the folder of
photos, and the first process is lwisp. For Linux, as root; pip fetches what lwisp needs.
"""

import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.wheel import ROOT, build_wheel, call, new_environment

INSIDE = """
set -e
mount --make-rprivate /
mount -t tmpfs tmpfs /tmp
mount -t tmpfs -o uid={user},gid={user} tmpfs {photos}
mount -o remount,bind,ro /
cd {photos}
exec env -i {variables} {as_user} "$@"
"""
"""What is done before a command; the root is read-only as by `docker run --read-only --tmpfs /tmp`."""


def main() -> None:
    """Do it; raises `CalledProcessError` or `SystemExit` where something fails."""
    if reason := why_not():
        raise SystemExit(reason)
    use()
    sys.stdout.write("sample, develop, doctor and serve work read-only and without rights\n")


def use() -> None:
    """Install what the image has, and use it as a container would; raises as `main` does."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as place:
        folder = Path(place).resolve()
        folder.chmod(0o755)
        python = install(folder)
        photos = folder / "photos"
        photos.mkdir()
        try_commands(python, photos)
        try_serving(python, photos)


def why_not() -> str:
    """Why the image's steps cannot be done here; "" where they can."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "expected Linux, and root, who alone may make a root read-only: sudo python -m tests.container"
    missing = [tool for tool in ("unshare", "nsenter", "setpriv", "mount") if shutil.which(tool) is None]
    if missing:
        return f"expected {', '.join(missing)} of util-linux"
    script = "mount --make-rprivate / && mount -o remount,bind,ro /"
    asked = ["unshare", "--mount", "--pid", "--fork", "sh", "-c", script]
    if subprocess.run(asked, capture_output=True, check=False).returncode:
        return "expected leave to make namespaces and to mount in them"
    if open_python() is None:
        return "expected a Python 3.11 or newer, with venv, that every user may run: one in /usr/bin, say"
    return ""


def open_python() -> Path | None:
    """A Python that users without rights may run, so none in root's home; None where there is none."""
    for candidate in (sys.executable, *(f"/usr/bin/python3.{minor}" for minor in range(11, 20))):
        asked = [*as_user(), "sh", "-c", f"{shlex.quote(candidate)} -c 'import ensurepip, venv'"]
        if subprocess.run(asked, capture_output=True, cwd="/", check=False).returncode == 0:
            return Path(candidate)
    return None


def as_user() -> list[str]:
    """The beginning of a command line that runs the rest of it as the Dockerfile's user, without rights."""
    return ["setpriv", "--reuid", user(), "--regid", user(), "--clear-groups", "--no-new-privs"]


def user() -> str:
    """The number of the Dockerfile's user."""
    (number,) = re.findall(r"^USER (\d+):", dockerfile(), re.MULTILINE)
    return str(number)


def install(folder: Path) -> Path:
    """Build the wheel of the image's files, and install it as the Dockerfile says; returns the Python."""
    source = copy_context(folder / "source")
    tools = new_environment(folder / "tools", "setuptools>=77")
    wheel = build_wheel(source, folder, tools)
    extras = re.search(r"lwisp-\*\.whl\)(\[\w+\])", dockerfile())
    assert extras is not None
    base = open_python()
    assert base is not None
    python = new_environment(folder / "lwisp", "-c", str(source / "constraints.txt"), f"{wheel}{extras[1]}", base=base)
    listed = call(folder, python, "-m", "pip", "list", "--format=freeze").lower()
    if "torch" in listed:
        raise SystemExit("torch was installed, which the image is to do without")
    return python


def dockerfile() -> str:
    """The text of the Dockerfile."""
    return (ROOT / "Dockerfile").read_text(encoding="utf-8")


def copy_context(folder: Path) -> Path:
    """Copy what `.dockerignore` lets through, and return the folder."""
    for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines():
        if line.startswith("!"):
            source, target = ROOT / line[1:], folder / line[1:]
            target.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, target)
    return folder


def variables_of(text: str) -> dict[str, str]:
    """The variables that a Dockerfile sets, but the search path."""
    (block,) = re.findall(r"^ENV (.*?[^\\])\n", text, re.MULTILINE | re.DOTALL)
    pairs = dict(word.split("=", 1) for word in block.replace("\\\n", " ").split())
    return {name: value for name, value in pairs.items() if name != "PATH"}


def contained(photos: Path, *command: str | Path) -> list[str]:
    """A command line that runs a command as in a container."""
    variables = " ".join(f"{name}={value}" for name, value in variables_of(dockerfile()).items())
    script = INSIDE.format(user=user(), photos=photos, variables=variables, as_user=" ".join(as_user()))
    spaces = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    return [*spaces, "sh", "-c", script, "sh", *map(str, command)]


def try_commands(python: Path, photos: Path) -> None:
    """Make a picture as in a container, and see that nothing can be written elsewhere."""
    lwisp = f"{python} -m lwisp"
    lines = [
        f"{lwisp} sample",
        f"{lwisp} develop photo.dng",
        f"{lwisp} doctor photo.dng",
        "test $(wc -c < photo-lwisp.jpg) -gt 100000",
        "test $(id -u) -ne 0",
        *(f"! touch {place}/written 2>/dev/null" for place in ("/", "/usr", "/var/tmp", photos.parent, python.parent)),
    ]
    subprocess.run(contained(photos, "sh", "-ec", "\n".join(lines)), check=True)  # one tmpfs holds all that they make


def try_serving(python: Path, photos: Path) -> None:
    """Start the server, and ask the health check of the image, before it listens, while it does, and after."""
    check = re.search(r'^HEALTHCHECK .*CMD \["python", "-m", "([\w.]+)"\]', dockerfile(), re.MULTILINE)
    assert check is not None
    with socket.create_server(("0.0.0.0", 0)) as free:
        port = free.getsockname()[1]
    serve = contained(photos, python, "-m", "lwisp", "serve", "--host", "0.0.0.0", "--port", str(port))
    with started(serve) as first:
        inside = ["nsenter", "--mount", "--pid", f"--target={first}", str(python), "-m", check[1]]
        until = time.monotonic() + 120
        while (asked := subprocess.run(inside, capture_output=True, text=True, check=False)).returncode:
            if time.monotonic() > until:
                raise SystemExit(f"the health check says: {asked.stderr.strip()}")
            time.sleep(0.5)
        os.kill(first, signal.SIGSTOP)  # a server that hangs is not healthy
        if subprocess.run(inside, capture_output=True, check=False).returncode == 0:
            raise SystemExit("the health check calls a server healthy that does not answer")
        os.kill(first, signal.SIGCONT)


@contextmanager
def started(command: Sequence[str]) -> Iterator[int]:
    """A server in its namespaces; gives the number that its first process has outside."""
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        try:
            while not children.read_text().split():
                if process.poll() is not None:
                    raise SystemExit(f"the server did not start: exit code {process.returncode}")
                time.sleep(0.1)
            yield int(children.read_text().split()[0])
        finally:
            if process.poll() is None:
                for first in children.read_text().split():  # which, as another user, does not die with its parent
                    os.kill(int(first), signal.SIGKILL)
            process.kill()


if __name__ == "__main__":
    main()
