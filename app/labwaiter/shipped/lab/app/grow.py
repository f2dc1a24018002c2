"""Grow a crystal to so many mm. This program knows nothing of labwaiter.

grow.py HEIGHT STATUS_FILE RESULT_FILE: it writes 0…100 into the one as it goes, and its result into the other.
"""

import sys
import time
from pathlib import Path

height, status_file, result_file = float(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3])
STEPS = 50

for step in range(STEPS):
    status_file.write_text(str(100 * step // STEPS))
    time.sleep(0.02)
result_file.write_text(f"a crystal of {height:g} mm")
