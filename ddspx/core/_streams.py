"""Streams, which are a state and a step function, and chains of streams."""

from collections.abc import Callable
from typing import Any, NamedTuple


class Stream(NamedTuple):
    """A process that takes a signal block by block, as a pair of functions.

    Attributes:
      init: ``init() -> state``, before the first block.
      step: ``step(state, x, *shared) -> (state, y)``, the next block.
    """

    init: Callable[[], Any]
    step: Callable[..., tuple[Any, Any]]


def chain(*streams: Stream | Callable[..., Any]) -> Stream:
    r"""Connects streams in series: each takes the output of the one before.

    .. math::
        (s_1', y_1) = f_1(s_1, x, c), \qquad (s_i', y_i) = f_i(s_i, y_{i-1}, c), \qquad
        f\bigl((s_1, \ldots, s_N), x, c\bigr) = \bigl((s_1', \ldots, s_N'), y_N\bigr)

    Args:
      streams: the parts, from the first to the last. Each is a :class:`Stream`, or a function
        ``f(x, *shared) -> y`` whose result for a block does not depend on other blocks; its state
        is ``()``. The output of a part is the input of the next, and may be anything: controls,
        audio, a tuple of both.

    Returns:
      A Stream, which may be a part of another chain. Its state is the tuple of the parts' states.
      Further arguments of its step (:math:`c`, `shared`) are passed to every part, for controls
      that several parts need; it is clearest to pass one NamedTuple of controls.

    Raises:
      TypeError: a part is neither a Stream nor a function.
      ValueError: no part is given.

    Properties:
      Concatenated blocks of any sizes equal the output for one long block if this holds for every
      part. The chain works under ``jit``, ``vmap``, ``grad`` and ``scan`` if its parts do. Its
      state can be donated if the state of each part can and each `init` creates new arrays.

    Example:
      >>> from functools import partial
      >>> import jax.numpy as jnp
      >>> from ddspx import core
      >>> rate = {"sample_rate": 1000}
      >>> section = core.one_pole(0.01, **rate)[None]
      >>> smooth = core.Stream(
      ...     lambda: core.sos_filter_init(section),
      ...     lambda state, audio: core.sos_filter_step(state, audio, section),
      ... )
      >>> limit = core.Stream(
      ...     lambda: core.limiter_init(**rate),
      ...     partial(core.limiter_step, threshold_db=-6.0, release_s=0.1, **rate),
      ... )
      >>> both = core.chain(smooth, lambda audio: 2 * audio, limit)
      >>> audio = jnp.sin(jnp.arange(100.0))
      >>> whole = both.step(both.init(), audio)[1]
      >>> state, head = both.step(both.init(), audio[:30])
      >>> state, tail = both.step(state, audio[30:])
      >>> bool(jnp.allclose(jnp.concatenate([head, tail]), whole, atol=1e-6))
      True
    """
    if not streams:
        raise ValueError("`streams` must be one part or more, got none; a part is a core.Stream.")
    parts = [_part(position, stream) for position, stream in enumerate(streams)]

    def init() -> tuple[Any, ...]:
        return tuple(part.init() for part in parts)

    def step(states: tuple[Any, ...], x: Any, *shared: Any) -> tuple[tuple[Any, ...], Any]:
        after = []
        for part, state in zip(parts, states, strict=True):
            state, x = part.step(state, x, *shared)
            after.append(state)
        return tuple(after), x

    return Stream(init, step)


def _part(position: int, stream: Any) -> Stream:
    """A part of a chain as a Stream: a function has no state."""
    if isinstance(stream, Stream):
        return stream
    if not callable(stream):
        raise TypeError(
            f"`streams[{position}]` must be a core.Stream or a function, got {stream!r} "
            f"({type(stream).__name__}); combine an init and a step as core.Stream(init, step)."
        )

    def step(state: Any, x: Any, *shared: Any) -> tuple[Any, Any]:
        return state, stream(x, *shared)

    return Stream(tuple, step)
