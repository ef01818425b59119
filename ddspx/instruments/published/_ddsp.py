"""Models that DDSP trained: a checkpoint of TensorFlow, the gin config, and the statistics.

`ddsp_run`, and the notebook that trains an autoencoder, write them into one folder or archive.
Models of one instrument (`solo_instrument`, `vst`) and models with an encoder (`ae`) are read.
"""

import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
from flax import nnx

from ddspx._text import printable
from ddspx.instruments._instrument import Instrument
from ddspx.instruments.published._ddsp_config import ddsp_model
from ddspx.instruments.published._ddsp_statistics import STATISTICS, instrument_statistics
from ddspx.instruments.published._ddsp_weights import ddsp_arrays
from ddspx.instruments.published._files import PublishedFiles
from ddspx.io._gin import GinConfig
from ddspx.io._tf_bundle import BundleIndex, bundle_tensor, read_bundle_index
from ddspx.models._weights import with_arrays
from ddspx.models.autoencoder import Autoencoder

_INDEX = re.compile(r"ckpt-(\d{1,12})\.index")
_GIN = re.compile(r"operative_config-(\d{1,12})\.gin")
_LATEST = re.compile(r'^model_checkpoint_path:\s*"(?:[^"\n]*/)?(ckpt-\d{1,12})"', re.MULTILINE)
_MOST_INDEX, _MOST_SHARD, _MOST_GIN, _MOST_LIST = 2**22, 2**28, 2**20, 2**20
# The largest model of DDSP has 30 MB of weights; the optimizer has twice as much, and is not read.
_MOST_WEIGHTS = 2**27
_SUFFIX = "/.ATTRIBUTES/VARIABLE_VALUE"


def recognises(files: PublishedFiles) -> bool:
    """Whether there is a checkpoint of TensorFlow under the name that DDSP gives it."""
    return any(_INDEX.fullmatch(_file(name)) for name in files.readers)


def read(files: PublishedFiles) -> Instrument:
    """The instrument of a checkpoint, a config and statistics.

    Raises:
      ValueError: a file is missing or damaged, or the model is of another kind.
    """
    checkpoint, gin = latest_checkpoint(files), _latest_config(files)
    text = files.read(gin, most=_MOST_GIN).decode("utf-8", "replace")
    model = _named(files, gin, lambda: ddsp_model(GinConfig(text)))
    tensors = _tensors(files, checkpoint)
    arrays = _named(files, checkpoint, lambda: ddsp_arrays(model, tensors))
    statistics = instrument_statistics(files, _beside(files, checkpoint, STATISTICS), model)
    network = with_arrays(
        lambda: Autoencoder(model.config, rngs=nnx.Rngs(0)),
        arrays,
        files.source / checkpoint,
        f"its sizes are not those of {gin}, so take the two from one training",
    )
    provenance = {
        "imported": {
            "from": "checkpoint of DDSP",
            "checkpoint": _file(checkpoint),
            "config": _file(gin),
            "changes": "; ".join(model.changes),
        },
    }
    return Instrument(network, statistics, provenance)


def latest_checkpoint(files: PublishedFiles) -> str:
    """The newest checkpoint, without its suffix: the one that is named as such, or the highest."""
    found = {
        name.removesuffix(".index"): int(match[1])
        for name in files.readers
        if (match := _INDEX.fullmatch(_file(name)))
    }
    for name in files.readers:
        if _file(name) == "checkpoint":
            text = files.read(name, most=_MOST_LIST).decode("utf-8", "replace")
            match = _LATEST.search(text)
            latest = match and name.removesuffix("checkpoint") + match[1]
            if latest in found:
                return latest
    return max(found, key=lambda name: (found[name], name))


def _latest_config(files: PublishedFiles) -> str:
    """The newest config of the training."""
    found = {
        name: int(match[1]) for name in files.readers if (match := _GIN.fullmatch(_file(name)))
    }
    if not found:
        raise ValueError(
            f"{files.source} lacks operative_config-0.gin, which says how the model is built; DDSP "
            "writes it into the folder of the training. Put it beside the checkpoint."
        )
    return max(found, key=lambda name: (found[name], name))


def _tensors(files: PublishedFiles, checkpoint: str) -> Mapping[str, np.ndarray]:
    """The tensors of the model in a checkpoint, by their names without the suffix of all."""
    index_name = f"{checkpoint}.index"
    index: BundleIndex = _named(
        files, index_name, lambda: read_bundle_index(files.read(index_name, most=_MOST_INDEX))
    )
    wanted = {
        key: entry
        for key, entry in index.entries.items()
        if key.startswith("model/") and key.endswith(_SUFFIX) and "/.OPTIMIZER_SLOT/" not in key
    }
    if sum(entry.n_bytes for entry in wanted.values()) > _MOST_WEIGHTS:
        raise ValueError(
            f"{files.source} holds a model of more than {_MOST_WEIGHTS} bytes, which is no model "
            "of DDSP that can be imported."
        )
    tensors = {}
    for shard in sorted({entry.shard for entry in wanted.values()}):
        name = f"{checkpoint}.data-{shard:05d}-of-{index.n_shards:05d}"
        data = files.read(name, most=_MOST_SHARD)
        for key, entry in wanted.items():
            if entry.shard == shard:
                what = f"{name}, whose tensor {printable(key[:200])}"
                tensor = _named(files, what, partial(bundle_tensor, entry, data))
                if isinstance(tensor, np.ndarray):
                    tensors[key.removesuffix(_SUFFIX)] = tensor
    return tensors


def _beside(files: PublishedFiles, checkpoint: str, name: str) -> str:
    """The path of a file that lies in the folder of the checkpoint, or anywhere in the archive."""
    path = checkpoint.rpartition("/")[0]
    beside = f"{path}/{name}" if path else name
    others = sorted(other for other in files.readers if _file(other) == name)
    return beside if beside in files.readers or not others else others[0]


def _named(files: PublishedFiles, name: str, read: Callable[[], Any]) -> Any:
    """What a function returns; its ValueErrors, which say what is wrong, get the file's name."""
    try:
        return read()
    except ValueError as error:
        if str(error).startswith(str(files.source)):
            raise
        raise ValueError(f"{files.source}: {name} {str(error).rstrip('.')}.") from error


def _file(name: str) -> str:
    return name.rpartition("/")[2]
