"""Where executions are recorded: a folder for each on this machine, and leases; the supervisor is woken for them."""
