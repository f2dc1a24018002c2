"""Whatever is asked, in whatever order, and whatever happens in between: the lane's answer is the door's, to the byte.

Two faces of one jobs folder are asked the same at the same moment of a clock that stands still: one with the lane and
all that it remembers, one with nothing of the kind. Hypothesis makes up the requests and the stories. What it draws is
the same in each run (`derandomize`); HYPOTHESIS_PROFILE=long draws many times as much, and other things each time.
"""

from __future__ import annotations

import contextlib
import functools
import gzip
import io
import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from callers import NS, SOAP_11
from lab import SAMPLES, Lab
from labwaiter import page, wsgi
from labwaiter.catalogue import catalogue
from labwaiter.catalogue.catalogue import Broken, Catalogue
from labwaiter.model.parameter import Parameter
from labwaiter.model.record import End, Picture, Progress, Request, State, Stopping, StoredState, Tombstone
from labwaiter.model.service import Service
from labwaiter.soap import app, wsdl
from labwaiter.store import messages, stamps
from labwaiter.store.folder import Folder
from labwaiter.store.names import folder_name
from labwaiter.system.process import boot_clock, identify
from labwaiter.wsgi import Application
from polls import TOOLKITS, XSI, kept_answers

pytestmark = pytest.mark.folder_way
LONG = os.environ.get("HYPOTHESIS_PROFILE") == "long"
PATIENT = pytest.mark.timeout(0 if LONG else 900)  # s: what fails is made shorter before it is told
CHECKS = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture]


def drawn(examples: int, **more: Any) -> settings:
    """How much Hypothesis draws, and that it is the same each time; both otherwise in the long profile."""
    return settings(
        max_examples=50 * examples if LONG else examples,
        derandomize=not LONG,
        database=None,
        deadline=None,
        suppress_health_check=CHECKS,
        print_blob=True,
        phases=[phase for phase in Phase if phase is not Phase.explain],
        **more,
    )


# -- two faces, one clock -----------------------------------------------------------------------


class Clock:
    """The faces' clocks, which a test moves on: a story takes the same time on every machine."""

    def __init__(self) -> None:
        self.time, self.boot = int(time.time()) + 0.5, int(boot_clock()) + 0.5  # s, Unix time and boot clock
        self._is_young = stamps.is_young

    def move(self, seconds: float) -> None:
        """Time passes."""
        self.time += seconds
        self.boot += seconds

    def rest(self) -> None:
        """As long as it takes until what was written is old enough to be believed: by the file system's own clock."""
        time.sleep(1.1 * stamps.STEP)
        self.move(1.1 * stamps.STEP)

    @contextlib.contextmanager
    def in_charge(self) -> Iterator[None]:
        """While it lasts the faces go by this clock; only how old a stamp is they see by the file system's."""
        real, clock_gettime = time.time(), time.clock_gettime

        def mark(folder: Folder, name: str, mark: str, set_mark: Any = Folder.mark) -> bool:
            is_first: bool = set_mark(folder, name, mark)
            if is_first:  # a page of a bad end counts its 20 s from such a mark
                os.utime(folder.path(name) / mark, (self.time, self.time))
            return is_first

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(time, "time", lambda: self.time)
            patch.setattr(time, "clock_gettime", lambda c: self.boot if c == time.CLOCK_BOOTTIME else clock_gettime(c))
            patch.setattr(Folder, "mark", mark)
            patch.setattr(stamps, "is_young", lambda status, since: self._is_young(status, real - (self.time - since)))
            yield


class Offered:
    """What is offered, as the web side sees it: another catalogue once a service's file has changed."""

    def __init__(self, first: Catalogue) -> None:
        self.catalogue = first

    def last(self) -> Catalogue:
        return self.catalogue

    def now(self, name: str | None = None, wait: float = 0.0) -> Catalogue:
        return self.catalogue


@dataclass(frozen=True)
class Asked:
    """One request."""

    path: str
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)  # and what else a web server tells of it
    method: str = "POST"
    query: str = ""


Told = tuple[str, list[tuple[str, str]], bytes]  # status, headers, body


