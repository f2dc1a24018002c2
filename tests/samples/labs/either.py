"""One of two things, whichever is free"""

from labwaiter import Lab

lab = Lab(instruments={"thing": ["relays", "analyser"]})
