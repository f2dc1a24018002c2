"""The SOAP face: it translates between the wire and the verbs, and decides nothing.

    app.py         the services at their addresses: which method, which answer
    lane.py        polls that are written as one before: answered by bytes that are still right
    door.py        what every request passes first: bytes → one operation with its texts, or a fault
    operations.py  the operations over the verbs
    binding.py     Spyne: the service's classes, and the form of its answers
    wsdl.py        Spyne's WSDL, made what the contract says
    faults.py      the fault's envelope
    shim.py        Spyne 2.14 on Pythons that it doesn't know

Spyne and lxml are imported here and nowhere else.
"""

from . import shim as shim  # before any of Spyne
