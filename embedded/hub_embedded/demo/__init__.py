"""The demo day: an invented records system, invented hub staff, an independent count of what came of it."""
