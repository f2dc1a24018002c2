"""granian, as the web side runs it: `python -m serve` takes granian's own options.

Its workers are forked from this process, which has granian alone, so that they share its memory. That is what granian
does by itself before Python 3.14; from there on Python's default is forkserver, and granian starts each worker as a
new interpreter instead.
"""

import multiprocessing

from granian.cli import entrypoint

if __name__ == "__main__":
    multiprocessing.set_start_method("fork")
    entrypoint()
