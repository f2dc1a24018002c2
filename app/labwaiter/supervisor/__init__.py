"""The supervisor: queues, starts, watches and guards the jobs of one jobs folder.

Standard library only, one thread, and nothing that can hang: what may take its time is done by
short-lived children (`guard.in_a_child`). It can die at any moment: all that it knows lies in the
jobs folder, and the next one takes up the jobs that live.

    hearth.py     lock, wake socket, signals: being the one supervisor of a folder
    loop.py       the loop: who woke us, who is next, and what is due
    queue.py      the order of those who wait
    care.py       the running jobs: stop, kill, clear up, settle; charge.py: one of them
    nurseries.py  those who fork; brood.py: one as seen from here; nursery.py, wire.py: it and its line
    guard.py      after a job's process is gone
    retention.py  old jobs
"""
