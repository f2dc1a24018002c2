"""Where executions are recorded: a folder for each on this machine, and leases; the supervisor is woken for them.

The verbs come in by `LocalStore`; the supervisor and the runner, who write what it reads, by `Folder`.

    records.py            what the verbs need of a store, this machine's or many machines'
    local_store.py        this machine's; views.py: what a page shows beside the record
    folder.py             which file of an execution has which part of its record; names.py: its folder's name
    codec.py              our JSON files and the values that they hold
    files.py              reading and writing that is whole or not at all
    messages.py           notifications.txt
    stamps.py             has what an answer was made of changed since? the base of the poll's lane
    artifacts.py          files that executions are given and make; links to them
    leases.py             who has which instrument
    supervisor_client.py  is a supervisor there? wake it, start it, replace it, stop it
    web_side.py           is the web side there, and which one should be?
    silence_watch.py      how long has the workflow manager of a running job been silent?
"""
