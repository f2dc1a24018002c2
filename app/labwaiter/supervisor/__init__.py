"""The supervisor: queues, starts, watches and guards the jobs of one jobs folder.

Standard library only, one thread, and nothing that can hang: what may take its time is done by
short-lived children (`guard.in_a_child`). It can die at any moment: all that it knows lies in the
jobs folder, and the next one takes up the jobs that live.

    single_instance.py  lock, wake socket, signals: being the one supervisor of a folder
    loop.py             the loop: who woke us, who is next, and what is due
    queue.py            the order of those who wait
    admission.py        from the queue into a process
    keeper.py           the running jobs: stop, kill, clear up, settle; running_job.py: one of them
    nurseries.py        those who fork; nursery_handle.py: one as seen from outside; nursery.py: it itself
    guard.py            after a job's process is gone
    retention.py        old jobs
"""
