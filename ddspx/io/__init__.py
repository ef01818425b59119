"""Reading and writing files, on the host and in NumPy: audio, datasets, batches, checkpoints."""

from typing import TYPE_CHECKING

from ddspx._exports import lazy
from ddspx._names import IO_NAMES

if TYPE_CHECKING:
    from ddspx.io._audio import (
        AudioError as AudioError,
        declared_duration_s as declared_duration_s,
        declared_sample_rate as declared_sample_rate,
        read_audio as read_audio,
        stream_audio as stream_audio,
    )
    from ddspx.io._batches import (
        Batch as Batch,
        BatchIterator as BatchIterator,
        MixedBatch as MixedBatch,
        mixed_batches as mixed_batches,
        training_batches as training_batches,
    )
    from ddspx.io._checkpoints import (
        Checkpoint as Checkpoint,
        latest_checkpoint as latest_checkpoint,
        restore_checkpoint as restore_checkpoint,
        save_checkpoint as save_checkpoint,
    )
    from ddspx.io._crops import (
        BalancedBatches as BalancedBatches,
        LabelledBatch as LabelledBatch,
    )
    from ddspx.io._datasets import (
        DatasetWriter as DatasetWriter,
        Records as Records,
        Segment as Segment,
        verify_dataset as verify_dataset,
    )
    from ddspx.io._evaluation import (
        EvaluationBatches as EvaluationBatches,
        evaluation_batches as evaluation_batches,
    )
    from ddspx.io._files import (
        files_below as files_below,
        fitting_name as fitting_name,
    )
    from ddspx.io._json import (
        parse_json as parse_json,
        read_json as read_json,
    )
    from ddspx.io._labels import (
        Recording as Recording,
        labelled_recordings as labelled_recordings,
        recordings_digest as recordings_digest,
        training_labels as training_labels,
    )
    from ddspx.io._manifest import (
        DatasetError as DatasetError,
        Manifest as Manifest,
        Shard as Shard,
        Source as Source,
        Split as Split,
        is_dataset as is_dataset,
        read_manifest as read_manifest,
    )
    from ddspx.io._ownership import (
        OwnedError as OwnedError,
        Ownership as Ownership,
        owned as owned,
    )
    from ddspx.io._replacing import (
        replacing_file as replacing_file,
        replacing_folder as replacing_folder,
    )
    from ddspx.io._sounds import LabelledAudio as LabelledAudio
    from ddspx.io._writer import (
        AudioWriter as AudioWriter,
        write_audio as write_audio,
    )
else:
    __getattr__, __dir__, __all__ = lazy(
        __name__,
        elsewhere={name: f"it is {here}" for name, here in IO_NAMES.items()},
        _audio="AudioError declared_duration_s declared_sample_rate read_audio stream_audio",
        _batches="Batch BatchIterator MixedBatch mixed_batches training_batches",
        _checkpoints="Checkpoint latest_checkpoint restore_checkpoint save_checkpoint",
        _crops="BalancedBatches LabelledBatch",
        _datasets="DatasetWriter Records Segment verify_dataset",
        _evaluation="EvaluationBatches evaluation_batches",
        _files="files_below fitting_name",
        _json="parse_json read_json",
        _labels="Recording labelled_recordings recordings_digest training_labels",
        _manifest="DatasetError Manifest Shard Source Split is_dataset read_manifest",
        _ownership="OwnedError Ownership owned",
        _replacing="replacing_file replacing_folder",
        _sounds="LabelledAudio",
        _writer="AudioWriter write_audio",
    )
