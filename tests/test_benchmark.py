"""The benchmark: both sides do the same work, and the table says what was measured."""

import dataclasses
import json
import subprocess
import sys

import jax
import numpy as np
import pytest

from experiments import benchmark, benchmark_jax, benchmark_work, build
from experiments.benchmark import Benchmark
from experiments.benchmark_work import WORKS

TINY = dataclasses.replace(WORKS["mlp-tiny"], steps=20000)


@pytest.mark.parametrize("name", WORKS)
def test_a_work_survives_the_command_line(name):
    assert benchmark_work.work_of(benchmark_work.arguments(WORKS[name], threads=2)) == (
        WORKS[name],
        {"threads": 2},
    )


@pytest.mark.parametrize("name", WORKS)
def test_our_side_trains_the_settings_of_the_work(name):
    work = WORKS[name]
    chosen = benchmark_jax.settings(work)
    source = benchmark_jax.dataset(dataclasses.replace(work, images=work.batch_size))
    how = build.recipe(chosen, build.network(chosen, source), source)
    assert (how.batch_size, how.steps, how.snapshot) == (work.batch_size, work.steps, 1)
    assert float(how.schedule(np.int32(0))) == pytest.approx(work.learning_rate)
    assert build.validation(chosen, source) == 0


def test_members_differ_and_their_biases_are_never_pruned():
    work = dataclasses.replace(WORKS["mlp-tiny"], images=50)
    net = build.network(benchmark_jax.settings(work), benchmark_jax.dataset(work))
    population = benchmark_jax.members(work, net)
    for leaf in jax.tree.leaves(population.mask):
        if leaf.ndim == 2:
            assert leaf.all()
        elif leaf[0].size > 50:
            assert 0.05 < leaf.mean() < 0.4
            assert (leaf[0] != leaf[1]).any()


@pytest.mark.parametrize("name", WORKS)
def test_pytorch_trains_as_many_parameters_and_holds_the_same_kind(name):
    pytest.importorskip("torch", reason="the comparison needs ltjax[bench]")
    from experiments import benchmark_torch

    work = WORKS[name]
    source = benchmark_jax.dataset(dataclasses.replace(work, images=1))
    ours = build.network(benchmark_jax.settings(work), source).shapes().params
    theirs = list(benchmark_torch.network(work).parameters())
    for pruned in (False, True):
        assert sorted(leaf.size for leaf in jax.tree.leaves(ours) if (leaf.ndim > 1) == pruned) == (
            sorted(p.numel() for p in theirs if (p.ndim > 1) == pruned)
        )


@pytest.mark.parametrize("name", ["mlp-tiny", "resnet-tiny"])
def test_pytorch_learns_and_holds_its_zeros(name):
    torch = pytest.importorskip("torch", reason="the comparison needs ltjax[bench]")
    from experiments import benchmark_torch

    work = dataclasses.replace(WORKS[name], images=2 * WORKS[name].batch_size, density=0.5)
    torch.manual_seed(0)
    torch.set_num_threads(1)  # Several threads wait for each other, long on a busy machine.
    net = benchmark_torch.network(work)
    run = benchmark_torch.steps(work, net)
    losses = [float(next(run)) for _ in range(60)]
    assert np.mean(losses[-4:]) < np.mean(losses[:4])
    kernels = [p for p in net.parameters() if p.ndim > 1]
    live = sum(int((p != 0).sum()) for p in kernels) / sum(p.numel() for p in kernels)
    assert 0.4 < live < 0.6


