"""All SQL of the partner gateway: deliveries in the log, and the worklist beside it.

Rows of the worklist are written after facts or apart from them, never before them in one transaction.
"""
