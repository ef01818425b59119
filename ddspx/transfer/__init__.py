"""Timbre transfer: any sound, played by an instrument model."""

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
