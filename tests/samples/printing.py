"""Prints how far it is, knows nothing of us."""

import os
import time

print("0.25 done")
while not os.path.exists("go"):
    time.sleep(0.01)
with open("../../result.txt", "w") as out:
    out.write(os.environ["SPICE"])
