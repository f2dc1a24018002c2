import decimal
import gc
import importlib.util
import json
import locale
import os
import random
import signal
import socket
import sys
import tempfile
import warnings


def looked():
    """What a process has."""
    umask = os.umask(0)
    os.umask(umask)
    return {
        "decimal": str(decimal.Decimal(1) / 3),
        "umask": umask,
        "SPICE": os.environ.get("SPICE"),
        "PATH": os.environ["PATH"],
        "time-out": socket.getdefaulttimeout(),
        "locale": locale.setlocale(locale.LC_CTYPE),
        "random is seeded": random.random() == 0.13436424411240122,
        "recursion": sys.getrecursionlimit(),
        "path": "/nowhere" in sys.path,
        "warnings": [w[0] for w in warnings.filters if w[0] == "error"],
        "temporary": tempfile.gettempdir(),
        "SIGUSR1": int(signal.getsignal(signal.SIGUSR1)),
        "gc": gc.get_threshold()[0] > 1,
        "nice": os.nice(0),
        "folder": os.getcwd(),
        "calendar": importlib.util.find_spec("calendar") is not None,
    }


if __name__ == "__main__":
    print(json.dumps(looked()))
