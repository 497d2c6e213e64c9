"""What a reader of the terminal or of a log sees, and that no stream can stop the work."""

import contextlib
import fcntl
import io
import os
import struct
import termios

import pytest

from ltjax.command.progress import Progress


class Clock:
    """Seconds that pass only when told."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


class Terminal(io.StringIO):
    def isatty(self):
        return True


class Broken(io.StringIO):
    def write(self, _):
        raise BrokenPipeError


def run(stream, total, moves, **settings):
    """Does `moves`, pairs of seconds and of units done in them."""
    clock = Clock()
    with Progress(total, label="train", stream=stream, clock=clock, **settings) as progress:
        for seconds, n in moves:
            clock.now += seconds
            progress.advance(n)
    return stream.getvalue().splitlines()


def test_plain_lines_say_how_much_is_done_and_the_time_left():
    assert run(io.StringIO(), 3000, [(8, 1200), (12, 1800)]) == [
        "train 0 % (0 of 3000 steps)",
        "train 40 % (1200 of 3000 steps) 12 s left",
        "train 100 % (3000 of 3000 steps) done in 20 s",
    ]


@pytest.mark.parametrize(
    ("moves", "between"),
    [
        pytest.param([(0.01, 1)] * 1000, 9, id="fast: every tenth"),
        pytest.param([(1, 1)] * 1000, 99, id="slow: every ten seconds"),
        pytest.param([(60, 500), (60, 500)], 1, id="coarse: every report"),
    ],
)
def test_plain_lines_are_few(moves, between):
    shown = run(io.StringIO(), 1000, moves)
    assert len(shown) == between + 2
    assert shown[0] == "train 0 % (0 of 1000 steps)"
    assert shown[-1].startswith("train 100 % (1000 of 1000 steps) done in ")


@pytest.mark.parametrize(
    ("seconds", "words"), [(59, "59 s"), (185, "3 min 5 s"), (2 * 3600 + 600, "2 h 10 min")]
)
def test_time_is_told_in_words(seconds, words):
    assert f"50 % (1 of 2 steps) {words} left" in run(io.StringIO(), 2, [(seconds, 1)])[1]


def test_skipped_work_does_not_promise_speed():
    clock, stream = Clock(), io.StringIO()
    with Progress(100, label="train", stream=stream, clock=clock) as progress:
        progress.skip(80)
        clock.now += 10
        progress.advance(10, "level 3")
    # 10 units took 10 s and 10 are left; the 80 came for nothing.
    assert "train 90 % (90 of 100 steps) 10 s left, level 3" in stream.getvalue()


def test_a_failure_is_not_called_done():
    stream = io.StringIO()
    with pytest.raises(TypeError, match="unsupported"):
        run(stream, 10, [(0, 5), (0, None)])
    assert stream.getvalue().splitlines()[-1] == "train 50 % (5 of 10 steps) stopped after 0 s"


def test_no_work_is_all_done():
    assert run(io.StringIO(), 0, [])[-1] == "train 100 % (0 of 0 steps) done in 0 s"


def test_a_terminal_gets_a_bar():
    stream = Terminal()
    with Progress(10, unit="level", label="train", stream=stream) as progress:
        progress.skip(4)
        progress.advance(6, "density 0.8")
    shown = stream.getvalue()
    assert "\r" in shown
    assert "train 100 %" in shown
    assert "10 of 10 levels" in shown
    assert "density 0.8" in shown


@pytest.mark.parametrize(("columns", "shown"), [(100, "100 %|█"), (0, "100 % (3 of 3 steps) done")])
def test_a_terminal_of_unknown_width_gets_lines(columns, shown):
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    with (
        open(theirs, "w", encoding="utf-8") as stream,
        Progress(3, label="train", stream=stream) as progress,
    ):
        progress.advance(3)
    text = b""
    with contextlib.suppress(OSError):  # So a terminal ends whose other side is closed.
        while part := os.read(ours, 10_000):
            text += part
    os.close(ours)
    assert shown in text.decode()


def test_skipped_work_does_not_count_in_the_rate_of_the_bar():
    with Progress(100, label="train", stream=Terminal()) as progress:
        progress.skip(80)
        progress.advance(10)
        state = progress._bar.format_dict
    assert (state["n"], state["initial"]) == (90, 80)  # tqdm's rate is (n - initial) / elapsed.


@pytest.mark.parametrize("terminal", [False, True])
@pytest.mark.parametrize("kind", [io.StringIO, Broken])
def test_no_stream_stops_the_work(kind, terminal):
    stream = kind()
    stream.isatty = lambda: terminal
    with Progress(10, label="train", stream=stream) as progress:
        if kind is io.StringIO:
            stream.close()
        progress.advance(5)
        progress.skip(1)
        progress.advance(4)
    assert progress._done == 10


def test_without_standard_error_nothing_is_shown(monkeypatch, capsys):
    monkeypatch.setattr("sys.stderr", None)
    with Progress(2, label="train") as progress:
        progress.advance(2)
    assert capsys.readouterr().out == ""
