"""Which instruments this lab has, on which machine, on which real port: lab.toml and what it means."""
