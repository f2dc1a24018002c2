"""For the desk of the engineer: looking at WSDLs, ours or another's, and trying workflows."""
