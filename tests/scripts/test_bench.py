"""The bench leans on what it measures: its parts still fit."""

import json
import os
import subprocess
import sys
from pathlib import Path

CLONE = Path(__file__).resolve().parents[2]


def test_a_day_of_samples_can_be_recorded_in_small(tmp_path):
    day = [sys.executable, CLONE / "bench" / "recording.py", tmp_path, "2000"]
    environment = {**os.environ, "PYTHONPATH": str(CLONE / "app")}
    told = json.loads(subprocess.run(day, env=environment, check=True, capture_output=True, text=True).stdout)
    assert told["record, µs"] > 0 and told["page, kB"] > 1
    assert (tmp_path / "record.csv").read_text().count("\n") > 2000
