"""The contracts of the hub: everything that crosses a boundary between services."""
