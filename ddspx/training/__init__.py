"""Training: turns prepared recordings into a model folder, and evaluates models."""

from typing import TYPE_CHECKING

from ddspx._exports import lazy

if TYPE_CHECKING:
    from ddspx.training._adaptation import adapt as adapt
    from ddspx.training._any_instrument import train_any_instrument as train_any_instrument
    from ddspx.training._autoencoder import train_autoencoder as train_autoencoder
    from ddspx.training._autoencoder_evaluation import (
        AutoencoderEvaluation as AutoencoderEvaluation,
        additive_baseline as additive_baseline,
        evaluate_autoencoder as evaluate_autoencoder,
    )
    from ddspx.training._classifier import train_classifier as train_classifier
    from ddspx.training._classifier_evaluation import (
        ClassifierEvaluation as ClassifierEvaluation,
        evaluate_classifier as evaluate_classifier,
        recordings_to_test as recordings_to_test,
    )
    from ddspx.training._comparison import (
        EMBEDDINGS as EMBEDDINGS,
        Comparison as Comparison,
        Embedding as Embedding,
        PairMeasures as PairMeasures,
        SetDistances as SetDistances,
        compare_recordings as compare_recordings,
        compare_renderings as compare_renderings,
        compare_sounds as compare_sounds,
    )
    from ddspx.training._config import (
        AdaptationConfig as AdaptationConfig,
        AnyInstrumentTrainConfig as AnyInstrumentTrainConfig,
        AutoencoderTrainConfig as AutoencoderTrainConfig,
        ClassifierTrainConfig as ClassifierTrainConfig,
        EvaluationPart as EvaluationPart,
        ProcessConfig as ProcessConfig,
        RunConfig as RunConfig,
    )
    from ddspx.training._devices import is_writer as is_writer, placements as placements
    from ddspx.training._frontends import load_frontend as load_frontend
    from ddspx.training._logging import RunLog as RunLog
    from ddspx.training._loop import (
        TrainResult as TrainResult,
        run_task as run_task,
    )
    from ddspx.training._prepare import prepare as prepare
    from ddspx.training._processes import start_processes as start_processes
    from ddspx.training._run import Best as Best
    from ddspx.training._state import TrainState as TrainState, initial_state as initial_state
    from ddspx.training._step import (
        StepReport as StepReport,
        adam as adam,
        autoencoder_loss as autoencoder_loss,
        train_step as train_step,
    )
    from ddspx.training._task import Batches as Batches, Measured as Measured, Task as Task
else:
    __getattr__, __dir__, __all__ = lazy(
        __name__,
        # Names of DDSP's modules, and where their contents are in ddspx.
        elsewhere={
            "data": "batches of a dataset are `io.training_batches`",
            "decoders": "it is `nn.RnnFcDecoder`",
            "encoders": "it is `nn.ZEncoder`",
            "eval_util": "it is `training.evaluate_autoencoder`",
            "evaluators": "they are `training.evaluate_autoencoder` and the functions of `metrics`",
            "inference": "it is `transfer.transfer`, or a model's own methods",
            "metrics": "they are the functions of `metrics`",
            "models": "they are `models.autoencoder.Autoencoder` and its presets",
            "nn": "modules are in `ddspx.nn`",
            "plotting": "it is `ddspx.plot`",
            "postprocessing": "it is `transfer.detect_notes` and `transfer.fit_quantile_transform`",
            "preprocessing": "it is `features.conditioning_features`",
            "train_util": "it is `training.train_autoencoder`",
            "trainers": "`training.train_autoencoder`, of steps from `training.train_step`",
        },
        _adaptation="adapt",
        _any_instrument="train_any_instrument",
        _autoencoder="train_autoencoder",
        _classifier="train_classifier",
        _classifier_evaluation="ClassifierEvaluation evaluate_classifier recordings_to_test",
        _comparison=(
            "EMBEDDINGS Comparison Embedding PairMeasures SetDistances compare_recordings "
            "compare_renderings compare_sounds"
        ),
        _config=(
            "AdaptationConfig AnyInstrumentTrainConfig AutoencoderTrainConfig "
            "ClassifierTrainConfig EvaluationPart ProcessConfig RunConfig"
        ),
        _autoencoder_evaluation=("AutoencoderEvaluation additive_baseline evaluate_autoencoder"),
        _devices="is_writer placements",
        _frontends="load_frontend",
        _logging="RunLog",
        _loop="TrainResult run_task",
        _prepare="prepare",
        _processes="start_processes",
        _run="Best",
        _state="TrainState initial_state",
        _step="StepReport adam autoencoder_loss train_step",
        _task="Batches Measured Task",
    )
