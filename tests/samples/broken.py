"""A service whose file does not import."""

from labwaiter import service


@service("Broken", namespace="http://samples.example/")
def startBroken(job):
    """Never offered."""
