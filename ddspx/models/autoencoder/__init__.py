"""The timbre autoencoder: pitch and loudness in, the sound of one instrument out."""

from ddspx.models.autoencoder.config import (
    AutoencoderConfig as AutoencoderConfig,
    InstrumentStatistics as InstrumentStatistics,
)
from ddspx.models.autoencoder.convert import (
    instrument_names as instrument_names,
    load_autoencoder as load_autoencoder,
    save_autoencoder as save_autoencoder,
)
from ddspx.models.autoencoder.model import (
    Autoencoder as Autoencoder,
    HarmonicControls as HarmonicControls,
    NoiseControls as NoiseControls,
    SynthesisState as SynthesisState,
)
