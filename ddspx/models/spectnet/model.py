"""SpectNet: an audio classifier with a learnable front-end and a residual network."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from ddspx._checks import floats, number, same_shape, same_size
from ddspx._typing import Array, ArrayLike, Float, Key
from ddspx.models.spectnet.classifier import ResidualClassifier
from ddspx.models.spectnet.config import SpectNetConfig
from ddspx.nn import SpectralFrontend

Augment = Callable[[Key, Array], Array]
"""`augment(key, features)`: features (*batch, frames, features) of the same shape."""


class SpectNet(nnx.Module):
    """A network from segments of audio to the logits of the classes.

    A call is evaluation. `training_logits` is for training: it draws the dropout from a key, and
    returns the updated batch statistics, with which a later call evaluates. Neither changes the
    module.

    Args:
      config: the sizes and labels.
      rngs: draws the initial weights.

    Attributes:
      frontend: the `SpectralFrontend`.
      classifier: the `ResidualClassifier`.

    Example:
      >>> import jax.numpy as jnp
      >>> from flax import nnx
      >>> from ddspx.models.spectnet import SpectNet, SpectNetConfig
      >>> config = SpectNetConfig.spectnet_16(("normal", "abnormal"))
      >>> model = SpectNet(config, rngs=nnx.Rngs(0))
      >>> model(jnp.zeros((5, config.segment_length), jnp.float32)).shape
      (5, 2)

      A loss for training, which also returns the updated batch statistics:

      >>> import jax
      >>> from ddspx.models.spectnet import classification_loss
      >>> graph, params, statistics, rest = nnx.split(model, nnx.Param, nnx.BatchStat, ...)
      >>> def loss(params, statistics, key, audio, labels):
      ...     model = nnx.merge(graph, params, statistics, rest)
      ...     logits, statistics = model.training_logits(key, audio)
      ...     return classification_loss(logits, labels, smoothing=0.1), statistics

    References:
      Ansari and Hasan, `SpectNet <https://arxiv.org/abs/2211.09352>`_, 2022.
    """

    def __init__(self, config: SpectNetConfig, *, rngs: nnx.Rngs):
        self.config = config
        self.frontend = SpectralFrontend(config.frontend, rngs=rngs)
        self.classifier = ResidualClassifier(
            config.segment_frames,
            config.frontend.n_features,
            config.n_classes,
            n_blocks=config.n_blocks,
            channels=config.channels,
            hidden=config.hidden,
            dropout=config.dropout,
            rngs=rngs,
        )

    def __call__(self, audio: Float[ArrayLike, "*batch samples"]) -> Float[Array, "*batch classes"]:
        """Logits of segments; their softmax is the probability of each label.

        Args:
          audio: segments of `config.segment_length` samples, as `segments` cuts them.

        Returns:
          One logit for each of `config.labels`.

        Raises:
          ValueError: the audio has another number of frames.
        """
        return self.classifier(self._features(audio))

    def embed(self, audio: Float[ArrayLike, "*batch samples"]) -> Float[Array, "*batch hidden"]:
        """The hidden layer of segments, from which the logits are computed: an embedding.

        Args:
          audio: segments of `config.segment_length` samples, as `segments` cuts them.

        Returns:
          `config.hidden` numbers for each segment, none of them negative.

        Raises:
          ValueError: the audio has another number of frames.
        """
        return self.classifier.embed(self._features(audio))

    def training_logits(
        self, key: Key, audio: Float[ArrayLike, "*batch samples"], *, augment: Augment | None = None
    ) -> tuple[Float[Array, "*batch classes"], Any]:
        """Logits with dropout and the statistics of the batch.

        Args:
          key: draws the dropout and the random numbers of `augment`.
          audio: segments.
          augment: a function that changes the features before the classifier, for example
            `core.spec_augment` with its sizes.

        Returns:
          The logits, and the state of the model's `nnx.BatchStat` after this batch. It has the same
          structure as the second state of ``nnx.split(model, nnx.Param, nnx.BatchStat, ...)``.

        Raises:
          ValueError: as for a call.
        """
        features = self._features(audio)
        if augment is not None:
            key, augment_key = jax.random.split(key)
            features = augment(augment_key, features)
        logits, moments = self.classifier.training_logits(key, features)
        statistics = nnx.state(self, nnx.BatchStat)
        nnx.replace_by_pure_dict(statistics, {"classifier": nnx.to_pure_dict(moments)})
        return logits, statistics

    def _features(self, audio: ArrayLike) -> Array:
        audio = jnp.asarray(audio)
        hop_length, n_frames = self.config.frontend.hop_length, self.config.segment_frames
        if 1 + audio.shape[-1] // hop_length != n_frames:
            raise ValueError(
                f"`audio` must have {self.config.segment_length} samples ({n_frames} frames of "
                f"{hop_length}), got {audio.shape[-1]}; cut it with `segments`."
            )
        return self.frontend(audio)


def classification_loss(
    logits: Float[ArrayLike, "*batch classes"],
    labels: Float[ArrayLike, "*batch classes"],
    *,
    smoothing: float = 0.0,
) -> Float[Array, ""]:
    r"""Mean cross entropy of logits, with label smoothing.

    .. math:: -\Bigl\langle \sum_k \bigl((1 - \alpha) p_k + \alpha / K\bigr)
        \log \operatorname{softmax}(z)_k \Bigr\rangle

    Args:
      logits: z, not probabilities.
      labels: p, the probability of each class: ``jax.nn.one_hot``, or mixtures of it.
      smoothing: alpha, from 0 to below 1. Static.

    Returns:
      The mean over the batch, in nats.

    Raises:
      ValueError: the shapes differ, or `smoothing` is out of range.

    Example:
      >>> import jax.numpy as jnp
      >>> from ddspx.models.spectnet import classification_loss
      >>> round(float(classification_loss(jnp.zeros((1, 4)), jnp.eye(4)[:1])), 4)
      1.3863

    References:
      Szegedy et al., `Rethinking the Inception Architecture <https://arxiv.org/abs/1512.00567>`_.
    """
    logits, labels = floats(logits=logits, labels=labels)
    same_size("`logits` and `labels`", logits.shape[-1], labels.shape[-1], "classes")
    same_shape(logits=logits.shape, labels=labels.shape)
    number("smoothing", smoothing, least=0, below=1)
    return jnp.mean(optax.softmax_cross_entropy(logits, optax.smooth_labels(labels, smoothing)))
