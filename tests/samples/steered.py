"""Services whose status pages steer them."""

from labwaiter import Job, Outputs, service

NS = "http://samples.example/"


class Heard(Outputs):
    result: str


def _listen(job: Job, own: str) -> Heard:
    if own:
        job.status_file.with_name("status.html").write_text(own, encoding="utf-8")
    job.progress(0.25, "listening")
    for _ in job.every(0.02):
        for message in job.messages():
            job.reply(message, f"heard {message}")
            if message == "GO":
                return Heard(result="gone")
    raise AssertionError


@service("Steered", namespace=NS, messages={"PAUSE": "It waits <here> & now.", "GO": "It ends well."})
def startSteered(job: Job, own: str = "") -> Heard:
    """Does what it is told."""
    return _listen(job, own)


@service("Plain", namespace=NS)
def startPlain(job: Job, own: str = "") -> Heard:
    """Declares nothing."""
    return _listen(job, own)
