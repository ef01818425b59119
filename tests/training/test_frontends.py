"""A training begins with the front-end that another model has trained."""

import jax
import numpy as np
import pytest
from flax import nnx
from labelled_data import toy_model, write_sounds
from modules import drawn
from toy_any_instrument import save_toy_any_instrument, ship
from toy_instrument import save_toy_instrument, z_config
from training_data import HOP, SAMPLE_RATE, small_model, write_dataset

from ddspx import io, training
from ddspx.models.autoencoder import load_autoencoder
from ddspx.models.spectnet import SpectNet, save_spectnet
from ddspx.nn import FrontendConfig, SpectralFrontend, StoredTimbreConfig, ZEncoderConfig
from ddspx.training import Best, TrainResult

pytest.importorskip("grain", reason="the train extra is not installed")

EAR = FrontendConfig.learnable(sample_rate=SAMPLE_RATE, hop_length=HOP, n_bands=6)
HEARING = small_model(encoder=ZEncoderConfig(EAR, rnn_channels=2, z_size=2))


def trained(config):
    """A front-end unlike that of any seed."""
    return drawn(lambda: SpectralFrontend(config, rngs=nnx.Rngs(0)), numbered)


def numbered(name, shape):
    return np.arange(np.prod(shape)).reshape(shape)


def parameters(frontend):
    return nnx.to_pure_dict(nnx.state(frontend, nnx.Param))


def assert_same(params, frontend):
    assert jax.tree.leaves(params)
    jax.tree.map(np.testing.assert_array_equal, params, parameters(frontend))


@pytest.fixture
def begun(monkeypatch):
    """The task of a training, which is not run."""

    tasks = []

    def run_task(begin, *_, **__):
        tasks.append(begin())
        return TrainResult(0, Best(), False)

    for name in ("_autoencoder", "_classifier"):
        monkeypatch.setattr(f"ddspx.training.{name}.run_task", run_task)

    def begin(train, *arguments, **options):
        train(*arguments, **options)
        return tasks[-1]

    return begin


def test_a_front_end_is_loaded_from_every_model_that_hears(tmp_path, monkeypatch):
    classifier = drawn(lambda: SpectNet(toy_model(), rngs=nnx.Rngs(0)), numbered)
    save_spectnet(tmp_path / "classifier", classifier, provenance={})
    assert_same(parameters(training.load_frontend(tmp_path / "classifier")), classifier.frontend)
    instrument = save_toy_instrument(tmp_path / "hearing", config=z_config())
    loaded = training.load_frontend(instrument)
    assert_same(parameters(loaded), load_autoencoder(instrument)[0].encoder.frontend)

    shipped = save_toy_any_instrument(tmp_path / "any_instrument")
    ship(monkeypatch, shipped)
    loaded = training.load_frontend("any_instrument")
    assert_same(parameters(loaded), load_autoencoder(shipped)[0].encoder.frontend)

    deaf = save_toy_instrument(tmp_path / "deaf")
    for source in (deaf, "cello"):
        with pytest.raises(ValueError, match=f"{source} has no front-end: it must be a classifier"):
            training.load_frontend(source)
    with pytest.raises(FileNotFoundError, match="There is no model folder or instrument 'none'"):
        training.load_frontend("none")
    (tmp_path / "classifier" / "config.json").write_text("[")
    with pytest.raises(ValueError, match=r"config\.json"):
        training.load_frontend(tmp_path / "classifier")


def test_an_autoencoder_and_a_classifier_begin_with_it(tmp_path, begun):
    data = write_dataset(tmp_path / "data", {"train": 2})
    settings = training.AutoencoderTrainConfig(batch_size=1)
    ears, plain = trained(EAR), begun(
        training.train_autoencoder, data, tmp_path / "out", model=HEARING, config=settings
    )  # fmt: skip
    options = {"model": HEARING, "config": settings, "front_end": ears}
    task = begun(training.train_autoencoder, data, tmp_path / "out", **options)
    assert_same(task.state.params["encoder"]["frontend"], ears)
    # A run cannot be resumed with another start.
    assert task.data != plain.data

    recordings = io.labelled_recordings(write_sounds(tmp_path / "sounds", each=4))
    model = toy_model()
    ears = trained(model.frontend)
    options = {"model": model, "config": training.ClassifierTrainConfig(batch_size=3)}
    plain = begun(training.train_classifier, recordings, tmp_path / "out", **options)
    task = begun(training.train_classifier, recordings, tmp_path / "out", **options, front_end=ears)
    assert_same(task.state.params["frontend"], ears)
    assert task.data != plain.data


def test_a_front_end_of_other_sizes_is_refused(tmp_path, begun):
    data = write_dataset(tmp_path / "data", {"train": 2})
    train, settings = training.train_autoencoder, training.AutoencoderTrainConfig(batch_size=1)
    options = {"config": settings, "front_end": trained(EAR)}
    with pytest.raises(ValueError, match="`front_end` needs a model whose encoder hears"):
        begun(train, data, tmp_path / "out", model=small_model(), **options)
    other = HEARING.with_frontend(FrontendConfig.learnable(sample_rate=8000, n_bands=7))
    with pytest.raises(ValueError, match="must have the same `n_bands`, got 6 and 7"):
        begun(train, data, tmp_path / "out", model=other, **options)
    with pytest.raises(ValueError, match="Give `start` or `front_end`"):
        begun(train, data, tmp_path / "out", model=HEARING, start="cello", **options)
    for config, words in (
        (FrontendConfig.learnable(sample_rate=16_000), "`sample_rate` 16000 and the model 8000"),
        (FrontendConfig.learnable(sample_rate=8000, hop_length=40), "`hop_length` 40 and the"),
    ):
        with pytest.raises(ValueError, match=f"The front-end has the {words}"):
            HEARING.with_frontend(config)
    for deaf in (small_model(), small_model(encoder=StoredTimbreConfig(8000, HOP))):
        with pytest.raises(ValueError, match="A front-end needs a model whose encoder hears"):
            deaf.with_frontend(EAR)
