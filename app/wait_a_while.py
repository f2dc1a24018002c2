"""Wait for a while: a stand-in for a program that computes for a long time.

    python wait_a_while.py SECONDS STATUSFILE RESULTFILE

Writes its progress in percent into the status file each second, and FINISHED into the result file
when it's done. A line ABORT in the file notifications.txt beside the status file ends it early:
then the result is ABORTED. It knows nothing of the service around it.
"""

import os
import sys
import time


def told_to_abort(notifications: str) -> bool:
    """Whether somebody asked for an early end."""
    if not os.path.exists(notifications):
        return False
    with open(notifications, encoding="utf-8") as lines:
        return any(line.strip() == "ABORT" for line in lines)


def main(seconds: float, status_file: str, result_file: str) -> None:
    """Wait, and say how it goes."""
    notifications = os.path.join(os.path.dirname(status_file), "notifications.txt")
    result = "FINISHED"
    began = time.monotonic()
    while True:
        waited = min(time.monotonic() - began, seconds)
        with open(status_file, "w") as status:
            status.write(str(int(100 * waited / seconds) if seconds else 100))
        if waited >= seconds:
            break
        if told_to_abort(notifications):
            result = "ABORTED"
            break
        time.sleep(min(1, seconds - waited))
    with open(result_file, "w") as out:
        out.write(result)


if __name__ == "__main__":
    main(float(sys.argv[1]), sys.argv[2], sys.argv[3])
