"""Evaluation measures; NumPy in, numbers out."""
