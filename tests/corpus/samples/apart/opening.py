"""Opens at its top what its function uses: a file, a log's handler, a database, a socket."""

import logging
import os
import socket
import sqlite3
from pathlib import Path

from labwaiter import Command, Job, Outputs, Script, service

HERE = Path(__file__).parent
OUT = open(HERE / "opened.txt", "a")  # noqa: SIM115
HANDLER = logging.FileHandler(HERE / "opened.log")
LOG = logging.getLogger("instrument")
LOG.addHandler(HANDLER)
DATABASE = sqlite3.connect(HERE / "opened.db")
DATABASE.execute("create table if not exists readings (job text)")
LISTENER = socket.create_server(("127.0.0.1", 0))


class Result(Outputs):
    result: str


@service("Opening", namespace="http://corpus.example/")
def startOpening(job: Job, by_program: bool) -> Result:
    """Write into each."""
    print("into the log", flush=True)
    if by_program:
        job.run(Command("sh", "-c", "for n in 3 4 5 6 7 8 9; do echo stray >&$n; done 2> /dev/null; true"))
        job.run(Script(HERE / "_stray.py"))
    OUT.write(f"{job.service_id}\n")
    OUT.flush()
    LOG.error(job.service_id)
    with DATABASE:
        DATABASE.execute("insert into readings values (?)", (job.service_id,))
    with socket.create_connection(LISTENER.getsockname()) as call, LISTENER.accept()[0] as answer:
        call.sendall(b"heard")
        heard = answer.recv(5).decode()
    names = [os.path.basename(os.readlink(f"/proc/self/fd/{f.fileno()}")) for f in (OUT, HANDLER.stream)]
    return Result(result=" ".join([*names, heard]))
