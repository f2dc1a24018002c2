"""The service that the toolkits are tried with.

Its outputs have other names than its inputs: JAX-WS takes two of one name for one parameter that goes both ways.
"""

from typing import Annotated

from labwaiter import Job, Outputs, Range, service


class Given(Outputs):
    echo: str
    number: int
    ratio: float
    held: bool


@service("Toolkit", namespace="http://labwaiter.example/toolkit/")
def startToolkit(job: Job, text: str, count: Annotated[int, Range(1, 100)] = 7, hold: bool = False) -> Given:
    """Give back what came in; held, answer messages until it is aborted."""
    for _ in job.every(0.05, lasting=None if hold else 0.05):
        for message in job.messages():
            job.reply(message, f"you said {message}")
    return Given(echo=text, number=count, ratio=count / 2, held=hold)
