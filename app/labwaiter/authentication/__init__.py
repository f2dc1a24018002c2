"""Who calls: a sessionToken, judged in the way that TOKENS says. What that somebody may do: `verbs/permission.py`."""
