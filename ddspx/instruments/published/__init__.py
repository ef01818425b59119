"""Readers of models that others have published: one module for each kind of files.

A reader has two functions. ``recognises(names)`` says whether files of these names are its own.
``read(files)`` makes an `Instrument` of the files, or raises a ValueError that names
`files.source`.
"""

__all__: list[str] = []
