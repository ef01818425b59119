"""Timbre transfer: any sound, played by an instrument model."""

from ddspx.transfer._adjust import (
    Playable as Playable,
    adjust as adjust,
    match_loudness as match_loudness,
)
from ddspx.transfer._picture import picture as picture
from ddspx.transfer._transfer import (
    Progress as Progress,
    Range as Range,
    TransferReport as TransferReport,
    synthesise as synthesise,
    transfer as transfer,
)