def told(application: Application, asked: Asked) -> Told:
    """The answer to it."""
    got: list[Any] = []
    answer = application(
        {
            "REQUEST_METHOD": asked.method,
            "SCRIPT_NAME": "",
            "PATH_INFO": asked.path,
            "QUERY_STRING": asked.query,
            "SERVER_NAME": "localhost",
            "SERVER_PORT": "8080",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "REMOTE_ADDR": "127.0.0.1",
            "HTTP_HOST": "lab.example:8080",
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(asked.body),
            "CONTENT_TYPE": "text/xml; charset=utf-8",
            "CONTENT_LENGTH": str(len(asked.body)),
            **asked.headers,
        },
        lambda *answered: got.extend(answered),
    )
    body = b"".join(answer)
    return got[0], [header for header in got[1] if header[0] != "Date"], body


class BothWays:
    """A deployment's folder with executions in it, behind two faces."""

    def __init__(self, place: Path, offered: Catalogue) -> None:
        self.lab = Lab(place / "jobs", place / "services", POLL_LANE="on", SUPERVISOR="elsewhere")
        self.root, self.store = self.lab.settings.context_root, self.lab.store
        self.store.make()
        self.clock, self.offered = Clock(), Offered(offered)
        self.renew()

    def renew(self) -> None:
        """Two new faces, which have been asked nothing yet; and no page of a bad end has been shown."""
        self.with_lane = Application(self.lab.settings, self.offered)  # type: ignore[arg-type]
        self.without = Application(replace(self.lab.settings, poll_lane=False), self.offered)  # type: ignore[arg-type]
        page._pieces.clear()
        for mark in self.store.root.glob("*/told"):
            mark.unlink()

    @property
    def kept(self) -> int:
        """How many answers the lane gave that it had kept."""
        return kept_answers(self.with_lane)

    def ask(self, asked: Asked) -> Told:
        """The answer of both faces, which must be one."""
        with self.clock.in_charge():
            answer = told(self.with_lane, asked)
            pieces = dict(page._pieces)
            page._pieces.clear()
            reference = told(self.without, asked)
            page._pieces.clear()
            page._pieces.update(pieces)
        assert answer == reference, asked
        assert self.with_lane._soap.lane.is_open
        assert not answer[0].startswith("500") or b"Envelope" in answer[2], asked  # nothing is an incident of ours
        return answer

    def poll(self, written: str, service: str, service_id: str, token: str = "a token", **headers: str) -> Told:
        """As `ask`, for a plain poll."""
        return self.ask(Asked(f"{self.root}/{service}", written.format(service_id, token).encode(), headers))

    # -- what supervisors, runners and programs write ---------------------------------------------

    def folder(self, service_id: str) -> Path:
        return self.store.path(folder_name(service_id))

    def begin(self, service: Service, service_id: str, runs: bool = True) -> None:
        """An execution as a face starts it; `runs`: and as a supervisor runs it, in this very process."""
        inputs = {p.name: p.default if p.default is not None else "x" for p in service.inputs}
        now = self.clock.time
        request = Request(service_id, service.name, inputs, created=now, polls=True, signature=service.as_data())
        assert self.store.claim(folder_name(service_id), request)
        if runs:
            self.write(service_id, StoredState(State.RUNNING, "", now, now, self.clock.boot, marks_begin=True))

    def write(self, service_id: str, stored: StoredState) -> None:
        self.store.write_state(folder_name(service_id), replace(stored, runner=identify(os.getpid())))

    def end(self, service: Service, service_id: str, state: State) -> None:
        """As a runner ends it, and then the supervisor."""
        outputs = {p.name: p.choices[0] if p.choices else p.placeholder for p in service.outputs}
        why = "" if state is State.COMPLETED else "The sample slipped."
        now = self.clock.time
        self.store.write_end(folder_name(service_id), End(state, why, outputs, now))
        before = self.store.stored_state(folder_name(service_id)) or StoredState()
        self.store.write_state(folder_name(service_id), replace(before, state=state, why=why, ended=now, ran=1.5))
        self.store.forget_active(folder_name(service_id))


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Catalogue]:
    """The samples' catalogue; and what takes time at each face is made once for all of them."""
    folder = tmp_path_factory.mktemp("samples") / "services"
    folder.mkdir()
    shutil.copy(SAMPLES / "services.py", folder / "services.py")
    made: dict[tuple[Any, str], Any] = {}

    def once(make: Callable[[Service], Any]) -> Callable[[Service], Any]:
        @functools.wraps(make)
        def get(service: Service) -> Any:
            key = make, repr(service)
            if key not in made:
                made[key] = make(service)
            return made[key]

        return get

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(app, "Answers", once(app.Answers))
        patch.setattr(wsdl, "template", once(wsdl.template))
        patch.setattr(wsgi, "look_round", lambda awaited, figures: None)
        yield catalogue.load(folder)


