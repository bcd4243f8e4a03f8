"""The commands of ``hub``: a module for each, holding what the command line says about it."""
