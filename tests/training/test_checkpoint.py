"""Checkpoints: the round trip, every flipped bit, other networks, folders that refuse."""

from __future__ import annotations

import os
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
