"""The supervisor: queues, starts, watches and guards the jobs of one jobs folder.

Standard library only, one thread, and nothing that can hang: what may take its time is done by
short-lived children (`cleanup.py`). It can die at any moment: all that it knows lies in the
jobs folder, and the next one takes up the jobs that live.

    single_instance.py  lock, wake socket, signals: being the one supervisor of a folder
    loop.py             the loop: who woke us, and what is due
    intake.py           jobs learnt of from their folders: they wait, run, or have ended
    queue.py            the order of those who wait, and who is next
    admission.py        from the queue into a process
    fork_servers.py        those who fork, as seen from outside; fork_server.py: one itself
    keeper.py           the running jobs: watched, stopped, settled; running_job.py: one of them, and its limits
    cleanup.py          the children that clear up; guard.py: what they do after a job's process is gone; disposal.py:
                        what a remote lab wants done after a session
    states.py           state.json, also on a bad disk
    aborts.py           which jobs somebody wants aborted
    faults.py           what goes wrong with one job, or for want of resources, ends nothing
    web_side_keeper.py  the web side, begun again; notify.py: what systemd is told
    retention.py        old jobs
"""
