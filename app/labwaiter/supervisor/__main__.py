"""`python -m labwaiter.supervisor`: the supervisor of this deployment's jobs folder, in the foreground."""

from .main import main

main()
