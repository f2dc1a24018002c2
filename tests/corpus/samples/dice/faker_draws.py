"""Draws names from faker, whose generators are objects of its modules."""

import json

from faker import Faker

from labwaiter import Job, Outputs, service

NS = "http://corpus.example/"
FAKE = Faker()


class People:
    """As a model that holds its own."""

    fake = Faker()


class Drawn(Outputs):
    drawn: str


@service("FakerDraws", namespace=NS)
def startFakerDraws(job: Job) -> Drawn:
    """One of each: long enough that no two are the same by chance."""
    drawn = {
        "top names": [FAKE.name() for _ in range(5)],
        "top uuid4": FAKE.uuid4(),
        "class names": [People.fake.name() for _ in range(5)],
        "class uuid4": People.fake.uuid4(),
        "function names": [Faker().name() for _ in range(5)],
        "function uuid4": Faker().uuid4(),
    }
    return Drawn(drawn=json.dumps(drawn))
