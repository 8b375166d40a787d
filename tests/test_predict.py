"""`gradwright predict`: pictures as MNIST would hold them, probabilities, and clear refusals."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gradwright import cli
from gradwright.predict_run import blocks, probabilities, table
from gradwright.training import digits
from gradwright.training.picture_file import read_digit
from ir.errors import DataError

NET = """import gradwright as gw


@gw.network
def net(x: gw.f64["batch", 64], label: gw.i32["batch"]):
    logits = gw.dense(x, 10, name="fc")
    return gw.outputs(loss=gw.cross_entropy(logits, label), logits=logits)
"""


def bar(height: int, width: int, at: tuple[int, int], inside: tuple[int, int]) -> np.ndarray:
    """A white upright bar on black."""
    picture = np.zeros((height, width), np.uint8)
    picture[at[0] : at[0] + inside[0], at[1] : at[1] + inside[1]] = 255
    return picture


def saved(tmp_path: Path, pixels: np.ndarray, mode: str | None = None) -> Path:
    path = tmp_path / "digit.png"
    Image.fromarray(pixels, mode).save(path)
    return path


@pytest.mark.parametrize("invert", [False, True])
def test_a_digit_is_fitted_centred_and_bright_on_black(tmp_path: Path, invert: bool) -> None:
    pixels = bar(200, 300, (10, 20), (100, 30))
    seen = read_digit(saved(tmp_path, 255 - pixels if invert else pixels), 28, 20)
    expected = bar(28, 28, (4, 11), (20, 6)) / 255
    np.testing.assert_allclose(seen, expected, atol=0.01)


def test_transparent_is_white(tmp_path: Path) -> None:
    pixels = np.zeros((90, 90, 4), np.uint8)
    pixels[30:60, 40:50, 3] = 255
    seen = read_digit(saved(tmp_path, pixels), 28, 20)
    assert seen.max() == 1
    assert 0.1 < seen.mean() < 0.25


def test_a_picture_of_the_right_size_is_taken_as_it_is(tmp_path: Path) -> None:
    pixels = bar(28, 28, (1, 2), (5, 3))
    assert (read_digit(saved(tmp_path, pixels), 28, 20) == pixels / 255).all()


@pytest.mark.parametrize(
    ("content", "says"),
    [(b"", "cannot be read"), (b"\x89PNG\r\n\x1a\n broken", "cannot be read"), (None, "No such")],
)
def test_what_is_no_picture_is_refused(tmp_path: Path, content: bytes | None, says: str) -> None:
    path = tmp_path / "x.png"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=says):
        read_digit(path, 28, 20)


def test_blank_and_huge_pictures_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(DataError, match="is blank"):
        read_digit(saved(tmp_path, np.full((30, 30), 200, np.uint8)), 28, 20)
    monkeypatch.setattr("gradwright.training.picture_file.PIXELS", 100)
    with pytest.raises(DataError, match="30x30 pixels, more than 100"):
        read_digit(tmp_path / "digit.png", 28, 20)


def test_scores_become_probabilities() -> None:
    scores = np.array([1.0, 2.0, 4.0], np.float32)
    found = probabilities(scores)
    assert found.sum() == pytest.approx(1)
    np.testing.assert_allclose(probabilities(np.log(found)), found)
    np.testing.assert_allclose(probabilities(found), found)
    assert list(table(found, 2)) == ["    2   84.38 %  " + "█" * 25, "    1   11.42 %  ███"]


def test_two_rows_of_pixels_are_one_of_blocks() -> None:
    picture = np.array([[0, 1, 0.5], [0, 1, 0], [0.3, 0, 0]])
    assert list(blocks(picture)) == [" █░", "░"]


@pytest.fixture
def trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture):
    """`predict(image, checkpoint)` beside a net trained on the embedded digits."""
    monkeypatch.chdir(tmp_path)
    Path("net.py").write_text(NET)

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["gradwright", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return int(ended.value.code or 0), *capsys.readouterr()

    run(
        "train", "net.py", "--data", "digits", "--target", "numpy", "--epochs", "20", "--batch", "8"
    )
    return lambda image, checkpoint="runs/net", model="net.py": run(
        "predict", model, image, "--checkpoint", checkpoint
    )


def test_a_digit_is_recognised(trained) -> None:
    split = digits.load().train
    for row in (0, 2, 4):
        pixels = (split.images[row] * (255 / 16)).astype(np.uint8)
        Image.fromarray(255 - pixels).resize((160, 160), Image.Resampling.NEAREST).save("d.png")
        code, out, _ = trained("d.png")
        assert code == 0
        lines = out.splitlines()
        assert lines[0] == "d.png, as net sees it:"
        assert all(set(line) & set("░▒▓█") for line in lines[1:5])
        first = next(line for line in lines if "%" in line)
        assert int(first.split()[0]) == split.labels[row]
        assert sum("%" in line for line in lines) == 10


def test_mistakes_are_reported(trained) -> None:
    Image.fromarray(bar(28, 28, (4, 4), (20, 5))).save("d.png")
    Path("other.py").write_text(NET.replace("net(x", "other(x"))
    for arguments, says in (
        (("none.png",), "none.png cannot be read as a picture"),
        (("d.png", "nowhere"), "nowhere cannot be read"),
        (("d.png", "runs/net", "other.py"), "is a checkpoint of another network"),
    ):
        code, _, err = trained(*arguments)
        assert code == 2
        assert says in err
        assert "Traceback" not in err
