"""The `ddspx` command: thin adapters, nothing is computed here."""
