"""Draws from numpy's generators, the old one and the new ones."""

import json

import numpy as np

from labwaiter import Job, Outputs, service

NS = "http://corpus.example/"
OLD = np.random.RandomState()
NEW = np.random.default_rng()
DRAWN_AT_THE_TOP = np.random.rand()


class Model:
    """As a model that holds its own."""

    old = np.random.RandomState()
    new = np.random.default_rng()


class Drawn(Outputs):
    drawn: str


@service("NumpyDraws", namespace=NS)
def startNumpyDraws(job: Job) -> Drawn:
    """One of each."""
    drawn = {
        "top drawn": DRAWN_AT_THE_TOP,
        "top old": OLD.rand(),
        "top new": NEW.random(),
        "class old": Model.old.rand(),
        "class new": Model.new.random(),
        "function global": np.random.rand(),
        "function old": np.random.RandomState().rand(),
        "function new": np.random.default_rng().random(),
        "function seeds": str(np.random.SeedSequence().entropy),
    }
    return Drawn(drawn=json.dumps(drawn))