@pytest.fixture
def both_ways(tmp_path: Path, samples: Catalogue) -> Callable[[], BothWays]:
    """Another deployment for each story, each with two new faces."""
    (tmp_path / "services").mkdir()

    def make() -> BothWays:
        shutil.rmtree(tmp_path / "jobs", ignore_errors=True)
        return BothWays(tmp_path, samples)

    return make


# -- requests -----------------------------------------------------------------------------------

BLANKS = st.sampled_from(["", " ", "\n", "\r\n\t "])
PREFIXES = st.sampled_from(["", "s", "SOAP-ENV", "soap11env", "ns0", "_a.b-c"])
IDS = ["runs", "done", "failed", "aborted", "queued", "buried", "another's", "a b", "50%", "quiet"]
ODD_IDS = ["", " ", "nobody", "runs ", " runs", "RUNS", "a%20b", "%", "ü", "漢字", "x" * 401, "x" * 402, "x" * 1001,
           "~", "..", "../runs", "runs/data", "ru\nns", "ru\tns", "]]", '"runs"', "\x7f", "&#114;uns", "a&amp;b",
           "a&amp;amp;b", "&quot;", "x&#10;"]  # fmt: skip
DECLARATIONS = [
    "",
    "<?xml version='1.0'?>",
    '<?xml version="1.0" encoding="utf-8"?>\n',
    '<?xml version="1.0" encoding="US-ASCII" standalone="yes" ?>',
    '<?xml version="1.0" encoding="ISO-8859-1"?>\r\n',
    # not well-formed, but read where HTTP says the charset
    '<?xml version="1.0" encoding=utf-8?>',
    '<?xml encoding="utf-8" version="1.0"?>',
]
TEXTS = st.one_of(
    st.sampled_from(IDS),
    st.sampled_from(ODD_IDS),
    st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"], exclude_characters="<&"), max_size=30),
)


@st.composite
def envelopes(draw: st.DrawFn) -> str:
    """A right poll as some toolkit may write it, with {0} and {1} for its values."""
    if draw(st.booleans()):
        return draw(st.sampled_from(sorted(TOOLKITS.values())))
    soap, own = draw(PREFIXES), draw(PREFIXES.filter(lambda prefix: prefix != "s"))
    quote = draw(st.sampled_from("\"'"))
    if soap == own:
        own = f"{own}1"
    names = {"E": f"{soap}:" if soap else "", "O": f"{own}:" if own else ""}
    declared = [f"xmlns{':' if soap else ''}{soap}={quote}{SOAP_11}{quote}"]
    operation_declares = f" xmlns{':' if own else ''}{own}={quote}{NS}{quote}"
    if draw(st.booleans()) and own:
        declared.append(operation_declares.strip())
        operation_declares = ""
    declared += draw(
        st.lists(st.sampled_from([f'xmlns:xsi="{XSI}"', "xmlns:unused='urn:x'", 'xmlns:m="urn:m"']), unique=True)
    )
    declared = draw(st.permutations(declared))
    blank, typed = draw(BLANKS), draw(st.sampled_from(["", f' xmlns:i="{XSI}" i:type="i:x"', " id='a1'", " "]))
    inputs = [f"<{names['O']}{name}{typed}>{{{at}}}</{names['O']}{name}{draw(st.sampled_from(['', ' ']))}>"
              for at, name in enumerate(("serviceID", "sessionToken"))]  # fmt: skip
    inside = blank.join(draw(st.permutations(inputs)))
    entry = draw(st.sampled_from([None, "", "<m:id xmlns:m='urn:m'>7</m:id>", "<m:id xmlns:m='urn:m' a='serviceID'/>"]))
    header = "" if entry is None else f"<{names['E']}Header>{entry}</{names['E']}Header>"
    declaration = draw(st.sampled_from(DECLARATIONS))
    return (
        f"{declaration}<{names['E']}Envelope {' '.join(declared)}>{blank}{header}{blank}<{names['E']}Body>{blank}"
        f"<{names['O']}getServiceStatus{operation_declares}>{blank}{inside}{blank}</{names['O']}getServiceStatus>{blank}"
        f"</{names['E']}Body>{blank}</{names['E']}Envelope>{draw(BLANKS)}"
    )


