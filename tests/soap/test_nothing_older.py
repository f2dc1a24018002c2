"""No poll shows what is older than what was written before it was sent: real files, a real web server, and its lane."""

from __future__ import annotations

import base64
import http.client
import itertools
import json
import multiprocessing
import os
import random
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from callers import Reply, Web
from lab import PATIENCE, Lab, eventually
from polls import TOOLKITS

pytestmark = pytest.mark.folder_way
WRITES = 150
PAUSES = (0, 0.0005, 0.003, 0.03, 0.06)  # s between two of them: also long enough for an answer to be kept
CONNECTIONS = 4  # so that each of the workers has some


@pytest.fixture
def web(lab: Lab, make_web: Callable[..., Web]) -> Iterator[Web]:
    """With two workers, neither of which may have found its lane wrong, and closed it."""
    served = make_web(lab, 2)
    yield served
    assert "the long way" not in served.log.read_text()


def polls(web: Web, service: str, service_id: str) -> Iterator[str]:
    """What poll after poll brings, each sent when it is asked for: a page, or COMPLETED."""
    body = TOOLKITS["zeep"].format(service_id, "a token").encode()
    lines = [http.client.HTTPConnection("127.0.0.1", web.port, timeout=PATIENCE) for _ in range(CONNECTIONS)]
    for line in itertools.cycle(lines):
        line.request("POST", f"{web.lab.settings.context_root}/{service}", body, {"Content-Type": "text/xml"})
        answer = line.getresponse()
        text = Reply(str(answer.status), {}, answer.read())["status_base64"]
        yield text if text == "COMPLETED" else base64.b64decode(text).decode()


def write(file: str, latest: Any, how: str) -> None:
    """Writes 0 to 99 over and over: `latest` is what is certainly there, in all that was ever written."""
    for number in range(1, WRITES + 1):
        text = str(number % 100)
        if how == "renamed":
            Path(f"{file}.new").write_text(text)
            os.replace(f"{file}.new", file)
        else:
            with open(file, "r+" if how == "over" else "w") as opened:
                opened.write(f"{text:<3}" if how == "over" else text)
        latest.value = number
        time.sleep(random.choice(PAUSES))


@pytest.mark.parametrize("how", ["truncated", "renamed", "over"])
def test_no_page_is_older_than_the_last_status_txt(lab: Lab, web: Web, how: str) -> None:
    lab.start("Unruly", "one", word="hundred-but-running")
    lab.file("one", "status.txt")
    fork = multiprocessing.get_context("fork")
    latest = fork.Value("q", 0)
    writer = fork.Process(target=write, args=(str(lab.folder("one") / "status.txt"), latest, how))
    pages, seen = polls(web, "Unruly", "one"), 0
    writer.start()
    try:
        eventually(lambda: latest.value > 0)
        while writer.is_alive():
            before = latest.value
            page = next(pages)
            after = latest.value + 1  # it may be there already
            shown = re.search(r'aria-valuenow="(\d+)"', page)
            if shown is None and how == "truncated":
                continue  # the writer was kept from going on between its truncate and its write
            assert shown is not None, page[-2000:]
            assert int(shown[1]) in {number % 100 for number in range(before, after + 1)}
            seen += 1
    finally:
        writer.join()
    assert seen > WRITES // 10 and f'aria-valuenow="{WRITES % 100}"' in next(pages)


def test_no_page_is_older_than_what_the_job_has_told_and_none_follows_its_end(lab: Lab, web: Web) -> None:
    lab.start("Steps", "one", count=60, step=0.05)
    folder, pages, seen = lab.folder("one"), polls(web, "Steps", "one"), set()
    lab.file("one", "progress.json")
    while True:
        has_ended = (folder / "end.json").exists()
        before = json.loads((folder / "progress.json").read_text())["stage"]
        page = next(pages)
        if page == "COMPLETED":
            break
        assert not has_ended
        shown = re.search(r'class="stage">at ([0-9.]+) s<', page)
        assert shown is not None, page[-2000:]
        assert float(shown[1]) >= float(before.split()[1])
        seen.add(shown[1])
    assert len(seen) > 5
    for _ in range(20 * CONNECTIONS):
        assert next(pages) == "COMPLETED"
