"""`python -m fuzz`: long runs guided by coverage, a quick one, and the replay of what broke a promise once."""

import argparse
import json
import sys
import time
from pathlib import Path

from fuzz.contract import contract
from fuzz.quick import CRASHERS, replay, run_quickly
from fuzz.targets import TARGETS


def main() -> int:
    """Carry out one command; the exit code is 1 where a promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__)
    parser.add_argument("what", nargs="+", help=f"all, or some of {', '.join(TARGETS)}; quick; replay TARGET FILE...")
    parser.add_argument("--inputs", type=int, default=100_000, help="of all targets together")
    parser.add_argument("--each", type=int, default=40, help="inputs of each target for quick")
    parser.add_argument("--seed", type=int, default=0, help="of the mutations of quick")
    parser.add_argument("--jobs", type=int, default=1, help="targets at once")
    parser.add_argument("--folder", type=Path, default=Path("build/fuzz"), help="what a run keeps, and goes on from")
    parser.add_argument("--corpus", type=Path, help="a folder of more files to begin with")
    told = parser.parse_args()
    if told.what[0] == "quick":
        return _run_quickly(told.what[1:] or list(TARGETS), told)
    if told.what[0] == "replay":
        return _replay(told.what[1], [Path(path) for path in told.what[2:]])
    from fuzz.runs import fuzz_targets

    names = list(TARGETS) if told.what == ["all"] else told.what
    unknown = [name for name in names if name not in TARGETS]
    if unknown:
        parser.error(f"there is no target {unknown[0]}; there are {', '.join(TARGETS)}")
    reports = fuzz_targets(names, told.inputs, told.folder, told.corpus, told.jobs)
    for report in reports:
        rate = report["inputs"] / max(report["seconds"], 1e-9)
        found = len(report["findings"])
        print(f"{report['target']}: {report['inputs']:,} inputs, {rate:.0f} a second, {found} kinds of broken promises")
        for finding in report["findings"]:
            print("  ", json.dumps(finding))
    return any(report["findings"] for report in reports)


def _run_quickly(names: list[str], told: argparse.Namespace) -> int:
    """Without coverage, and in this process: what broke a promise once, then mutated inputs of each target."""
    broken = 0
    for name in names:
        began = time.monotonic()
        found = [*replay(name), *run_quickly(name, told.each, told.seed, told.corpus)]
        print(
            f"{name}: {told.each:,} inputs in {time.monotonic() - began:.0f} s, {len(found)} broke a promise",
            flush=True,
        )
        for kind, finding in {finding.kind: finding for finding in found}.items():
            print(kind, finding.details, sep="\n")
        broken += len(found)
    return bool(broken)


def _replay(name: str, paths: list[Path]) -> int:
    with contract(TARGETS[name]) as held:
        for path in paths or sorted((CRASHERS / name).iterdir()):
            finding = held.check(path.read_bytes())
            print(path, finding.kind if finding else "holds")
            if finding:
                print(finding.details)
    return 0


if __name__ == "__main__":
    sys.exit(main())