# what becomes of a poll that is not quite one: a text of its form, and another instead
SPOILT = [
    ("{0}", "{0}<!-- a comment -->"),
    ("{0}", "<!-- {0} -->"),
    ("{1}", "<![CDATA[{1}]]>"),
    ("{0}", "<![CDATA[<t:serviceID>done</t:serviceID>]]>{0}"),
    ("{0}", "{0}<?a pi?>"),
    ("{0}", "&#114;uns"),
    ("{0}", "{0}&amp;"),
    ("{1}", "&e;"),
    ("{0}", "<b xmlns='urn:x'>{0}</b>"),
    ("{0}", "{0}<serviceID>done</serviceID>"),
    ("{1}", "\n {1}\n"),
    ("{0}", "  {0}"),
    ("{0}", ""),
    ("{1}", ""),
    ("{0}", "{0} "),
    ("serviceID>", "serviceId>"),
    ("serviceID>", "sessionToken>"),
    ("sessionToken>", "serviceID>"),
    ("getServiceStatus", "getServicestatus"),
    ("getServiceStatus", "startUnruly"),
    (SOAP_11, "http://www.w3.org/2003/05/soap-envelope"),
    (NS, "urn:another"),
    ("serviceID>{0}", f'serviceID xmlns:n="{XSI}" n:nil="true">{{0}}'),
    ("sessionToken>{1}", f'sessionToken xmlns:n="{XSI}" n:nil=" 1 ">{{1}}'),
    ("sessionToken>{1}", f'sessionToken xmlns:n="{XSI}" n:nil="false">{{1}}'),
    ("serviceID>{0}", 'serviceID href="#a">{0}'),
    ("Body>", "Body ><!-- <serviceID>done</serviceID> -->"),
    ("Header/>", "Header><serviceID>done</serviceID></Header>"),
    ("Envelope ", "Envelope  a='1' a='2' "),
    ("<?xml version", "<?xml  version"),
    ("<?xml version=", "<?xml encoding="),
    ("UTF-8", "utf-16"),
    ("utf-8", "klingon"),
    ('encoding="UTF-8"', "encoding=UTF-8"),
    ('"1.0"', '"2.0"'),
    ('"1.0"', '"1.1"'),
    ("?>", " standalone='perhaps'?>"),
    ("?>", "?><!DOCTYPE a [<!ENTITY e 'runs'>]>"),
    ("?>", "?><?pi <serviceID>x</serviceID>?>"),
    ("<?xml", "\n<?xml"),
    ("?>", "?>\n\n"),
]
PIECES = st.sampled_from(["&amp;", "&", "<", ">", "]]>", "\0", "\n", " ", "ü", "</t>", "<!--", "-->", "'", '"', "/",
                          "xmlns=''", "serviceID", "<x/>", ":", "漢", "\x7f", "="])  # fmt: skip
