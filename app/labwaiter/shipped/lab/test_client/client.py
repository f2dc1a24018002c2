#!/usr/bin/env python3
"""The test client: calls an asynchronous service as a workflow manager does. `--help` tells more; ./run.sh calls it."""

import os
import sys
from pathlib import Path

os.environ.setdefault("TEST_CLIENT_LAST", str(Path(__file__).absolute().with_name(".last.json")))
try:
    from labwaiter.test_client.client import run
except ImportError:
    sys.exit(f"labwaiter is not installed for {sys.executable}: call ./run.sh, which knows where it is.")
run()
