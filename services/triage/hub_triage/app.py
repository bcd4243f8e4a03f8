"""Triage alone in a process: ``python -m hub_triage.app``."""

from hub_kernel.standalone import run
from hub_triage.service import SERVICE

if __name__ == "__main__":
    run(SERVICE)