def test_a_run_without_pytorch_measures_our_side_and_says_what_is_missing(
    monkeypatch, capsys, tmp_path
):
    monkeypatch.setattr(benchmark.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setitem(WORKS, "mlp-tiny", TINY)
    out = tmp_path / "bench.json"
    found = benchmark.run(Benchmark(models=("mlp-tiny",), rounds=2, seconds=0.01, out=str(out)))
    said = capsys.readouterr().out
    assert [row["contestant"] for row in found] == ["ltjax, 1 member", "ltjax, 3 members"]
    assert "pip install 'ltjax[bench]'" in said
    assert json.loads(out.read_text())["rows"][1]["rounds"] == found[1]["rounds"]
    for row in found:
        assert len(row["rounds"]) == 2
        assert row["step"] > 0
        assert 0 <= row["evaluation_share"] < 1
        assert row["memory"] > 50
        assert row["to_pytorch"] is None
        assert f"| mlp-tiny | {row['contestant']} |" in said


def _ran(name, steps, **ready):
    contestant = benchmark.Contestant.__new__(benchmark.Contestant)
    contestant.name, contestant.ready = name, {"parameters": 7, **ready}
    more = {"entry": 0.5, "evaluated_image": 1e-3} if ready else {}
    contestant.rounds = [{"step": s, "memory": 100.0, **more} for s in steps]
    return contestant


def test_ratios_are_medians_within_rounds_and_above_one_where_we_are_faster():
    work = dataclasses.replace(WORKS["conv2"], images=1500, batch_size=100)
    ran = [
        _ran("PyTorch, 2 threads", [0.4, 0.8, 1.2]),
        _ran("PyTorch, 2 processes", [0.3, 0.6, 0.9]),
        _ran("ltjax, 4 members", [0.1, 0.4, 0.4], entry=2.5),
    ]
    threads, processes, ours = benchmark.rows("conv2", work, ran, torch=True)
    assert threads["to_pytorch"] == processes["to_processes"] == 1
    assert threads["compile"] is threads["evaluation_share"] is None
    assert ours["step"] == 0.4
    assert ours["step_range"] == (0.1, 0.4)
    assert ours["to_pytorch"] == pytest.approx(3.0)  # of 4, 2, 3; medians alone would say 2
    assert ours["to_processes"] == pytest.approx(2.25)
    assert ours["compile"] == pytest.approx(2.0)
    assert ours["evaluation_share"] == pytest.approx(15 / (15 + 6))
    line = benchmark.table([ours]).splitlines()[-1]
    assert line.startswith("| conv2 | ltjax, 4 members | 400.0 ms (100.0 ms - 400.0 ms) | 2.5 |")
    assert line.count("|") == benchmark.table([]).splitlines()[0].count("|")


class _Echo(benchmark.Contestant):
    """Two processes that answer as they are told."""

    def __init__(self, *answers):
        self.name, self.ready, self.rounds = "echo", {}, []
        code = "import sys; sys.stdin.readline(); print(sys.argv[1], flush=True)"
        self._children = [
            subprocess.Popen(
                [sys.executable, "-c", code, answer],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for answer in answers
        ]


def _answer(step):
    return json.dumps({"step": step, "memory": 10.0})


def test_processes_side_by_side_add_their_speeds_and_memory():
    both = _Echo(_answer(0.2), _answer(0.3))
    both.measure(1.0)
    both.close()
    assert both.rounds[0]["step"] == pytest.approx(1 / (1 / 0.2 + 1 / 0.3))
    assert both.rounds[0]["memory"] == 20


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [("", OSError, "ended early"), (_answer(-1.0), ValueError, "raise --steps")],
)
def test_a_contestant_that_cannot_measure_is_refused(answer, error, words):
    echo = _Echo(answer)
    if not answer:
        echo._children[0].kill()
        echo._children[0].wait()
    with pytest.raises((error, BrokenPipeError), match=words if answer else None):
        echo.measure(1.0)
    echo.close()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"models": ("conv3",)}, "conv2"),
        ({"models": ()}, "at least one row"),
        ({"rounds": 0}, "rounds lies in"),
        ({"seconds": 0.0}, "seconds lies in"),
        ({"members": -1}, "members lies in"),
        ({"steps": 2}, "at least 3"),
        ({"out": "no/such/place.json"}, "make it first"),
    ],
)
def test_bad_settings_are_refused_before_anything_starts(changes, words, monkeypatch):
    monkeypatch.setattr(benchmark, "compete", None)
    with pytest.raises(ValueError, match=words):
        benchmark.run(Benchmark(**changes))
