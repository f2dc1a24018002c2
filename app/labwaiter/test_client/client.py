"""The test client: calls an asynchronous service as a workflow manager does.

It knows a service by its WSDL alone, so it works with anybody's service of this contract.

    ./run.sh [PORT] start | status | abort | notify MESSAGE | watch | wsdl   [options] [name=value …]

Exit status: 0 completed (or the call went well), 1 failed or aborted, 2 usage, 3 not reachable.
"""

from __future__ import annotations

import base64
import json
import logging
import os
import re
import socket
import sys
import time
import urllib.error
import urllib.request
import uuid
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click
import suds
import suds.client

from .. import proxy
from .last import last_id, remember, started_at
from .watching import Watch

FAILED, USAGE, UNREACHABLE = 1, 2, 3
OURS = ("serviceID", "sessionToken", "extraParameters")
TUTORIAL = {"Waiter": {"secondsToWait": "60"}}  # as the tutorial's client has it
TIMEOUT = 30  # s: a workflow manager gives up between 10 and 30


class Ended(click.ClickException):
    """A sentence, and the exit status that goes with it."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        vars(self)["exit_code"] = status  # click reads it from the exception it got


def proxies(url: str) -> dict[str, str]:
    """The proxy for an address by its scheme, for suds, which knows none; {} where it is called directly."""
    if via := os.environ.get("TEST_CLIENT_VIA"):  # where the address that everybody else calls is reached from here
        return {"http": f"http://{via}"}
    through = proxy.of(url)
    kind, separator, _ = through.partition("://")
    if separator and kind not in ("http", "https"):
        raise Ended(
            f"{url} can't be reached: a proxy of the kind {kind} is not spoken with, only one that begins with http.",
            UNREACHABLE,
        )
    return {urlsplit(url).scheme: through} if through else {}


class Service:
    """One service as its WSDL describes it."""

    def __init__(self, url: str) -> None:
        self.url = url
        logging.getLogger("suds").setLevel(logging.CRITICAL + 1)
        through = proxies(url)
        try:
            # a cached WSDL would be that of yesterday's service
            self._client = suds.client.Client(url, cache=None, timeout=TIMEOUT, proxy=through)
        except suds.transport.TransportError as error:
            answer = f"answers{_via(url)} with HTTP {error.httpcode}: {_reason(error)}"
            raise Ended(f"{url} {answer}", UNREACHABLE) from None
        except (OSError, urllib.error.URLError) as error:
            raise _unreachable(url, error) from None
        except Exception as error:
            raise Ended(f"{url} is no WSDL that can be read ({type(error).__name__}).", UNREACHABLE) from None
        self.inputs = {
            method.name: [name for name, *_ in inputs]
            for port in self._client.sd[0].ports
            for method, inputs in ((port[0].methods[name], args) for name, args in port[1])
        }
        starts = [name for name in self.inputs if "serviceID" in self.inputs[name]]
        own = [n for n in starts if n not in ("getServiceStatus", "abortService", "notifyService")]
        if len(own) != 1 or "getServiceStatus" not in self.inputs:
            raise Ended(f"{url} is no asynchronous service: it lacks getServiceStatus or its start.", UNREACHABLE)
        self.start = own[0]

    def call(self, operation: str, **inputs: Any) -> Any:
        """One operation. Raises Ended for faults and what else can happen on the way."""
        if operation not in self.inputs:
            raise Ended(f"This service has no {operation}.", USAGE)
        try:
            return getattr(self._client.service, operation)(**inputs)
        except suds.WebFault as fault:
            raise Ended(_fault_words(fault.fault), FAILED) from None
        except suds.transport.TransportError as error:
            raise Ended(f"The service answers with HTTP {error.httpcode}.", UNREACHABLE) from None
        except (OSError, urllib.error.URLError) as error:
            raise _unreachable(self.url, error) from None
        except suds.TypeNotFound as error:
            raise Ended(f"The service's WSDL lacks a type: {error}.", UNREACHABLE) from None


def _reason(error: suds.transport.TransportError) -> str:
    """What a page of an error says, if it says it shortly."""
    text = error.fp.read(20_000).decode("utf-8", "replace") if error.fp else ""
    match = re.search(r"<(?:\w+:)?description>([^<]+)<", text) or re.search(r"\A([^<\n]{1,300})", text)
    return match[1].strip() if match else "no WSDL is there."


def _fault_words(fault: Any) -> str:
    detail = getattr(getattr(fault, "detail", None), "ServiceFault", None)
    code = getattr(detail, "errorCode", None) or str(fault.faultcode).rpartition(":")[2]
    return f"{code}: {getattr(detail, 'description', None) or fault.faultstring}"


def _via(url: str) -> str:
    """Through which proxy it is called, without that one's password; "" for none."""
    if os.environ.get("TEST_CLIENT_VIA"):
        return ""
    parts = urlsplit(proxies(url).get(urlsplit(url).scheme, ""))
    return f" through the proxy {parts.hostname}:{parts.port or 80}" if parts.hostname else ""


