import os

for number in range(3, 30):
    try:
        os.write(number, b"stray\n")
    except OSError:
        pass
