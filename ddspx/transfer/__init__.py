"""Timbre transfer: an instrument model plays the melody of a recording."""

from typing import TYPE_CHECKING

from ddspx._exports import lazy

if TYPE_CHECKING:
    from ddspx.transfer._adjust import (
        AdjustedControls as AdjustedControls,
        adjust as adjust,
    )
    from ddspx.transfer._config import (
        RANGES as RANGES,
        TransferConfig as TransferConfig,
    )
    from ddspx.transfer._evaluation import (
        TransferQuality as TransferQuality,
        evaluate_transfer as evaluate_transfer,
    )
    from ddspx.transfer._loudness_matching import match_loudness as match_loudness
    from ddspx.transfer._notes import (
        NoteDetection as NoteDetection,
        detect_notes as detect_notes,
    )
    from ddspx.transfer._plot import plot_transfer as plot_transfer
    from ddspx.transfer._quantiles import (
        QuantileTransform as QuantileTransform,
        apply_quantile_transform as apply_quantile_transform,
        fit_quantile_transform as fit_quantile_transform,
    )
    from ddspx.transfer._range import octaves_to as octaves_to
    from ddspx.transfer._rendering import render as render
    from ddspx.transfer._transfer import (
        Percentiles as Percentiles,
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
        _adjust="AdjustedControls adjust",
        _config="RANGES TransferConfig",
        _loudness_matching="match_loudness",
        _notes="NoteDetection detect_notes",
        _plot="plot_transfer",
        _evaluation="TransferQuality evaluate_transfer",
        _quantiles="QuantileTransform apply_quantile_transform fit_quantile_transform",
        _range="octaves_to",
        _rendering="render",
        _transfer="Percentiles TransferReport transfer",
        _tuning="autotune tuning_offset",
    )
