"""The partner gateway alone in a process: ``python -m hub_partner_gateway.app``."""

from hub_kernel.standalone import run
from hub_partner_gateway.service import SERVICE

if __name__ == "__main__":
    run(SERVICE)
