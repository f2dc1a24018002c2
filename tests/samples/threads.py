"""A service whose import starts a thread, as numerical libraries do."""

import threading

from labwaiter import Job, Outputs, service

threading.Thread(target=threading.Event().wait, daemon=True).start()


class Result(Outputs):
    result: str


@service("Threads", namespace="http://samples.example/")
def startThreads(job: Job, word: str = "hello") -> Result:
    """Work beside a thread of its own."""
    return Result(result=f"{word} from {threading.active_count()} threads")