def _unreachable(url: str, error: Exception) -> Ended:
    reason = getattr(error, "reason", error)
    slow = isinstance(reason, (TimeoutError, socket.timeout))
    words = f"no answer within {TIMEOUT} s" if slow else getattr(reason, "strerror", None) or str(reason)
    return Ended(f"{url} can't be reached{_via(url)}: {words}. Does the service run there?", UNREACHABLE)


def _values(pairs: tuple[str, ...], known: list[str]) -> dict[str, str]:
    values = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise Ended(f"Write inputs as name=value, not “{pair}”.", USAGE)
        if name not in known or name in OURS[:2]:
            own = ", ".join(n for n in known if n not in OURS[:2]) or "none"
            raise Ended(f"The service has no input “{name}”; it has: {own}.", USAGE)
        values[name] = value
    return values


def _base(port: str) -> str:
    """The address of the deployment that ./run.sh belongs to; of the one at another port, if that is given."""
    parts = urlsplit(os.environ.get("TEST_CLIENT_AT", "http://127.0.0.1:8080/sintef/docker_services"))
    named = port or os.environ.get("PORT", "")
    port = named or str(parts.port or 80)
    click.echo(f"Using port {port}")
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    base = f"{parts.scheme}://{host}:{port}{parts.path.rstrip('/')}"
    if not named and (expected := os.environ.get("TEST_CLIENT_DEPLOYMENT")) is not None:
        other = _deployment(base)
        if other is not None and other != expected:
            raise Ended(
                f"Nothing of this lab runs: another deployment answers at {base}. Start this one by"
                f" ./rebuildandrun.sh, or name the port of the other: ./run.sh {port} …",
                UNREACHABLE,
            )
    return base


