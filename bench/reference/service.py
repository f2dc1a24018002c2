"""The reference: the tutorial's own design, as a user of the tutorial would have built it.

Spyne under gunicorn; a start makes a folder named after the serviceID and runs the program with
Popen, a poll reads its status file and makes a small page of it. It has none of our guarantees.
"""

import base64
import os
import runpy
import subprocess
import sys
from pathlib import Path

if sys.version_info >= (3, 12):  # what Spyne 2.14 needs there, and nothing else of labwaiter's
    runpy.run_path(str(Path(__file__).resolve().parents[2] / "app" / "labwaiter" / "soap" / "shim.py"))
if sys.version_info >= (3, 13):
    sys.modules["cgi"].parse_header = lambda text: (text.partition(";")[0], {"charset": "utf-8"})

from spyne import Application, Integer, ServiceBase, Unicode, srpc
from spyne.protocol.soap import Soap11
from spyne.server.wsgi import WsgiApplication

JOBS = os.environ["WAITER_LOG_FOLDER"]
PROGRAM = os.environ["PROGRAM"]
PYTHON = os.path.realpath(sys.executable)  # not a version manager's shim, which takes 100 ms longer
OUTPUTS = {"_returns": (Unicode, Unicode), "_out_variable_names": ("status_base64", "result")}


def page(percent):
    return (
        "<html><head><title>Waiter status</title></head><body style='margin: 20px'>"
        f"<h1>Waiter status</h1><div style='width: 800px; height: 80px; border: 3px dashed lightblue'>"
        f"<div style='width: {8 * percent}px; height: 80px; background: lightblue'><h1>{percent}%</h1></div></div>"
        "</body></html>"
    )


def encoded(percent):
    return base64.b64encode(page(percent).encode()).decode()


class Waiter(ServiceBase):
    @srpc(Unicode, Unicode, Integer, **OUTPUTS)
    def startWaiter(serviceID, sessionToken, secondsToWait=300):
        folder = os.path.join(JOBS, serviceID)
        if not os.path.exists(folder):
            os.mkdir(folder)
        files = [os.path.join(folder, name) for name in ("status.txt", "result.txt")]
        subprocess.Popen([PYTHON, PROGRAM, str(secondsToWait), *files])
        return encoded(0), "UNSET"

    @srpc(Unicode, Unicode, **OUTPUTS)
    def getServiceStatus(serviceID, sessionToken):
        folder = os.path.join(JOBS, serviceID)
        with open(os.path.join(folder, "status.txt")) as status:
            percent = status.read().strip()
        if percent == "100":
            with open(os.path.join(folder, "result.txt")) as result:
                return "COMPLETED", result.read()
        return encoded(int(percent)), "UNSET"


application = WsgiApplication(
    Application([Waiter], "http://waiter.sintef.no/", in_protocol=Soap11(), out_protocol=Soap11())
)
