"""A service whose file does not import."""

import a_module_that_nobody_has  # noqa: F401

from labwaiter import service


@service("Broken", namespace="http://samples.example/")
def startBroken(job):
    """Never offered."""
