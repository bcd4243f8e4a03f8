"""The kernel's SQL for consumers and keys, one object a file."""
