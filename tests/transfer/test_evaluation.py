"""The shipped instruments follow real phrases in pitch and loudness, without clicks or clipping."""

import pytest

from ddspx.instruments import describe_instrument, instrument_names
from ddspx.transfer import evaluate_transfer, transfer

PHRASES = {
    "saxophone": "sms_sax-phrase",
    "cello": "sms_cello-phrase",
    "trumpet": "librosa_solo-trumpet-06",
    "voice": "sms_singing-female",
    "quiet voice": "vocadito_1",
}


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [n for n in instrument_names() if describe_instrument(n).is_shipped]
)
def test_a_shipped_instrument_follows_real_phrases(name, shared_data, tmp_path):
    for source, file in PHRASES.items():
        output = tmp_path / f"{file}.wav"
        report = transfer(shared_data / "sources" / f"{file}.flac", output, to=name)
        quality = evaluate_transfer(output, report)
        assert quality.pitched_share > 0.9, source
        assert quality.f0_cents < 10.0, source
        assert quality.octave_error_share < 0.02, source
        assert quality.loudness_correlation > 0.9, source
        assert quality.peak < 1.0, source
        assert quality.click_times_s == (), source
