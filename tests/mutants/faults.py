"""Small faults, each of which some quick test of its files must find."""

from pathlib import Path
from typing import NamedTuple


class Fault(NamedTuple):
    """A text of the package, which occurs once in its file, and what a slip would make of it.

    Attributes:
      file: below ``ddspx``.
      old: the text as it is.
      new: the text with the fault.
      tests: what to ask, as arguments of pytest below ``tests``.
    """

    file: str
    old: str
    new: str
    tests: str

    def faulty(self, package: Path) -> str:
        """The source of the file with the fault in it."""
        source = (package / self.file).read_text(encoding="utf-8")
        if (count := source.count(self.old)) != 1:
            raise ValueError(
                f"{self.file} holds {self.old!r} {count} times; give the fault in "
                "tests/mutants/faults.py a text that is there once."
            )
        return source.replace(self.old, self.new)


FAULTS = (
    # core
    Fault(
        "core/_units.py",
        "jnp.log10(jnp.where(audible, size, 1.0)) - ref_db",
        "jnp.log10(jnp.where(audible, size, 1.0)) + ref_db",
        "core/test_units.py",
    ),
    Fault(
        "core/_framing.py",
        "left = frame_length // 2\n",
        "left = (frame_length - 1) // 2\n",
        "core/test_framing.py",
    ),
    Fault(
        "core/_numerics.py",
        "jnp.sqrt(jnp.where(positive, x, 1))",
        "jnp.sqrt(x)",
        "core/test_numerics.py",
    ),
    Fault(
        "core/_upsampling.py",
        "features[..., -1:, :], shape",
        "features[..., :1, :], shape",
        "core/test_upsampling.py",
    ),
    Fault(
        "core/filters/_fir.py",
        '"same": ((taps - 1) // 2, samples)',
        '"same": (taps // 2, samples)',
        "core/filters/test_fir.py",
    ),
    Fault(
        "core/filters/_iir.py",
        "coefficients + k * coefficients[..., ::-1]",
        "coefficients - k * coefficients[..., ::-1]",
        "core/filters/test_iir.py",
    ),
    Fault(
        "core/synthesis/_envelopes.py",
        "pressed_s = jnp.minimum(time_s, off) - on",
        "pressed_s = time_s - on",
        "core/synthesis/test_envelopes.py",
    ),
    Fault(
        "core/synthesis/_noise.py",
        "state.frame + jnp.uint32(frames - 1)",
        "state.frame + jnp.uint32(frames)",
        "core/synthesis/test_noise.py",
    ),
    Fault(
        "core/effects/_delay.py",
        "return index - 1, [u, 1 - u]",
        "return index - 1, [1 - u, u]",
        "core/effects/test_delay.py",
    ),
    Fault(
        "core/analysis/_pcen.py",
        "return recent[..., -1, :], compressed",
        "return state, compressed",
        "core/analysis/test_pcen.py",
    ),
    Fault(
        "core/pitch/_viterbi.py",
        "silent = jnp.maximum(unvoiced + rest, top + offset)",
        "silent = jnp.maximum(unvoiced + rest, top + onset)",
        "core/pitch/test_viterbi.py",
    ),
    # nn
    Fault(
        "nn/_recurrent.py",
        "layer.frames_first(frames, carry)",
        "layer.frames_first(frames)",
        "nn/test_recurrent.py",
    ),
    Fault(
        "nn/_reverb.py",
        "self.taps[...].at[0].set(0.0)",
        "self.taps[...]",
        "nn/test_reverb.py",
    ),
    Fault(
        "nn/_encoder.py",
        "jnp.square(features - mean)",
        "jnp.square(features)",
        "nn/test_encoder.py",
    ),
    Fault(
        "nn/frontend/_compressors.py",
        '"bias": jnp.maximum(self.bias[...], _LEAST_BIAS)',
        '"bias": self.bias[...]',
        "nn/test_frontend_paths.py -k leafs_bias",
    ),
    Fault(
        "nn/frontend/_published_banks.py",
        "low_hz + _LEAST_HZ + jnp.abs(self.band_hz[...])",
        "low_hz + jnp.abs(self.band_hz[...])",
        "nn/test_frontend_paths.py -k sincnet",
    ),
    Fault(
        "nn/frontend/_saved.py",
        '"pooling" in trainable)',
        '"compression" in trainable)',
        "models/test_saved_frontends.py",
    ),
    # io
    Fault(
        "io/_crops.py",
        "self._taken = position_of(state, self._facts)",
        "self._taken = 0",
        "io/test_crops.py",
    ),
    Fault(
        "io/_labels.py",
        "((left - count > 0) | (count == 0)).all()",
        "((left - count >= 0) | (count == 0)).all()",
        "io/test_labels.py",
    ),
    Fault(
        "io/_batches.py",
        "+ uniforms(seed, 1, examples)[:, 0]) / n_parts",
        ") / n_parts",
        "io/test_batches.py",
    ),
    Fault(
        "io/_datasets.py",
        "for chunk in range(first, last + 1) if not right[chunk]",
        "for chunk in range(first, last) if not right[chunk]",
        "io/test_datasets.py",
    ),
    Fault(
        "io/_checkpoints.py",
        "max(complete, default=None)",
        "min(complete, default=None)",
        "io/test_checkpoints.py",
    ),
    Fault(
        "io/_audio.py",
        "pending, n_pending = [joined[n_whole:]], n_pending - n_whole",
        "pending, n_pending = [], 0",
        "io/test_audio.py",
    ),
    # training
    Fault(
        "training/_loop.py",
        "self._batches.set_state(self.facts.batches)",
        "pass",
        "training/test_loop.py",
    ),
    Fault(
        "training/_loop.py",
        "best = kept if is_regular else before",
        "best = kept",
        "training/test_loop.py",
    ),
    Fault(
        "training/_run.py",
        "before[max(0, len(before) + 1 - keep) :]",
        "before[:0]",
        "training/test_run.py",
    ),
    Fault(
        "training/_step.py",
        "partial(jnp.where, is_finite)",
        "lambda new, old: new",
        "training/test_run.py",
    ),
    Fault(
        "training/_step.py",
        "key = jax.random.fold_in(state.key, state.step)",
        "key = state.key",
        "training/test_step.py",
    ),
    Fault(
        "training/_autoencoder.py",
        "json.dumps(dataclasses.asdict(manifest) | origin, sort_keys=True)",
        "json.dumps(dataclasses.asdict(manifest), sort_keys=True)",
        "training/test_loop.py -k begins_with_the_weights",
    ),
    Fault(
        "training/_autoencoder_evaluation.py",
        "np.where(rendered.f0_confidence >= metrics.VOICED, rendered.f0_hz, np.nan)",
        "rendered.f0_hz",
        "training/test_autoencoder_evaluation.py",
    ),
    Fault(
        "training/_splits.py",
        "place = end - max(round(share * edges[-1]), example)",
        "place = end - round(share * edges[-1])",
        "training/test_prepare.py",
    ),
    # transfer
    Fault(
        "transfer/_adjust.py",
        "level_db - config.quiet_db * missing",
        "level_db + config.quiet_db * missing",
        "transfer/test_adjust.py",
    ),
    Fault(
        "transfer/_quantiles.py",
        "np.minimum(np.diff(target), _MAX_SLOPE * np.diff(own))",
        "np.diff(target)",
        "transfer/test_quantiles.py",
    ),
    Fault(
        "transfer/_notes.py",
        "np.where(index - before <= after - index, before, after)",
        "before",
        "transfer/test_notes.py",
    ),
    Fault(
        "transfer/_range.py",
        "return np.full(midi.size, octaves)",
        "break",
        "transfer/test_adjust.py",
    ),
    Fault(
        "metrics/_distributions.py",
        "- n) / (n * (n - 1))",
        "- n) / (n * n)",
        "metrics/test_distributions.py",
    ),
    Fault(
        "metrics/_spectra.py",
        "cepstra(x)[:, 1:n_mfcc]",
        "cepstra(x)[:, :n_mfcc]",
        "metrics/test_spectra.py",
    ),
    Fault(
        "metrics/_squeaks.py",
        "sizes > sizes.min()",
        "sizes / frame_rate >= _SHORTEST_S",
        "metrics/test_squeaks.py",
    ),
    Fault(
        "transfer/_tuning.py",
        "untuned = f0_midi - tuning",
        "untuned = f0_midi + tuning",
        "transfer/test_tuning.py",
    ),
    Fault(
        "transfer/_rendering.py",
        "return core.convolution_reverb_step(state, audio, levels.reverb * response)",
        "return state, core.convolution_reverb_step(state, audio, levels.reverb * response)[1]",
        "transfer/test_transfer.py -k 'blocks_of_any_size or the_blocks_are'",
    ),
    # cli
    Fault(
        "cli/_pitch.py",
        "confidence.astype(float) * 1000 // 1 / 1000",
        "(confidence.astype(float) * 1000).round() / 1000",
        "cli/test_pitch_cli.py",
    ),
    Fault(
        "cli/_features.py",
        '"times_s": np.arange(len(values)) * config.hop_length',
        '"times_s": (1 + np.arange(len(values))) * config.hop_length',
        "cli/test_features_cli.py",
    ),
    Fault(
        "cli/_batch.py",
        "self.count += 1",
        "self.count = 0",
        "cli/test_pitch_cli.py",
    ),
    Fault(
        "cli/_classify.py",
        "[: None if all_labels else 1]",
        "[: 1 if all_labels else None]",
        "cli/test_classify_cli.py -k predictions",
    ),
    Fault(
        "models/spectnet/inference.py",
        '(-shares).argsort(kind="stable")',
        'shares.argsort(kind="stable")',
        "models/test_spectnet_recipes.py -k vote",
    ),
    # features
    Fault(
        "features/_blocks.py",
        "rest, first_frame = rest[..., step:], first_frame + chunk",
        "rest = rest[..., step:]",
        "features/test_conditioning.py -k 'stream or frame_rule'",
    ),
    Fault(
        "features/_loudness.py",
        "yield loudness_db[..., before : before + n]",
        "yield loudness_db[..., before - 1 : before - 1 + n]",
        "features/test_conditioning.py -k 'stream or frame_rule'",
    ),
    # metrics and models
    Fault(
        "metrics/_pitch.py",
        "(100 * np.abs(error - 12 * octaves) < cents)",
        "(100 * np.abs(error) < cents)",
        "metrics/test_pitch.py",
    ),
    Fault(
        "metrics/_clicks.py",
        "_in_block(block, sample_rate, threshold_db) + first",
        "_in_block(block, sample_rate, threshold_db) + start",
        "metrics/test_clicks.py",
    ),
    Fault(
        "metrics/_classification.py",
        "found.value, _student_z(n_groups - 1)",
        "found.value, _student_z(n_groups)",
        "metrics/test_classification.py",
    ),
    Fault(
        "models/spectnet/recordings.py",
        "np.pad(audio, (silence // 2, silence - silence // 2))",
        "np.pad(audio, (0, silence))",
        "models/test_spectnet_recordings.py",
    ),
    Fault(
        "models/pitch/refine.py",
        "offset = 0.5 * (before - after)",
        "offset = 0.5 * (after - before)",
        "models/test_pitch_features.py",
    ),
)
