import numpy as np

from ddspx._notes import hz_to_midi
from ddspx.features import Features
from ddspx.instruments._ranks import RankedFloats
from ddspx.instruments._statistics import instrument_statistics, streamed_statistics


def test_quantiles_in_parts_are_those_of_all_numbers(rng):
    numbers = np.concatenate(
        [rng.normal(0, 30, 9000), rng.integers(-3, 3, 900), [0.0, -0.0, 1e-40]]
    )
    numbers = rng.permutation(numbers).astype(np.float32)
    shares = np.append(rng.random(50), [0, 0.01, 0.5, 1])
    for some in (numbers, numbers[:1], numbers[:2], np.full(9, -7.5, np.float32)):
        ranked = RankedFloats()
        parts = np.split(some, [1, 100, 5000])
        for part in parts:
            ranked.count(part)
        ranked.look_for(shares)
        for part in parts:
            ranked.look_at(part)
        assert ranked.size == some.size
        expected = np.quantile(some.astype(np.float64), shares)
        np.testing.assert_allclose(ranked.quantiles(), expected, rtol=1e-14, atol=1e-300)
        doubled = ranked.quantiles(lambda x: 2 * x)
        np.testing.assert_allclose(doubled, 2 * expected, rtol=1e-14, atol=1e-300)


def test_statistics_in_parts_are_those_of_the_whole(rng):
    f0_hz, level_db = rng.uniform(100, 900, 3000), rng.uniform(-80, 10, 3000)
    tracks = Features(*(x.astype(np.float32) for x in (f0_hz, rng.random(3000), level_db)))
    rates = {"sample_rate": 8000, "hop_length": 80}
    parts = [Features(*x) for x in zip(*(np.split(x, [7, 900]) for x in tracks), strict=True)]
    statistics, share = streamed_statistics(lambda: parts, **rates)
    assert statistics == instrument_statistics(tracks, **rates)
    voiced = tracks.f0_confidence >= 0.5
    midi = hz_to_midi(tracks.f0_hz[voiced].astype(np.float64))
    assert share == voiced.mean() and statistics.duration_s == 30.0
    found = (statistics.pitch_midi_min, statistics.pitch_midi_mean, statistics.pitch_midi_max)
    low, high = np.percentile(midi, [1, 99])
    np.testing.assert_allclose(found, [low, midi.mean(), high], rtol=1e-13)
    quantiles = np.quantile(tracks.loudness_db[voiced].astype(np.float64), np.linspace(0, 1, 101))
    np.testing.assert_allclose(statistics.loudness_quantiles, quantiles, rtol=1e-13)
