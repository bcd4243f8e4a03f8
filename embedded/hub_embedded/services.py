"""The four services, in the order a referral meets them."""

from hub_intake.service import SERVICE as INTAKE
from hub_kernel.service import Service
from hub_oversight.service import SERVICE as OVERSIGHT
from hub_partner_gateway.service import SERVICE as PARTNER_GATEWAY
from hub_triage.service import SERVICE as TRIAGE

SERVICES: tuple[Service, ...] = (INTAKE, TRIAGE, PARTNER_GATEWAY, OVERSIGHT)