AS_BYTES: list[Callable[[str], bytes]] = [
    lambda text: text.encode("utf-8-sig"),
    lambda text: text.encode("utf-16"),
    lambda text: text.encode("utf-16-le"),
    lambda text: text.encode("latin-1", "replace"),
    lambda text: gzip.compress(text.encode(), mtime=0),
    lambda text: text.encode() + b"\0",
    lambda text: text.encode()[:-1],
    lambda text: b"\xef\xbb\xbf " + text.encode(),
]
CHARSETS = ["us-ascii", "ISO-8859-1", "'windows-1252'", "utf-16", "utf-7", "klingon", ""]
CONTENT_TYPES = ["", "text/xml", "text/xml;charset=UTF-8", 'text/xml; charset="utf-8"', "application/xml", "a/b",
                 *(f"text/xml; charset={charset}" for charset in CHARSETS), "text/xml; x" + "x" * 300,
                 "application/soap+xml; charset=utf-8; action=x", 'multipart/related; boundary="b"', ";;",
                 "charset=utf-16", 'text/xml; action="a;charset=utf-16"; charset=utf-8']  # fmt: skip
HOSTS = ["other.example", "lab.example", "127.0.0.1:80", "[::1]:8080", "", "a/b", "a,b", "ü"]
HEADERS = {
    "CONTENT_TYPE": CONTENT_TYPES,
    "CONTENT_LENGTH": ["", "0", "-1", "+5", "10", "4000", "5000", "²", "99999999999"],
    "HTTP_CONTENT_ENCODING": ["gzip", "identity", "br", ""],
    "HTTP_TRANSFER_ENCODING": ["chunked", "gzip", ""],
    "HTTP_SOAPACTION": ['""', '"urn:any"', "getServiceStatus"],
    "HTTP_HOST": HOSTS,
    "HTTP_X_FORWARDED_HOST": ["proxy.example", "proxy.example, lab", "a/b", ""],
    "HTTP_X_FORWARDED_PROTO": ["https", "http", "ftp"],
    "HTTP_X_FORWARDED_PREFIX": ["/behind", "/a/../b", "/" + "x" * 1000, "//"],
    "REMOTE_ADDR": ["127.0.0.1", "192.0.2.1", "::1", ""],
    "SERVER_PROTOCOL": ["HTTP/1.0", "HTTP/1.1"],
    "wsgi.url_scheme": ["http", "https"],
}
PATHS = ["/Unruly", "/Echo", "/unruly/Unruly", "/UNRULY", "//Unruly", "/Unruly/", "/Unruly.wsdl", "/Quiet", "/nothing"]


@st.composite
def spoilt(draw: st.DrawFn, written: str) -> str:
    """A poll's form with a thing or two done to it."""
    for _ in range(draw(st.integers(1, 2))):
        if draw(st.integers(0, 3)):
            fitting = [(old, new) for old, new in SPOILT if old in written]
            old, new = draw(st.sampled_from(fitting))
            written = written.replace(old, new, draw(st.sampled_from([1, -1])))
        else:
            at = draw(st.integers(0, len(written)))
            written = written[:at] + draw(PIECES) + written[at + draw(st.integers(0, 2)) :]
    return written


def filled(written: str, service_id: str, token: str) -> str:
    return written.replace("{0}", service_id).replace("{1}", token)


@st.composite
def requests(draw: st.DrawFn, usual: Asked, written: str) -> Asked:
    """Another request than this poll of that form, in a few of its traits."""
    traits = ["values", "form", "header", "kind", "path", "bytes", "method", "query"]
    changed = draw(st.sets(st.sampled_from(traits), min_size=1, max_size=3))
    body, headers, path, query = usual.body, dict(usual.headers), usual.path, ""
    if changed & {"values", "form", "bytes"}:
        service_id, token = draw(TEXTS), draw(st.sampled_from(["a token", "another", "", " ", "ü", "&amp;"]))
        written = draw(spoilt(written)) if "form" in changed else written
        encode = draw(st.sampled_from(AS_BYTES)) if "bytes" in changed else str.encode
        body = encode(filled(written, service_id, token))
    if "header" in changed:
        name = draw(st.sampled_from(sorted(HEADERS)))
        headers[name] = draw(st.sampled_from(HEADERS[name]))
    if "kind" in changed:
        headers["CONTENT_TYPE"] = draw(st.sampled_from(CONTENT_TYPES))
    if "path" in changed:
        path = path[: path.rindex("/")] + draw(st.sampled_from(PATHS))
    if "query" in changed:
        query = draw(st.sampled_from(["wsdl", "x=1&wsdl=2", "a"]))
    return Asked(path, body, headers, "PUT" if "method" in changed else "POST", query)


