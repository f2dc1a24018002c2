"""Programs with bad habits, one per word: python unruly.py WORD STATUSFILE RESULTFILE."""

import os
import signal
import subprocess
import sys
import time


def wait_for(file):
    while not os.path.exists(file):
        time.sleep(0.01)


def say(path, text):
    with open(path, "w") as out:
        out.write(text)


def main(word, status, result):
    folder = os.path.dirname(status)
    print(f"this is {word}", flush=True)
    if word == "exit3":
        print("the nozzle is blocked", flush=True)
        sys.exit(3)
    elif word == "segv":
        os.kill(os.getpid(), signal.SIGSEGV)
    elif word == "no-result":
        say(status, "100")
    elif word == "result-without-status":
        say(status, "42")
        say(result, "fine")
    elif word == "hundred-but-running":
        say(status, "100")
        wait_for(os.path.join(folder, "go"))
        say(result, "late")
    elif word.startswith("says:"):
        say(status, word[5:])
        wait_for(os.path.join(folder, "go"))
        say(result, "fine")
    elif word == "deaf":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        say(status, "1")
        time.sleep(600)
    elif word == "daemon":
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
                say(os.path.join(folder, "data", "daemon.pid"), str(os.getpid()))
                time.sleep(600)
            os._exit(0)
        wait_for(os.path.join(folder, "data", "daemon.pid"))
        say(result, "left a daemon")
    elif word == "nameless-daemon":
        child = subprocess.Popen(["sleep", "600"], env={}, start_new_session=True)
        say(os.path.join(folder, "data", "daemon.pid"), str(child.pid))
        say(result, "left a nameless daemon")
    elif word == "flood":
        line = b"x" * 999 + b"\n"
        os.write(1, b"the first line\n")
        for _ in range(20_000):
            os.write(1, line)
        os.write(1, b"the last line\n")
        say(result, "flooded")
    elif word == "fill-disk":
        try:
            with open(os.path.join(folder, "data", "big"), "wb", buffering=0) as big:
                while True:
                    big.write(b"x" * 65536)
        except OSError as error:
            print(error, flush=True)
            sys.exit(4)
    elif word == "sleep":
        say(status, "10")
        time.sleep(600)
    elif word == "descriptors":
        own = {int(n): os.readlink(f"/proc/self/fd/{n}") for n in os.listdir("/proc/self/fd") if n != "3"}
        say(result, " ".join(f"{n}:{target.split(':')[0]}" for n, target in sorted(own.items())))
    elif word == "leave-at-once":
        say(result, "left at once")
        os._exit(0)
    else:
        sys.exit(f"no such habit: {word}")


if __name__ == "__main__":
    main(*sys.argv[1:4])
