"""Training: prepared recordings in, a finished model folder out."""

from typing import TYPE_CHECKING

from ddspx._exports import lazy

if TYPE_CHECKING:
    from ddspx.training._autoencoder import train as train
    from ddspx.training._classifier import train_classifier as train_classifier
    from ddspx.training._classifier_evaluation import (
        ClassifierEvaluation as ClassifierEvaluation,
        evaluate_classifier as evaluate_classifier,
        recordings_to_test as recordings_to_test,
    )
    from ddspx.training._config import (
        ClassifierTrainConfig as ClassifierTrainConfig,
        Part as Part,
        TrainConfig as TrainConfig,
    )
    from ddspx.training._decisions import segment_logits as segment_logits
    from ddspx.training._evaluate import (
        Evaluation as Evaluation,
        Interval as Interval,
        additive_baseline as additive_baseline,
        evaluate as evaluate,
    )
    from ddspx.training._listening import (
        suggested_sample_rate as suggested_sample_rate,
        suggested_segment_s as suggested_segment_s,
    )
    from ddspx.training._loop import TrainResult as TrainResult
    from ddspx.training._prepare import prepare as prepare
    from ddspx.training._state import TrainState as TrainState, initial_state as initial_state
    from ddspx.training._step import (
        StepReport as StepReport,
        adam as adam,
        autoencoder_loss as autoencoder_loss,
        train_step as train_step,
    )
else:
    __getattr__, __dir__, __all__ = lazy(
        __name__,
        # What DDSP calls its modules.
        elsewhere={
            "data": "batches of a dataset are `io.training_batches`",
            "decoders": "it is `nn.RnnFcDecoder`",
            "encoders": "it is `nn.ZEncoder`",
            "eval_util": "it is `training.evaluate`",
            "evaluators": "they are `training.evaluate` and the functions of `metrics`",
            "inference": "it is `transfer.transfer`, or a model's own methods",
            "metrics": "they are the functions of `metrics`",
            "models": "they are `models.autoencoder.Autoencoder` and its presets",
            "nn": "modules are in `ddspx.nn`",
            "plotting": "it is `ddspx.plot`",
            "postprocessing": "it is `transfer.detect_notes` and `transfer.fit_quantile_transform`",
            "preprocessing": "it is `features.conditioning_features`",
            "train_util": "it is `training.train`",
            "trainers": "it is `training.train`, of compiled steps from `training.train_step`",
        },
        _autoencoder="train",
        _classifier="train_classifier",
        _classifier_evaluation="ClassifierEvaluation evaluate_classifier recordings_to_test",
        _config="ClassifierTrainConfig Part TrainConfig",
        _decisions="segment_logits",
        _evaluate="Evaluation Interval additive_baseline evaluate",
        _listening="suggested_sample_rate suggested_segment_s",
        _loop="TrainResult",
        _prepare="prepare",
        _state="TrainState initial_state",
        _step="StepReport adam autoencoder_loss train_step",
    )
