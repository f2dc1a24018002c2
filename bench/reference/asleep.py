"""A program that does nothing, in the least memory: what stands in its status file is the bench's."""

import os
import sys

os.execvp("sleep", ["sleep", sys.argv[1]])
