"""Timbre transfer: any sound, played by an instrument model."""

from typing import TYPE_CHECKING

from ddspx._exports import lazy

if TYPE_CHECKING:
    from ddspx.transfer._adjust import (
        Playable as Playable,
        adjust as adjust,
        octaves_to as octaves_to,
    )
    from ddspx.transfer._config import (
        RANGES as RANGES,
        TransferConfig as TransferConfig,
    )
    from ddspx.transfer._follow import follow_loudness as follow_loudness
    from ddspx.transfer._notes import (
        NoteDetection as NoteDetection,
        detect_notes as detect_notes,
    )
    from ddspx.transfer._picture import picture as picture
    from ddspx.transfer._quality import (
        TransferQuality as TransferQuality,
        measure as measure,
    )
    from ddspx.transfer._quantiles import (
        QuantileTransform as QuantileTransform,
        apply_quantile_transform as apply_quantile_transform,
        fit_quantile_transform as fit_quantile_transform,
    )
    from ddspx.transfer._synthesis import synthesise as synthesise
    from ddspx.transfer._transfer import (
        Progress as Progress,
        Range as Range,
        TransferReport as TransferReport,
        transfer as transfer,
    )
    from ddspx.transfer._tuning import (
        autotune as autotune,
        tuning_offset as tuning_offset,
    )
else:
    __getattr__, __dir__, __all__ = lazy(
        __name__,
        _adjust="Playable adjust octaves_to",
        _config="RANGES TransferConfig",
        _follow="follow_loudness",
        _notes="NoteDetection detect_notes",
        _picture="picture",
        _quality="TransferQuality measure",
        _quantiles="QuantileTransform apply_quantile_transform fit_quantile_transform",
        _synthesis="synthesise",
        _transfer="Progress Range TransferReport transfer",
        _tuning="autotune tuning_offset",
    )
