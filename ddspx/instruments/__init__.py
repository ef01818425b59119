"""Instruments: those of ddspx, those that users install, and timbres of recordings."""

from typing import TYPE_CHECKING

from ddspx._exports import lazy

if TYPE_CHECKING:
    from ddspx.instruments._card import (
        InstrumentCard as InstrumentCard,
        InstrumentScores as InstrumentScores,
        describe_instrument as describe_instrument,
        note_name as note_name,
        store_scores as store_scores,
    )
    from ddspx.instruments._import import import_instrument as import_instrument
    from ddspx.instruments._install import (
        install_instrument as install_instrument,
        pack_instrument as pack_instrument,
        remove_instrument as remove_instrument,
    )
    from ddspx.instruments._instrument import Instrument as Instrument
    from ddspx.instruments._library import (
        INSTRUMENTS_VARIABLE as INSTRUMENTS_VARIABLE,
        instrument_names as instrument_names,
        instruments_folder as instruments_folder,
        timbre_names as timbre_names,
    )
    from ddspx.instruments._loading import (
        as_instrument as as_instrument,
        load_instrument as load_instrument,
    )
    from ddspx.instruments._room import (
        export_room as export_room,
        measure_room as measure_room,
    )
    from ddspx.instruments._statistics import instrument_statistics as instrument_statistics
    from ddspx.instruments._timbres import (
        AnyInstrument as AnyInstrument,
        embed as embed,
        interpolate as interpolate,
        load_any_instrument as load_any_instrument,
        recorded_timbre as recorded_timbre,
    )
else:
    __getattr__, __dir__, __all__ = lazy(
        __name__,
        _card="InstrumentCard InstrumentScores describe_instrument note_name store_scores",
        _import="import_instrument",
        _install="install_instrument pack_instrument remove_instrument",
        _instrument="Instrument",
        _library="INSTRUMENTS_VARIABLE instrument_names instruments_folder timbre_names",
        _loading="as_instrument load_instrument",
        _room="export_room measure_room",
        _statistics="instrument_statistics",
        _timbres="AnyInstrument embed interpolate load_any_instrument recorded_timbre",
    )
