from __future__ import annotations

from pathlib import Path

import pytest

from asr_client.cli.manifest import ManifestError, read_keys, read_lines


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    return tmp_path / "folder" / "manifest.jsonl"


def write(manifest: Path, text: str | bytes) -> Path:
    manifest.parent.mkdir(exist_ok=True)
    manifest.write_bytes(text if isinstance(text, bytes) else text.encode())
    return manifest


def test_lines_are_recordings_relative_to_the_manifest(manifest: Path) -> None:
    write(
        manifest,
        '\ufeff{"audio": "a.wav"}\n\n'
        '{"audio": "/b.raw", "id": 7, "sample_rate": 8000, "channels": 2, "encoding": "pcm_s16le"}'
        '\r\n{"audio": "../ü.wav", "id": "7", "timestamps": "char", "channel": 1}',
    )
    first, second, third = read_lines(manifest)
    assert (first.audio, first.name, first.key, first.id) == (
        manifest.parent / "a.wav", "a.wav", "a.wav", None,
    )  # fmt: skip
    assert (second.audio, second.key, second.encoding) == (Path("/b.raw"), 7, "pcm_s16le")
    assert (second.sample_rate, second.channels) == (8000, 2)
    assert (third.key, third.timestamps, third.channel) == ("7", "char", 1)
    assert third.audio == manifest.parent / "../ü.wav"
    assert read_keys(manifest) == {"a.wav", 7, "7"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("nonsense", "line 1: not JSON"),
        ('{"audio": "a"}\n["a"]', "line 2: not a JSON object"),
        ('{"audio": 5}', 'line 1: "audio" must be the path of a file'),
        ('{"audio": ""}', 'line 1: "audio" must be'),
        ('{"id": "a"}', 'line 1: "audio" must be'),
        ('{"audio": "a\\u0000"}', 'line 1: "audio" must be'),
        ('{"audio": "a", "sample_rat": 1}', 'line 1: unknown key "sample_rat"; the keys are audio'),
        ('{"audio": "a", "id": true}', 'line 1: "id" must be a string or an integer'),
        ('{"audio": "a", "id": 1.5}', 'line 1: "id" must be'),
        ('{"audio": "a", "id": "\\ud800"}', "line 1: "),
        ('{"audio": "a"}\n{"audio": "b", "id": "a"}', 'line 2: "a" is line 1 already'),
        (b'{"audio": "\xff"}', "line 1: not JSON"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(manifest: Path, text: str | bytes, words: str) -> None:
    with pytest.raises(ManifestError) as caught:
        read_keys(write(manifest, text))
    assert f"{manifest}, {words}" in str(caught.value)


def test_a_missing_manifest_is_said_too(manifest: Path) -> None:
    with pytest.raises(ManifestError, match="No such file"):
        read_keys(manifest)


def test_an_empty_manifest_is_one(manifest: Path) -> None:
    assert read_keys(write(manifest, "\n")) == set()
