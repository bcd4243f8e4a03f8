"""Alembic's entry into these scripts."""

from hub_kernel.migrating import run_environment

run_environment()
