"""Training: prepared recordings in, a finished model folder out."""

from ddspx.training._autoencoder import train as train
from ddspx.training._classifier import train_classifier as train_classifier
from ddspx.training._classifier_evaluation import (
    ClassifierEvaluation as ClassifierEvaluation,
    Part as Part,
    evaluate_classifier as evaluate_classifier,
    recordings_to_test as recordings_to_test,
)
from ddspx.training._config import (
    ClassifierTrainConfig as ClassifierTrainConfig,
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
