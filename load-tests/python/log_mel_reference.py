"""Figures of the reference spectrogram (Pipecat's, which mirrors Whisper's), as `media/tests/data/log-mel.txt` keeps them.

    target/test-venv/bin/python load-tests/python/log_mel_reference.py > media/tests/data/log-mel.txt
"""

import pathlib
import wave

import numpy
from pipecat.audio.turn.smart_turn._whisper_features import compute_whisper_log_mel_features

ROOT = pathlib.Path(__file__).resolve().parents[2]
SENTENCE = ROOT / "media" / "tests" / "data" / "speech-16khz.wav"
WINDOW = 8 * 16_000


def spectrogram(samples):
    """80 bands of 800 frames of the last 8 s, with silence in front."""
    heard = samples[-WINDOW:].astype(numpy.float32) / 32768
    return compute_whisper_log_mel_features(numpy.pad(heard, (WINDOW - len(heard), 0)))


def lines():
    with wave.open(str(SENTENCE)) as source:
        samples = numpy.frombuffer(source.readframes(source.getnframes()), dtype="<i2")
    features = spectrogram(samples)
    yield "# band, frame, figure; made by load-tests/python/log_mel_reference.py"
    # The sentence is in the last 330 frames; steps without a common factor reach every band and all of it.
    for step in range(240):
        band, frame = step * 7 % 80, 460 + step * 97 % 340
        yield f"{band} {frame} {features[band, frame]:.6f}"
    for band in (0, 40, 79):
        for frame in (0, 799):
            yield f"{band} {frame} {features[band, frame]:.6f}"


if __name__ == "__main__":
    print("\n".join(lines()))
