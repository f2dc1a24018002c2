"""The simulated lab of a deployment: the process that serves lab.toml's simulated instruments, and having it run."""
