"""All SQL of oversight: writing the read models, reading figures from them, and rebuilding them."""
