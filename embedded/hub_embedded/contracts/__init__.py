"""Contracts as files: what crosses a boundary, made from the code and held against all that was ever said."""
