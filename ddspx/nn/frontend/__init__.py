"""The learnable front-end that the models share; what is public of it is in `ddspx.nn`.

The configs (`_config`, `_filters`, `_paths`, `_compressions`) load no jax. The modules that they
describe are in `_ordered_banks`, `_published_banks`, `_free_banks`, `_pooling` and `_compressors`;
`_frontend` composes them.
"""

__all__: list[str] = []
