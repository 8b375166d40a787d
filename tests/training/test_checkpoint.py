"""Checkpoints: the round trip, every flipped bit, other networks, folders that refuse."""

from __future__ import annotations

import hashlib
import json
import os
import re
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from gradwright.training.checkpoint import Checkpoint, Position, Settings, load, require_match, save
from ir.errors import CheckpointError, OutputError

SETTINGS = Settings("digits", "numpy", "float64", 32, "momentum", 1, 7, 0.05, None)


@pytest.fixture
def saved(model) -> Checkpoint:
    params = model.init_params(3)
    state = model.init_state(params)
    return Checkpoint("softmax", "5eed", SETTINGS, Position(2, 5, 95, 1 / 3), params, state)


def test_round_trip_is_exact(tmp_path: Path, saved: Checkpoint) -> None:
    path = tmp_path / "new" / "c.safetensors"
    save(path, saved)
    read = load(path)
    assert (read.settings, read.position) == (saved.settings, saved.position)
    assert (read.network, read.model_hash) == ("softmax", "5eed")
    for mine, theirs in ((saved.params, read.params), (saved.state, read.state)):
        assert sorted(mine) == sorted(theirs)
        assert all(mine[name].tobytes() == theirs[name].tobytes() for name in mine)
        assert all(array.flags.writeable and array.flags.c_contiguous for array in theirs.values())
    assert [entry.name for entry in path.parent.iterdir()] == ["c.safetensors"]


def test_any_safetensors_reader_finds_the_parameters(tmp_path: Path, saved: Checkpoint) -> None:
    save(tmp_path / "c", saved)
    assert load_file(tmp_path / "c")["fc.W"].tobytes() == saved.params["fc.W"].tobytes()


def test_equal_runs_write_equal_bytes(tmp_path: Path, saved: Checkpoint) -> None:
    for name in "ab":
        save(tmp_path / name, saved)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_every_flipped_bit_is_refused(tmp_path: Path, saved: Checkpoint) -> None:
    small = replace(saved, params={"b": np.ones(2)}, state={})
    path = tmp_path / "c"
    save(path, small)
    raw = path.read_bytes()
    accepted = []
    for bit in range(8 * len(raw)):
        flipped = bytearray(raw)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        try:
            load(path)
        except CheckpointError:
            continue
        accepted.append(bit)
    assert accepted == []
    path.write_bytes(raw)
    assert load(path).params["b"].tolist() == [1, 1]


def rewritten(path: Path, old: str, new: str) -> None:
    """Change the record and give it a right digest: what only a person does, not a broken disk."""
    raw = path.read_bytes()
    end = 8 + int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8:end])
    record = header["__metadata__"]["gradwright"]
    assert old in record
    changed = re.sub("[0-9a-f]{64}", "0" * 64, record).replace(old, new)
    header["__metadata__"]["gradwright"] = changed
    text = json.dumps(header).encode()
    made = len(text).to_bytes(8, "little") + text + raw[end:]
    path.write_bytes(made.replace(b"0" * 64, hashlib.sha256(made).hexdigest().encode()))


IMPOSSIBLE = {
    "another format": ("checkpoint 1", "checkpoint 2"),
    "a negative step": ('"step": 95', '"step": -95'),
    "a step past 63 bits": ('"step": 95', '"step": 9999999999999999999'),
    "a batch that is a list": ('"batch": 32', '"batch": [32]'),
    "a batch that is true": ('"batch": 32', '"batch": true'),
    "a target that is a number": ('"target": "numpy"', '"target": 1'),
    "a network that is none": ('"network": "softmax"', '"network": null'),
    "settings that are a list": ('"settings": {', '"settings": [], "x": {'),
    "no position": ('"position": {', '"x": {'),
    "a record that is deep": ('"network": "softmax"', '"network": ' + 9999 * "[" + "]" * 9999),
}


@pytest.mark.parametrize("case", IMPOSSIBLE)
def test_an_impossible_record_is_refused(tmp_path: Path, saved: Checkpoint, case: str) -> None:
    path = tmp_path / "c"
    save(path, saved)
    rewritten(path, '"step": 95', '"step": 96')
    assert load(path).position.step == 96
    rewritten(path, '"step": 96', '"step": 95')
    rewritten(path, *IMPOSSIBLE[case])
    with pytest.raises(CheckpointError, match="not an intact gradwright checkpoint"):
        load(path)


def test_what_is_no_regular_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path / "fifo", Path("/dev/zero")):
        with pytest.raises(CheckpointError, match="not a regular file"):
            load(path)


def test_a_file_is_not_read_before_its_first_bytes_are_right(tmp_path: Path) -> None:
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(CheckpointError, match="no gradwright record"):
        load(tmp_path / "huge")


def test_loading_takes_twice_the_file(tmp_path: Path, saved: Checkpoint) -> None:
    """Its bytes and its arrays; 256 KiB for what is not counted in arrays."""
    arrays = {"a": np.ones(200_000), "b": np.ones((1000, 100), np.float32)}
    save(tmp_path / "c", replace(saved, params=arrays, state={}))
    tracemalloc.start()
    try:
        load(tmp_path / "c")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2 * (tmp_path / "c").stat().st_size + 2**18


@pytest.mark.parametrize("length", [0, 5, 8, 100, -1])
def test_truncation_is_refused(tmp_path: Path, saved: Checkpoint, length: int) -> None:
    path = tmp_path / "c"
    save(path, saved)
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(CheckpointError, match="not an intact gradwright checkpoint"):
        load(path)


def test_foreign_safetensors_are_refused(tmp_path: Path) -> None:
    save_file({"fc.W": np.zeros(3)}, tmp_path / "c")
    with pytest.raises(CheckpointError, match="no gradwright record"):
        load(tmp_path / "c")


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"nowhere.*No such file"):
        load(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"NAME": "other"}, "network: expected other, found softmax"),
        ({"PARAM_SHAPES": {"fc.W": (64, 9), "fc.b": (10,)}}, r"fc\.W: expected \(64, 9\), found"),
        ({"PARAM_SHAPES": {"fc.W": (64, 10)}}, r"fc\.b: expected none, found \(10,\)"),
        ({"STATE_SHAPES": {}}, r"fc\.W\.velocity: expected none"),
        ({"DTYPE": "float32"}, "dtype: expected float32, found float64"),
        ({"MODEL_HASH": "beef"}, "model hash: expected beef, found 5eed"),
    ],
)
def test_another_network_is_refused(
    tmp_path: Path, saved: Checkpoint, model, change: dict, says: str
) -> None:
    require_match(tmp_path / "c", saved, model)
    vars(model).update(change)
    with pytest.raises(CheckpointError, match=says):
        require_match(tmp_path / "c", saved, model)


def test_failed_write_keeps_the_old_file_alone(
    tmp_path: Path, saved: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "c"
    save(path, saved)
    before = path.read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match="No space left on device"):
        save(path, replace(saved, position=Position(3)))
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["c"]


def test_folder_below_a_file_is_an_output_error(tmp_path: Path, saved: Checkpoint) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OutputError, match="cannot be written"):
        save(tmp_path / "file" / "c", saved)
