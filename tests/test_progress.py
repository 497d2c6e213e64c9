"""What a reader of the terminal or of a log sees, and that no stream can stop the work."""

import contextlib
import fcntl
import io
import os
import struct
import termios

import pytest

from ltjax.command.progress import Progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


class Broken(io.StringIO):
    def write(self, _):
        raise BrokenPipeError


def run(stream, total, moves, *, skipped=0, note="", **settings):
    """Does `moves`, pairs of seconds that pass and of units done in them."""
    now = [1000.0]
    with Progress(
        total, label="train", stream=stream, clock=lambda: now[0], **settings
    ) as progress:
        progress.skip(skipped)
        for seconds, n in moves:
            now[0] += seconds
            progress.advance(n, note)
    return stream.getvalue().splitlines()


@pytest.mark.parametrize(
    ("total", "moves", "between"),
    [
        (3000, [(8, 1200), (12, 1800)], ["train 40 % (1200 of 3000 steps) 12 s left"]),
        (2, [(59, 1), (0, 1)], ["train 50 % (1 of 2 steps) 59 s left"]),
        (2, [(185, 1), (0, 1)], ["train 50 % (1 of 2 steps) 3 min 5 s left"]),
        (2, [(7800, 1), (0, 1)], ["train 50 % (1 of 2 steps) 2 h 10 min left"]),
        (0, [], []),
        (1000, [(0.01, 1)] * 1000, 9),  # Fast: every tenth.
        (1000, [(1, 1)] * 1000, 99),  # Slow: every ten seconds.
        (1000, [(60, 500), (60, 500)], 1),  # Coarse: every report.
    ],
)
def test_plain_lines_are_few_and_say_how_much_is_done_and_the_time_left(total, moves, between):
    first, *found, last = run(io.StringIO(), total, moves)
    assert first == f"train {100 if not total else 0} % (0 of {total} steps)"
    assert last.startswith(f"train 100 % ({total} of {total} steps) done in ")
    assert between in (found, len(found))


def test_skipped_work_does_not_promise_speed():
    shown = run(io.StringIO(), 100, [(10, 10)], skipped=80, note="level 3")
    # 10 units took 10 s and 10 are left; the 80 came for nothing.
    assert shown[1] == "train 90 % (90 of 100 steps) 10 s left, level 3"
    with Progress(100, label="train", stream=Terminal()) as progress:
        progress.skip(80)
        progress.advance(10)
        state = progress._bar.format_dict
    assert (state["n"], state["initial"]) == (90, 80)  # tqdm's rate is (n - initial) / elapsed.


def test_a_failure_is_not_called_done():
    stream = io.StringIO()
    with pytest.raises(TypeError, match="unsupported"):
        run(stream, 10, [(0, 5), (0, None)])
    assert stream.getvalue().splitlines()[-1] == "train 50 % (5 of 10 steps) stopped after 0 s"


def test_a_terminal_gets_a_bar():
    shown = "".join(run(Terminal(), 10, [(1, 6)], skipped=4, note="density 0.8", unit="level"))
    for words in ("train   0 %|", "train 100 %", "10 of 10 levels", "density 0.8"):
        assert words in shown


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


@pytest.mark.parametrize("terminal", [False, True])
@pytest.mark.parametrize("kind", [io.StringIO, Broken, None])
def test_no_stream_stops_the_work(kind, terminal, monkeypatch, capsys):
    stream = kind and kind()
    if stream is None:
        monkeypatch.setattr("sys.stderr", None)
    else:
        stream.isatty = lambda: terminal
    with Progress(10, label="train", stream=stream) as progress:
        if kind is io.StringIO:
            stream.close()
        progress.advance(5)
        progress.skip(1)
        progress.advance(4)
    assert progress._done == 10
    assert capsys.readouterr().out == ""
