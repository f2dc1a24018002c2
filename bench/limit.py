"""The least that a web server of granian's can do for a poll: read it, and send bytes that were there before."""

import os
from pathlib import Path

ANSWER = Path(os.environ["ANSWER"]).read_bytes()
HEADERS = [("Content-Type", "text/xml; charset=utf-8"), ("Content-Length", str(len(ANSWER)))]


def application(environ, start_response):
    environ["wsgi.input"].read()
    start_response("200 OK", HEADERS)
    return [ANSWER]