def _deployment(base: str) -> str | None:
    """Which deployment answers there; None where that can't be told."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler(proxies(base)))
    try:
        try:
            with opener.open(f"{base}/health", timeout=TIMEOUT) as answer:
                health = json.load(answer)
        except urllib.error.HTTPError as error:
            health = json.load(error)
        return str(health["deployment"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _start(service: Service, name: str, pairs: tuple[str, ...], given_id: str | None, token: str) -> tuple[str, Any]:
    known = service.inputs[service.start]
    values = {k: v for k, v in TUTORIAL.get(name, {}).items() if k in known} | _values(pairs, known)
    execution = given_id or f"test-{uuid.uuid4().hex[:12]}"
    reply = service.call(service.start, serviceID=execution, sessionToken=token, **values)
    remember(service.url, execution)
    return execution, reply


def _known_id(service: Service, given_id: str | None) -> str:
    execution = given_id or last_id(service.url)
    if execution is None:
        raise Ended("Nothing was started from here yet: start something, or name it by --id.", USAGE)
    return execution


@click.command(
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit status: 0 completed or the call went well, 1 failed or aborted, 2 usage, 3 not reachable.",
)
@click.argument("words", nargs=-1, metavar="[PORT] COMMAND [name=value …]")
@click.option("--service", "name", help="The service's name; else that of the last one started, or Waiter.")
@click.option("--id", "given_id", help="The execution's serviceID; else a new one, or the last one started.")
@click.option(
    "--token", envvar="SESSION_TOKEN", default="test-token", help="The sessionToken; better in $SESSION_TOKEN."
)
@click.option("--url", help="The whole address of a WSDL, instead of port and service.")
@click.option("--every", default=6.0, show_default=True, help="Seconds between two polls of watch.")
@click.option("--page", type=click.Path(dir_okay=False), help="Where watch saves the page [status.html], or status.")
def main(
    words: tuple[str, ...],
    name: str | None,
    given_id: str | None,
    token: str,
    url: str | None,
    every: float,
    page: str | None,
) -> None:
    """Call an asynchronous service as a workflow manager does.

    \b
    start [name=value …]   start an execution (the Waiter's waits for 60 s)
    status                 getServiceStatus of the last one started, or of --id;
                           its page goes into the file --page, if that is given
    abort                  stop it
    notify MESSAGE         send it a message
    watch [name=value …]   poll until it ends, and save each page; with inputs, or
                           with nothing started yet, start one first
    wsdl                   print the WSDL
    """
    for text in (*words, name or "", given_id or "", token, url or ""):
        if any("\ud800" <= letter <= "\udfff" for letter in text):
            raise Ended(
                f"“{ascii(text)[1:-1]}” is no text in {sys.getfilesystemencoding().upper()}: write it so.", USAGE
            )
    port = ""
    if words and words[0].isdigit():
        port, *rest = words
        words = tuple(rest)
    if not words:
        raise click.UsageError("What shall be done? start, status, abort, notify, watch or wsdl.")
    command, *more = words
    if command not in ("start", "status", "abort", "notify", "watch", "wsdl"):
        raise click.UsageError(f"There is no command “{command}”: start, status, abort, notify, watch or wsdl.")
    if command in ("status", "abort", "wsdl") and more:
        raise click.UsageError(f"{command} takes no “{more[0]}”.")
    if command == "notify" and len(more) != 1:
        raise click.UsageError("notify takes one message; put it in quotes.")
    asks_of_one = command in ("status", "abort", "notify") or (command == "watch" and not more)
    if url is None:
        base = _base(port)
        started = started_at(base, given_id) if name is None and asks_of_one else None
        name = name or "Waiter"
        url = started or f"{base}/{name.lower()}/{name}?wsdl"
    name = name or ""
    click.echo(f"wsdl URL is {url}")
    service = Service(url)
    if command == "wsdl":
        click.echo(service._client.wsdl.root.str())
    elif command == "start":
        click.echo("Starting service")
        click.echo(_start(service, name, tuple(more), given_id, token)[1])
    elif command == "status":
        click.echo("Calling getServiceStatus:")
        execution = _known_id(service, given_id)
        reply = service.call("getServiceStatus", serviceID=execution, sessionToken=token)
        click.echo(reply if page is None else _saved(str(reply.status_base64), Path(page)))
    elif command == "abort":
        click.echo("Calling abortService:")
        gone = service.call("abortService", serviceID=_known_id(service, given_id), sessionToken=token)
        click.echo("success = true: it is gone" if gone else "success = false: the stop goes on, ask again")
    elif command == "notify":
        click.echo("Calling notifyService:")
        execution = _known_id(service, given_id)
        click.echo(service.call("notifyService", sessionToken=token, serviceID=execution, message=more[0]))
    else:
        _watch(service, name, tuple(more), given_id, token, every, Path(page or "status.html"))


def _saved(status: str, page: Path) -> str:
    """Save the page that a status is, unless it is only a word; what to say of it."""
    if status in ("COMPLETED", "UNCHANGED"):
        return f"{status}, which comes without a page"
    try:
        page.write_bytes(base64.b64decode(status))
    except OSError as error:
        raise Ended(f"The page can't be saved as {page}: {error.strerror}.", FAILED) from None
    return f"The page: {page}"


def _watch(
    service: Service,
    name: str,
    pairs: tuple[str, ...],
    given_id: str | None,
    token: str,
    every: float,
    page: Path,
) -> None:
    execution, reply = given_id or last_id(service.url), None
    if pairs or execution is None:
        click.echo("Starting service")
        execution, reply = _start(service, name, pairs, given_id, token)
    click.echo(f"Watching {execution}")
    watch = Watch(page)
    try:
        while True:
            if reply is None:
                reply = service.call("getServiceStatus", serviceID=execution, sessionToken=token)
            status = str(reply.status_base64)
            if status == "COMPLETED":
                watch.done("COMPLETED")
                for output, value in reply:
                    if output != "status_base64":
                        click.echo(f"{output} = {value}")
                return
            if status != "UNCHANGED":
                watch.show(base64.b64decode(status))
            time.sleep(every)
            reply = None
    except Ended as ended:
        watch.done("")
        raise ended
    except KeyboardInterrupt:
        watch.done("")
        click.echo(f"No longer watching; it goes on. Abort it with: abort --id {execution}", err=True)
        sys.exit(130)


def run() -> None:
    """The command, with the words of the command line; it ends the process."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="replace")  # type: ignore[union-attr]  # a locale's letters may lack some of a service's
    main()
