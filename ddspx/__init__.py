"""ddspx: differentiable audio synthesis and analysis in JAX.

``core`` holds the pure functions, ``nn`` the Flax modules, ``models`` what is built of them,
``metrics`` the measures. Importing the package loads jax, flax and numpy only; files, training
and transfer live in ``ddspx.io``, ``ddspx.training`` and ``ddspx.transfer``.
"""

from ddspx import core as core, metrics as metrics, models as models, nn as nn

__version__ = "0.1.0"