USUAL = [*(6 * [("Unruly", "runs")]), ("Unruly", "done"), ("Echo", "another's"), ("Quiet", "quiet")]


def inhabited(ways: BothWays) -> BothWays:
    """With an execution of each kind, which have been as they are for long enough to be believed."""
    services = ways.offered.catalogue.services
    for name in ("runs", "done", "failed", "aborted", "a b", "50%", "a&b", "a&amp;b", "buried"):
        ways.begin(services["Unruly"], name)
    ways.begin(services["Unruly"], "queued", runs=False)
    ways.begin(services["Echo"], "another's")
    ways.begin(services["Quiet"], "quiet")
    for name, state in (("done", State.COMPLETED), ("failed", State.FAILED), ("aborted", State.ABORTED)):
        ways.end(services["Unruly"], name, state)
    ways.end(services["Unruly"], "buried", State.COMPLETED)
    ways.store.bury(folder_name("buried"), Tombstone("Unruly", 1.0))
    (ways.folder("runs") / "status.txt").write_text("41")
    (ways.folder("runs") / "data" / "ü <curve>.csv").write_text("1,2")
    ways.clock.rest()
    return ways


@PATIENT
def test_whatever_is_sent_once_a_form_is_known_is_answered_alike(both_ways: Callable[[], BothWays]) -> None:
    ways, kept = inhabited(both_ways()), []

    @drawn(400)
    @given(st.data())
    def conversation(data: st.DataObject) -> None:
        ways.renew()
        written = data.draw(envelopes(), "the form")
        service, service_id = data.draw(st.sampled_from(USUAL), "what is polled usually")
        headers = {"CONTENT_TYPE": data.draw(st.sampled_from(["text/xml", "text/xml; charset=utf-8"]), "its kind")}
        if data.draw(st.integers(0, 2), "it is odd itself") == 2:
            written = data.draw(spoilt(written))
        usual = Asked(f"{ways.root}/{service}", filled(written, service_id, "a token").encode(), headers)
        for _ in range(4):  # learnt, recognised, kept, and answered by that
            ways.ask(usual)
        for _ in range(data.draw(st.integers(1, 5), "how many others")):
            asked = data.draw(requests(usual, written), "another")
            for _ in range(data.draw(st.integers(1, 3), "times")):
                ways.ask(asked)
        kept.append(ways.kept)

    conversation()
    assert sum(count > 0 for count in kept) > 0.4 * len(kept)  # of a third of them the form itself is odd


def test_what_the_clock_or_the_queue_changes_is_told_in_time(both_ways: Callable[[], BothWays]) -> None:
    """Seconds on pages, the 20 s of a bad end's page, a place in the queue: no file of the execution tells of these."""
    ways = inhabited(both_ways())
    for step in range(80):
        ways.store.write_queue(step % 3, 3, ["queued"], {}, {})
        for name in ("runs", "failed", "done", "queued"):
            ways.poll(TOOLKITS["zeep"], "Unruly", name)
        ways.clock.move(0.3)
    assert ways.kept > 50


# -- stories ------------------------------------------------------------------------------------

VERSIONS: dict[str, Callable[[Service], Service | None]] = {
    "as it was": lambda service: service,
    "another rule": lambda service: replace(service, grace=service.grace + 1),
    "another output": lambda service: replace(service, outputs=(*service.outputs, Parameter("more", "text"))),
    "another namespace": lambda service: replace(service, namespace="urn:another"),
    "may say UNCHANGED": lambda service: replace(service, unchanged=True),
    "broken": lambda service: None,
    "gone": lambda service: None,
}
NAMES = st.sampled_from(["one", "two", "three"])
KITS = st.sampled_from(sorted(TOOLKITS))
PLACES = st.sampled_from([
    {},
    {"HTTP_HOST": "other.example"},
    {"HTTP_X_FORWARDED_HOST": "proxy.example"},
    {"HTTP_X_FORWARDED_HOST": "proxy.example", "HTTP_X_FORWARDED_PROTO": "https"},
    {"HTTP_X_FORWARDED_HOST": "proxy.example", "REMOTE_ADDR": "192.0.2.1"},
    {"HTTP_X_FORWARDED_PREFIX": "/behind"},
])  # fmt: skip
NUMBERS = st.sampled_from(["0", "7", "41", "99", "100", "41.5", "", "x", "250", " 8 %\n"])


