"""What Linux gives: processes and their identities, signals, sockets between processes, changes of files."""
