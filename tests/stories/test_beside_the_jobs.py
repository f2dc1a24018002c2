"""What lies beside the jobs is what `Layout` names, and nothing else."""

import os

from callers import Web
from lab import Lab
from labwaiter.layout import Layout


def test_a_deployment_makes_no_other_files_than_its_layout_names(lab: Lab, web: Web) -> None:
    lab.start("Steps", "one", count=1)
    lab.ended("one")
    names = {entry.name.rstrip("/") for entry in Layout.entries()}
    made = {name for name in os.listdir(lab.store.layout.folder) if not name.startswith(".")}  # those are just written
    assert {"active", "new", "supervisor.lock", "wake"} <= made <= names
