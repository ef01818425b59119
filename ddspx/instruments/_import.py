"""Importing models that others have published, as instruments of the user."""

import importlib
from pathlib import Path
from types import ModuleType

from ddspx.instruments._install import install_instrument, installing, new_folder
from ddspx.instruments._room import room_facts
from ddspx.instruments.published._files import PublishedFiles, published_files, single_file
from ddspx.models._config import CONFIG, WEIGHTS
from ddspx.models.autoencoder.serialization import save_autoencoder

# The readers, and the files that each of them takes.
_READERS: dict[str, str] = {
    "_tone_transfer": "model.json with its .bin (Tone Transfer)",
    "_ddsp": "ckpt-N.index with its data, operative_config-N.gin and dataset_statistics.pkl (DDSP)",
    "_ddsp_pytorch": "state.pth with config.yaml, or a .ts (ddsp_pytorch)",
}


def import_instrument(
    source: str | Path,
    *,
    name: str | None = None,
    overwrite: bool = False,
    folder: str | Path | None = None,
) -> Path:
    """Makes an instrument of a model that others have published, and installs it.

    The result is an ordinary model folder: it is listed, played, packed and removed like every
    instrument. Only numbers and texts are read from the files; nothing in them is executed. A model
    of ddspx is installed by `install_instrument`.

    Args:
      source: a folder with the files of the model, or a zip archive of them. Other files there are
        ignored.
      name: name of the instrument, as for `install_instrument`.
      overwrite: whether an instrument of that name may be replaced.
      folder: a folder to install into, as for `install_instrument`.

    Returns:
      The folder of the installed instrument.

    Raises:
      FileExistsError: there is an instrument of that name.
      FileNotFoundError: `source` does not exist.
      ValueError: the name is not allowed; or the files are damaged, or are not of a kind that can
        be imported.

    Example:
      >>> import tempfile
      >>> from ddspx.instruments import import_instrument
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     import_instrument(folder, name="oboe")
      Traceback (most recent call last):
      ...
      ValueError: ...
    """
    source = Path(source)
    if source.is_file() and (reader := _reader_of(file := single_file(source))):
        return _imported(reader, file, name, overwrite=overwrite, folder=folder)
    with published_files(source) as files:
        if reader := _reader_of(files):
            return _imported(reader, files, name, overwrite=overwrite, folder=folder)
        is_own = bool({CONFIG, WEIGHTS} & files.readers.keys())
    if is_own:
        return install_instrument(source, name=name, overwrite=overwrite, folder=folder)
    kinds = "; ".join((f"{CONFIG} and {WEIGHTS} (ddspx)", *_READERS.values()))
    raise ValueError(
        f"{source} holds no model that can be imported; give the folder or archive of one, with "
        f"the files of one of these kinds: {kinds}."
    )


def _imported(
    reader: ModuleType,
    files: PublishedFiles,
    name: str | None,
    *,
    overwrite: bool,
    folder: str | Path | None,
) -> Path:
    target = new_folder(files.name if name is None else name, overwrite=overwrite, folder=folder)
    model, statistics, provenance = reader.read(files)
    with installing(target, files.source, overwrite=overwrite) as staged:
        facts = provenance | room_facts(model)
        save_autoencoder(staged, model, statistics=statistics, provenance=facts)
    return target


def _reader_of(files: PublishedFiles) -> ModuleType | None:
    """The module that reads these files."""
    modules = (importlib.import_module(f"ddspx.instruments.published.{name}") for name in _READERS)
    return next((module for module in modules if module.recognises(files)), None)
