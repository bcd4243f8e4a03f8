"""The reader's migrations."""
