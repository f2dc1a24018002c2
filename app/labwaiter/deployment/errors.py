"""What of a deployment can't be done."""


class DeploymentError(Exception):
    """A deployment can't be started or stopped so. The message is a sentence; parts of it may be another program's."""
