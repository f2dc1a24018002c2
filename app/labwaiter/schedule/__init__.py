"""schedule.toml: executions that start at their times."""
