"""The process that fuzzes one target, guided by coverage: `python -m fuzz.guided PLAN`, started by `fuzz.runs`.

libFuzzer, through atheris, keeps the inputs that reach new lines of lwisp and Pillow; mutations are those of
`fuzz.mutators`. A broken promise that is an exception is written down and the process goes on; one that ends it, as a
crash of a decoder or a hang, is seen by the parent, which finds the input in the folder.
"""

import json
import os
import random
import sys
from pathlib import Path

from fuzz.records import HANG, Plan, Record

INSTRUMENTED = ("lwisp", "PIL")
"""Packages whose lines are counted."""


def main() -> None:
    """Fuzz until so many inputs were run; does not return."""
    import atheris

    plan = Plan(**json.loads(sys.argv[1]))
    with atheris.instrument_imports(include=list(INSTRUMENTED)):
        from fuzz.contract import Contract, contract
        from fuzz.mutators import mutate
        from fuzz.targets import TARGETS
        from fuzz.values import LONGEST

        target = TARGETS[plan.target]
        for data in target.seeds():  # imports what readers import when they are called
            with contract(target) as warming:
                warming.check(data)
    folder = Path(plan.folder)
    record = Record(folder)
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)  # decoders print what they think of damaged files
    os.dup2(os.open(folder / "stderr", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)

    def run(data: bytes, held: Contract) -> None:
        record.begin(data)
        finding = held.check(data)
        if finding is not None:
            record.add(finding, data)
        if record.ran >= plan.inputs:
            os._exit(0)

    def mutated(data: bytes, largest: int, seed: int) -> bytes:
        rng = random.Random(seed)
        for _ in range(rng.choice((1, 1, 2, 4))):
            data = mutate(data, rng)
        return data[:largest]

    with contract(target, folder) as held:
        options = [f"-seed={plan.seed}", f"-timeout={HANG}", "-rss_limit_mb=0", f"-max_len={LONGEST}", "-len_control=0"]
        places = [str(folder / "corpus"), str(folder / "seeds")]
        atheris.Setup(
            [sys.argv[0], *options, f"-artifact_prefix={folder}/", *places],
            lambda data: run(bytes(data), held),
            custom_mutator=mutated,
        )
        atheris.Fuzz()


if __name__ == "__main__":
    main()
