import os
import signal
import sys
import time

result, how = sys.argv[1:3]


def part(*_):
    with open(result, "w") as out:
        out.write("a part")
    if how == "exits 0":
        sys.exit(0)
    if how == "exits 143":
        sys.exit(143)
    if how == "_exits 0":
        os._exit(0)
    raise KeyboardInterrupt


signal.signal(signal.SIGTERM, part)
try:
    open("ready", "w").close()
    while True:
        time.sleep(0.05)  # a signal just before a sleep is heard after it
except KeyboardInterrupt:
    print("goes on to its end")
finally:
    if how == "raises in finally":
        raise ValueError("in finally")
