import os
import sys

# as `sh -c LINE`, in a script: how it ends is written as a line of Python behind a #
exec(sys.argv[1].partition("#")[2].strip(), {"os": os, "sys": sys})
