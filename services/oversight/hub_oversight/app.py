"""Oversight alone in a process: ``python -m hub_oversight.app``."""

from hub_kernel.standalone import run
from hub_oversight.service import SERVICE

if __name__ == "__main__":
    run(SERVICE)
