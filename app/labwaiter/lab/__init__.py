"""lab.toml: which instruments this lab has, on which machine, on which real port."""
