"""The kernel's own schema, ``keyring``, step by step."""
