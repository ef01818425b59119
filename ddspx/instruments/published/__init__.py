"""Readers of models that others have published: one module for each kind of files.

A reader has two functions. ``recognises(files)`` says by the names whether the files are its own,
or by their first bytes where a name is not enough. ``read(files)`` makes an `Instrument` of the
files, or raises a ValueError that names `files.source`.
"""

__all__: list[str] = []
