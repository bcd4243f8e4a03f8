"""The store's SQL, one object a file."""
