"""The timbre autoencoder: pitch and loudness in, the sound of one instrument out."""

from typing import TYPE_CHECKING

from ddspx._exports import lazy

if TYPE_CHECKING:
    from ddspx.models.autoencoder.config import (
        AutoencoderConfig as AutoencoderConfig,
        InstrumentStatistics as InstrumentStatistics,
    )
    from ddspx.models.autoencoder.model import (
        Autoencoder as Autoencoder,
        AutoencoderState as AutoencoderState,
        DryState as DryState,
    )
    from ddspx.models.autoencoder.serialization import (
        load_autoencoder as load_autoencoder,
        save_autoencoder as save_autoencoder,
    )
    from ddspx.models.autoencoder.timbres import (
        Timbre as Timbre,
        load_timbres as load_timbres,
        save_any_instrument as save_any_instrument,
        with_timbre as with_timbre,
    )
else:
    __getattr__, __dir__, __all__ = lazy(
        __name__,
        config="AutoencoderConfig InstrumentStatistics",
        model="Autoencoder AutoencoderState DryState",
        serialization="load_autoencoder save_autoencoder",
        timbres="Timbre load_timbres save_any_instrument with_timbre",
    )
