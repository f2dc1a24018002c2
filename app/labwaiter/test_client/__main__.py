"""`python -m labwaiter.test_client`: as test_client/client.py of a lab, for where no lab's folder is."""

from .client import run

if __name__ == "__main__":
    run()
