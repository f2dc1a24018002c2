"""Tests of what users write: services, drivers, and every ending of them. docs/testing.md tells how.

With pytest, the fixtures `lab` (a `Lab`) and `wire` (a `Wires`) are there as soon as labwaiter is installed. Without it
both are made like anything else:

    with Lab.around(Path("mylab"), Path("/tmp/trial")) as lab:
        print(lab.run("Grower", height=20).outputs)

Real processes run: a supervisor, the jobs, the guard, and where it is asked for the web side. Nothing in the engine
knows of this package.
"""

from .bridge import Bridge
from .dialogue import Dialogue, Wires
from .endings import ENDINGS, Ending, Endings
from .execution import Execution, NotThatWay
from .lab import Lab
from .ports import free_port

__all__ = ["ENDINGS", "Bridge", "Dialogue", "Ending", "Endings", "Execution", "Lab", "NotThatWay", "Wires", "free_port"]
