"""The monitor: it reads instruments that nobody uses, keeps what they say, and tells of limits that are passed.

    process.py    a child of the supervisor: who is read when, what is kept
    reader.py     a child of that for each instrument that is being read: it alone has the line
    delivery.py   another child of the supervisor: sends events on, to an address or a program

The standard library, besides what drivers need. Nobody waits for any of these.
"""
