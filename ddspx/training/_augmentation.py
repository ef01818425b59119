"""Random changes of the sound that a model is trained with, inside the training step.

They are made there, and not while batches are read, because a device convolves faster than the
host. A resumed run repeats them, because the random numbers are those of the step.
"""

import jax
import jax.numpy as jnp

from ddspx import core
from ddspx._typing import Array, Float, Key
from ddspx.features import LOUDNESS_FLOORS_DB
from ddspx.io import Batch
from ddspx.training._config import ClassifierTrainConfig

# A ratio of signal to noise is drawn between the lowest one and this much above it.
_RATIOS_DB = 30.0
# The shortest reverberation time, as a share of the longest.
_SHORTEST = 0.1
# White noise gets through the room of `core.exponential_reverb_ir` with this power, at a gain of 1
# and a reverberation time of one sample.
_ROOM_POWER = 1 / 41.4


def changes_sound(config: ClassifierTrainConfig) -> bool:
    """Whether `augmented` does anything."""
    return bool(config.reverb_s or config.gain_db or config.noise_snr_db is not None)


def augmented(
    key: Key,
    audio: Float[Array, "batch samples"],
    config: ClassifierTrainConfig,
    *,
    sample_rate: int,
) -> Float[Array, "batch samples"]:
    """Puts each crop into a random room, adds noise to it, and changes its level.

    The room and the noise leave the power of a crop as it was, as if the recording had been
    normalized after them. What a crop gets depends on `key` and its place in the batch.

    Args:
      key: JAX random key.
      audio: the crops.
      config: the settings; `reverb_s`, `noise_snr_db` and `gain_db` are used. Static.
      sample_rate: samples per second. Static.
    """
    room_key, noise_key, gain_key = jax.random.split(key, 3)
    if config.reverb_s:
        audio = _like(audio, _in_rooms(room_key, audio, config.reverb_s, sample_rate))
    if config.noise_snr_db is not None:
        audio = _like(audio, _with_noise(noise_key, audio, config.noise_snr_db))
    if config.gain_db:
        audio, _ = _with_gains(gain_key, audio, config.gain_db)
    return audio


def amplified(key: Key, batch: Batch, gain_db: float) -> Batch:
    """Makes each example louder or softer, and its loudness with it.

    Loudness does not fall below its floor, and what is at the floor stays there.
    """
    audio, changes_db = _with_gains(key, jnp.asarray(batch.audio), gain_db)
    loudness_db = jnp.asarray(batch.loudness_db)
    floor_db = LOUDNESS_FLOORS_DB["ddspx"]
    changed_db = jnp.maximum(loudness_db + changes_db, floor_db)
    return batch._replace(
        audio=audio, loudness_db=jnp.where(loudness_db > floor_db, changed_db, loudness_db)
    )


def _with_gains(key: Key, audio: Array, gain_db: float) -> tuple[Array, Array]:
    """Examples with random gains up to `gain_db`, and the gains in dB."""
    changes_db = _between(key, audio, -gain_db, gain_db)[:, None]
    return audio * core.db_to_amplitude(changes_db), changes_db


def _in_rooms(key: Key, audio: Array, longest_s: float, sample_rate: int) -> Array:
    """Adds the sound of a room to each crop, at most as loud as the crop itself."""
    noise_key, time_key, power_key = jax.random.split(key, 3)
    t60_s = _between(time_key, audio, _SHORTEST * longest_s, longest_s)
    power = _between(power_key, audio, 0.0, 1.0)
    rooms = core.exponential_reverb_ir(
        noise_key,
        t60_s,
        n_samples=min(max(1, round(longest_s * sample_rate)), audio.shape[-1]),
        sample_rate=sample_rate,
        gain=jnp.sqrt(power / (_ROOM_POWER * sample_rate * t60_s)),
    )
    return core.convolution_reverb(audio, rooms)


def _with_noise(key: Key, audio: Array, lowest_db: float) -> Array:
    """Adds white noise to each crop."""
    noise_key, ratio_key = jax.random.split(key)
    ratio_db = _between(ratio_key, audio, lowest_db, lowest_db + _RATIOS_DB)
    deviation = jnp.sqrt(_power(audio)) * core.db_to_amplitude(-ratio_db)[:, None]
    return audio + deviation * jax.random.normal(noise_key, audio.shape, audio.dtype)


def _like(audio: Array, changed: Array) -> Array:
    """Scales crops to the power of others."""
    return changed * jnp.sqrt(core.safe_divide(_power(audio), _power(changed)))


def _power(audio: Array) -> Float[Array, "batch 1"]:
    return jnp.mean(jnp.square(audio), axis=-1, keepdims=True)


def _between(key: Key, audio: Array, low: float, high: float) -> Float[Array, " batch"]:
    return jax.random.uniform(key, audio.shape[:1], audio.dtype, low, high)
