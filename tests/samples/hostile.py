"""Services that write what is to harm whoever reads it, wherever a job can write something."""

import os
from typing import Annotated

from labwaiter import Job, JobFailed, Length, Outputs, service

NS = "http://samples.example/"
# in a browser, each of these would leave its mark on the page's first element
SCRIPT = "document.documentElement.setAttribute('r'+'an',1)"
NASTY = (
    f"</script></style></title></textarea></pre></main><script>{SCRIPT}</script>"
    f'"\' onload="{SCRIPT}" <img src=x onerror="{SCRIPT}"><svg onload="{SCRIPT}"><a href="javascript:{SCRIPT}">x</a>'
)


CONTROL = "".join(map(chr, [*range(1, 32), 127, *range(128, 160)])) + "\0\ufffe\uffff"


class Result(Outputs):
    result: str


@service("Nasty", namespace=NS)
def startNasty(job: Job, text: Annotated[str, Length(0, 5000)], ends: str = "well") -> Result:
    """</p><script>document.documentElement.setAttribute('r'+'an',1)</script>"""
    print(text, flush=True)
    job.record(value=1.0)
    job.progress(0.5, text)
    job.write(text[:60].replace("/", "_") or "empty", text)
    os.makedirs("deep", exist_ok=True)
    for _ in job.every(0.02):
        for message in job.messages():
            if message == "control":
                text = CONTROL
                job.progress(0.6, text)
                job.record(value=text)
                print(text, flush=True)
            if message == "go":
                if ends == "badly":
                    raise JobFailed(text)
                return Result(result=text)
            job.reply(message, text)
