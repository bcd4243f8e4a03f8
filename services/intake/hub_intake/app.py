"""Intake alone in a process: ``python -m hub_intake.app``."""

from hub_intake.service import SERVICE
from hub_kernel.standalone import run

if __name__ == "__main__":
    run(SERVICE)