def while_it(*states: State | None) -> Any:
    """Only while what is polled is so; None: it isn't there."""
    return precondition(lambda story: story.states.get(story.name) in states)


IS_THERE = while_it(*State)
ENDED = (State.COMPLETED, State.FAILED, State.ABORTED)


class Polling(RuleBasedStateMachine):
    """One service, two executions, and pollers who never stop asking while all kinds of things happen to these."""

    make: Callable[[], BothWays]
    kept: list[int]
    samples: Catalogue
    original: Service

    @initialize(slowly=st.booleans())
    def begin(self, slowly: bool) -> None:
        """Slowly: between two of the things that happen, whatever lies there becomes old enough to be believed."""
        self.ways, self.slowly = self.make(), slowly
        self.states: dict[str, State] = {}  # of what is there
        for name in ("two", "one"):
            self.usual = (name, "zeep", {})
            self.is_started(runs=True)

    def teardown(self) -> None:
        if hasattr(self, "ways"):
            self.kept.append(self.ways.kept)

    @property
    def name(self) -> str:
        """The execution that is polled, and to which it all happens."""
        return self.usual[0]

    @property
    def service(self) -> Service:
        """As it was when it was offered last."""
        service = self.ways.offered.catalogue.known("Unruly")
        assert service is not None
        return service

    @invariant()
    def the_usual_poll_is_answered_alike(self) -> None:
        if hasattr(self, "ways"):
            name, kit, place = self.usual
            self.ways.poll(TOOLKITS[kit], "Unruly", name, **place)
            if self.slowly:
                self.ways.clock.rest()
                self.ways.poll(TOOLKITS[kit], "Unruly", name, **place)

    @rule(name=NAMES, kit=KITS, place=PLACES)
    def another_poll_is_the_usual_one(self, name: str, kit: str, place: dict[str, str]) -> None:
        self.usual = (name, kit, place)
        for token in ("a token", "another"):
            self.ways.poll(TOOLKITS[kit], "Unruly", name, token, **place)

    @rule(data=st.data(), kit=KITS)
    def something_like_a_poll_comes(self, data: st.DataObject, kit: str) -> None:
        body = filled(data.draw(spoilt(TOOLKITS[kit])), self.name, "a token").encode()
        self.ways.ask(Asked(f"{self.ways.root}/Unruly", body))

    @rule(seconds=st.sampled_from([0.1, 0.3, 0.4, 0.95, 25.0]))
    def time_passes(self, seconds: float) -> None:
        self.ways.clock.move(seconds)

    @rule(seconds=st.sampled_from([-3600.0, -0.5, 0.3, 30.0]))
    def the_time_of_day_is_set(self, seconds: float) -> None:
        self.ways.clock.time += seconds

    @while_it(State.QUEUED)
    @rule(queued=st.permutations(["one", "two", "three"]), running=st.integers(0, 2))
    def the_queue_changes(self, queued: list[str], running: int) -> None:
        self.ways.store.write_queue(running, 2, queued, {}, {})

    @while_it(State.FAILED, State.ABORTED)
    @rule()
    def the_page_of_its_end_has_been_shown_long_enough(self) -> None:
        os.utime(self.ways.folder(self.name) / "told", (self.ways.clock.time - 20.0,) * 2)

    @IS_THERE
    @rule(text=NUMBERS, how=st.sampled_from(["renamed", "over", "truncated", "removed"]))
    def the_program_says(self, text: str, how: str) -> None:
        file = self.ways.folder(self.name) / "status.txt"
        if how == "removed":
            file.unlink(missing_ok=True)
        elif how == "renamed":
            (file.parent / "status.new").write_text(text)
            (file.parent / "status.new").rename(file)
        else:
            with open(file, "r+" if how == "over" and file.exists() else "w") as opened:
                opened.write(text)

    @IS_THERE
    @rule(
        file=st.sampled_from(["data/a.csv", "data/ü <b>.txt", "data/.hidden", "log.txt", "status.html", "data/p.png"]),
        text=st.sampled_from(["", "a", "b", "<b>", "x" * 5000]),
        how=st.sampled_from(["w", "a", "removed"]),
    )
    def the_program_writes(self, file: str, text: str, how: str) -> None:
        path = self.ways.folder(self.name) / file
        if how == "removed":
            path.unlink(missing_ok=True)
        else:
            with open(path, how) as opened:
                opened.write(text)

    @IS_THERE
    @rule(
        fraction=st.sampled_from([None, 0.0, 0.25, 0.251, 1.0]),
        stage=st.sampled_from(["", "heating", "<&>"]),
        picture=st.sampled_from([None, Picture("p.png", "the sample"), Picture("../p.png"), Picture("a.csv")]),
    )
    def the_job_tells(self, fraction: float | None, stage: str, picture: Picture | None) -> None:
        progress = Progress(fraction, stage, {"T": fraction}, {"T": "K"}, picture, {1: stage})
        self.ways.store.write_progress(folder_name(self.name), progress)

    @IS_THERE
    @rule(text=st.sampled_from(["hotter", "<bye>"]))
    def a_message_comes(self, text: str) -> None:
        messages.append(self.ways.folder(self.name), text)

    @while_it(State.QUEUED, State.RUNNING)
    @rule()
    def it_is_to_stop(self) -> None:
        self.ways.store.mark(folder_name(self.name), "abort")

    @while_it(State.RUNNING)
    @rule(stage=st.sampled_from(["asked", "told to stop", "killed"]))
    def it_is_being_stopped(self, stage: str) -> None:
        now = self.ways.clock.time
        stopping = Stopping("abort", "It was aborted.", stage)
        self.ways.write(self.name, StoredState(State.RUNNING, "", now, now, self.ways.clock.boot, stopping=stopping))

    @while_it(State.RUNNING)
    @rule(state=st.sampled_from(ENDED))
    def it_ends(self, state: State) -> None:
        self.ways.end(self.service, self.name, state)
        self.states[self.name] = state

    @while_it(*ENDED)
    @rule()
    def it_is_buried(self) -> None:
        self.ways.store.bury(folder_name(self.name), Tombstone("Unruly", self.ways.clock.time))
        del self.states[self.name]

    @IS_THERE
    @rule()
    def its_folder_is_taken_away(self) -> None:
        shutil.rmtree(self.ways.folder(self.name).rename(self.ways.store.root.parent / "archived"))
        self.ways.store.forget_active(folder_name(self.name))
        del self.states[self.name]

    @while_it(None)
    @rule(runs=st.booleans())
    def is_started(self, runs: bool) -> None:
        if not self.ways.folder(self.name).exists():  # else it was buried
            self.ways.begin(self.service, self.name, runs)
            (self.ways.folder(self.name) / "data" / "curve.csv").write_text("1,2")  # its page says the public address
            self.states[self.name] = State.RUNNING if runs else State.QUEUED

    @rule(version=st.sampled_from(sorted(VERSIONS)))
    def its_file_changes(self, version: str) -> None:
        offered, now = self.ways.offered, VERSIONS[version](self.original)
        services = {name: service for name, service in self.samples.services.items() if name != "Unruly"}
        broken, gone = {}, {}
        if now is not None:
            services["Unruly"] = now
        elif version == "broken":
            broken["Unruly"] = Broken("Unruly", self.original.file, "it has a mistake.", self.service)
        else:
            gone["Unruly"] = self.service
        offered.catalogue = Catalogue(services, broken, gone)


@PATIENT
def test_whatever_happens_in_between_polls_are_answered_alike(
    both_ways: Callable[[], BothWays], samples: Catalogue
) -> None:
    kept: list[int] = []
    made = {"make": staticmethod(both_ways), "kept": kept, "samples": samples, "original": samples.services["Unruly"]}
    run_state_machine_as_test(type("Story", (Polling,), made), settings=drawn(30, stateful_step_count=40))
    assert sum(kept) > 3 * len(kept)
