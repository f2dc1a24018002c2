"""What a service's function holds while it works: its job."""


class Aborted(BaseException):
    """The job is to stop."""


class Job:
    """placeholder, being written"""
