"""Which services the service files of a deployment offer, each file imported by a process of its own."""
