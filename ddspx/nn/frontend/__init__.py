"""The learnable front-end that the models share; `ddspx.nn` exports its public names.

Importing the configs (`_config`, `_filters`, `_paths`, `_compressions`) does not import jax. The
modules that they describe are in `_ordered_banks`, `_published_banks`, `_free_banks`, `_pooling`
and `_compressors`; `_frontend` composes them.

A new family of filters needs a config class in `_filters`, a bank with the methods of `_banks.Bank`
(and, if it can filter the whole sound, of `_banks.FilterBank`), a row in the table of `_banks`, and
its name in `ddspx.nn`. A new compression needs the same in `_compressions` and `_compressors`.
"""

__all__: list[str] = []
