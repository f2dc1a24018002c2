import config

config.NAME += "!"  # a run that goes on with this state says it twice
count = globals().get("count", 0) + 1
print(config.NAME, count)
