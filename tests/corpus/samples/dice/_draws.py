import json
import random
import secrets
import sys
import uuid

drawn = {
    "script random": random.random(),
    "script generator": random.Random().random(),
    "script uuid4": str(uuid.uuid4()),
    "script secrets": secrets.token_hex(),
}
with open(sys.argv[1], "w") as out:
    json.dump(drawn, out)
