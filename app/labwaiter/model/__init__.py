"""What a user writes and what a job is, as values: services, parameters, programs, requests, records."""
