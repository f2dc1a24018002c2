"""Draws from each generator of the standard library: at the top, in a class's attribute and in the function."""

import json
import os
import random
import secrets
import tempfile
import uuid

from labwaiter import Job, Outputs, Script, service

NS = "http://corpus.example/"
TOP = random.Random()
DRAWN_AT_THE_TOP = {"random": random.random(), "uuid4": str(uuid.uuid4()), "secrets": secrets.token_hex()}


class Names:
    """A library's object that holds its generator, as faker's does."""

    generator = random.Random()
    system = random.SystemRandom()

    def uuid4(self) -> str:
        return str(uuid.UUID(int=self.generator.getrandbits(128), version=4))


NAMES = Names()


class Drawn(Outputs):
    drawn: str


@service("Draws", namespace=NS)
def startDraws(job: Job) -> Drawn:
    """One of each."""
    drawn = {
        **{f"top {name}": value for name, value in DRAWN_AT_THE_TOP.items()},
        "top generator": TOP.random(),
        "class generator": Names.generator.random(),
        "class system": Names.system.random(),
        "class uuid4": NAMES.uuid4(),
        "function random": random.random(),
        "function shuffle": random.sample(range(1000), 20),
        "function generator": random.Random().random(),
        "function uuid4": str(uuid.uuid4()),
        "function secrets": secrets.token_hex(),
        "function urandom": os.urandom(16).hex(),
        "function tempfile": tempfile.mktemp(),
    }
    return Drawn(drawn=json.dumps(drawn))


@service("ScriptDraws", namespace=NS)
def startScriptDraws(job: Job) -> Drawn:
    """The same in a script."""
    return Script("_draws.py", job.result_file)


@service("ScriptDrawsTwice", namespace=NS)
def startScriptDrawsTwice(job: Job) -> Drawn:
    """Two runs of one script in one job."""
    job.run(Script("_draws.py", "first.json"))
    job.run(Script("_draws.py", "second.json"))
    first, second = (json.loads((job.data / name).read_text()) for name in ("first.json", "second.json"))
    return Drawn(drawn=json.dumps({"the same": [name for name in first if first[name] == second[name]]}))


@service("NumpyScriptDraws", namespace=NS)
def startNumpyScriptDraws(job: Job) -> Drawn:
    """A script that imports numpy itself."""
    return Script("_numpy_draws.py", job.result_file)
