"""The timbre autoencoder: pitch and loudness in, the sound of one instrument out."""

from typing import TYPE_CHECKING

from ddspx._exports import lazy

if TYPE_CHECKING:
    from ddspx.models.autoencoder.card import (
        InstrumentCard as InstrumentCard,
        InstrumentScores as InstrumentScores,
        describe_instrument as describe_instrument,
        note_name as note_name,
        store_scores as store_scores,
    )
    from ddspx.models.autoencoder.config import (
        AutoencoderConfig as AutoencoderConfig,
        InstrumentStatistics as InstrumentStatistics,
    )
    from ddspx.models.autoencoder.convert import (
        load_autoencoder as load_autoencoder,
        save_autoencoder as save_autoencoder,
    )
    from ddspx.models.autoencoder.install import (
        install_instrument as install_instrument,
        pack_instrument as pack_instrument,
        remove_instrument as remove_instrument,
    )
    from ddspx.models.autoencoder.library import (
        INSTRUMENTS_VARIABLE as INSTRUMENTS_VARIABLE,
        instrument_names as instrument_names,
        instruments_folder as instruments_folder,
    )
    from ddspx.models.autoencoder.model import (
        Autoencoder as Autoencoder,
        HarmonicControls as HarmonicControls,
        NoiseControls as NoiseControls,
        SynthesisState as SynthesisState,
    )
else:
    __getattr__, __dir__, __all__ = lazy(
        __name__,
        card="InstrumentCard InstrumentScores describe_instrument note_name store_scores",
        config="AutoencoderConfig InstrumentStatistics",
        convert="load_autoencoder save_autoencoder",
        install="install_instrument pack_instrument remove_instrument",
        library="INSTRUMENTS_VARIABLE instrument_names instruments_folder",
        model="Autoencoder HarmonicControls NoiseControls SynthesisState",
    )
