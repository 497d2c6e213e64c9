import dataclasses
import functools
import os
import subprocess
import sys
import textwrap

from absl import flags
import pytest

from ltjax.command import config


@dataclasses.dataclass(frozen=True, kw_only=True)
class Find(config.Settings):
    model: str = config.setting("lenet-300-100", "Network by name.")
    levels: int = config.setting(8, "Rounds of pruning.", unit="rounds")
    rate: float = config.setting(0.2, "Share of the kept weights pruned a round.")
    early: bool = config.setting(False, "Stop early.")
    reset: tuple[str, ...] = config.setting(("weights",), "What is reset.")
    out: str = config.setting("runs", "Directory of all runs.", identity=False)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Transfer(Find):
    target: str = config.setting("digits", "Data to move to.")


PRESETS = {
    "quick": {"levels": 2, "rate": 0.5},
    "paper": {"levels": 12, "reset": ["weights", "norm"], "rate": 1},
}


def parse(*args, default="", presets=PRESETS):
    values = flags.FlagValues()
    read = config.define_flags(Transfer, values, presets=presets, default=default)
    values(["binary", *args])
    made = read()
    assert read.given == {arg[2:].partition("=")[0] for arg in args} - {"preset"}
    return made


def test_no_flags_give_the_defaults():
    assert parse() == parse(presets=None) == Transfer()


@pytest.mark.parametrize(
    ("arg", "field", "value"),
    [
        ("--model=conv2", "model", "conv2"),
        ("--levels=3", "levels", 3),
        ("--rate=1", "rate", 1.0),
        ("--early", "early", True),
        ("--early=false", "early", False),
        ("--reset=weights,norm", "reset", ("weights", "norm")),
        ("--reset=", "reset", ()),
        ("--target=xor", "target", "xor"),
    ],
)
def test_a_flag_sets_its_field_and_no_other(arg, field, value):
    read = parse(arg)
    assert read == dataclasses.replace(Transfer(), **{field: value})
    assert type(getattr(read, field)) is type(value)


@pytest.mark.parametrize(
    ("args", "default", "levels", "rate"),
    [
        (["--preset=quick"], "", 2, 0.5),
        (["--preset=quick", "--levels=5"], "", 5, 0.5),
        (["--levels=8", "--preset=quick"], "", 8, 0.5),  # The default, given explicitly.
        (["--rate=0.1"], "", 8, 0.1),
        ([], "paper", 12, 1.0),
        (["--preset="], "paper", 12, 1.0),
        (["--preset=quick"], "paper", 2, 0.5),
        (["--preset=quick", "--rate=0.2"], "paper", 2, 0.2),
    ],
)
def test_a_flag_wins_over_a_preset_over_the_default_preset_over_the_default(
    args, default, levels, rate
):
    read = parse(*args, default=default)
    assert (read.levels, read.rate) == (levels, rate)
    assert read.reset == (("weights", "norm") if default else ("weights",))
    words = dict(arg[2:].split("=") for arg in args)
    changes = {name: type(getattr(read, name))(text) for name, text in words.items()
               if name != "preset"}  # fmt: skip
    name = words.get("preset", "")
    assert config.preset(Transfer, PRESETS, name, default=default, **changes) == read


def test_the_default_preset_is_the_default_that_the_help_shows():
    values = flags.FlagValues()
    _ = config.define_flags(Find, values, presets=PRESETS, default="paper")
    shown = " ".join(values.get_help().split())
    assert "--levels: Rounds of pruning. [rounds] (default: '12')" in shown
    assert (
        "A set of settings: quick, paper. Flags beside it win over it. (default: 'paper')" in shown
    )


def test_preset_values_take_the_type_of_their_field():
    read = parse("--preset=paper")
    assert read.reset == ("weights", "norm")
    assert type(read.rate) is float


@pytest.mark.parametrize(
    "make", [lambda: parse("--preset=quik"), lambda: config.preset(Find, PRESETS, "quik")]
)
def test_unknown_preset_names_the_near_ones(make):
    with pytest.raises(ValueError, match=r"no preset 'quik'; did you mean quick\? there are"):
        make()


@pytest.mark.parametrize("row", [{"level": 2}, {"levels": 2.5}, {"levels": True}])
def test_a_preset_that_does_not_fit_fails_at_once(row):
    with pytest.raises((KeyError, AssertionError)):
        config.define_flags(Find, flags.FlagValues(), presets={"bad": row})


def test_a_field_again_has_another_default_and_the_same_rules():
    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Few(Find):
        levels: int = config.override(Find, "levels", 3, alias="rounds", within="[1, 4]")

    values = flags.FlagValues()
    read = config.define_flags(Few, values)
    assert "Rounds of pruning. [rounds; [1, 4]; also --rounds]" in values.get_help()
    values(["binary", "--rounds=4"])
    assert (Few().levels, read().levels, read.given) == (3, 4, {"levels"})
    with pytest.raises(ValueError, match=r"levels lies in \[1, 4\]; got 5"):
        Few(levels=5)


@pytest.mark.parametrize("arg", ["--levels=many", "--rate=x", "--modle=lenet"])
def test_bad_flags_are_flag_errors(arg):
    with pytest.raises(flags.Error):
        parse(arg)


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        (Find(), "find-734c29b8"),
        (Find(levels=3), "find-d9d215b0"),
        (Find(rate=0.1, reset=("weights", "norm")), "find-53018e2f"),
        (Transfer(), "find-ea8fb654"),
    ],
)
def test_run_ids_are_frozen(settings, name):
    """These names are on users' disks. Change the settings class or `version`, never the rule."""
    assert config.run_id(settings, prefix="find") == name


def test_run_id_ignores_new_fields_at_their_default_and_what_is_not_identity():
    old = config.run_id(Find(levels=3), prefix="a")
    fields = [("new", int, config.setting(0, "New."))]
    newer = dataclasses.make_dataclass("Find", fields, bases=(Find,), frozen=True, kw_only=True)
    assert config.run_id(newer(levels=3), prefix="a") == old
    assert config.run_id(newer(levels=3, new=1), prefix="a") != old
    assert config.run_id(Find(levels=3, out="elsewhere"), prefix="a") == old
    assert config.run_id(Find(levels=3), prefix="a", version=2) != old


def test_run_id_knows_numbers_not_their_spelling():
    assert config.run_id(Find(rate=1), prefix="a") == config.run_id(Find(rate=1.0), prefix="a")


def test_as_dict_is_what_json_reads_back():
    assert config.as_dict(Find())["reset"] == ["weights"]
    assert config.as_dict(Find())["out"] == "runs"
    assert "out" not in config.as_dict(Find(), identity_only=True)
    assert set(config.as_dict(Find())) == {f.name for f in dataclasses.fields(Find)}


@pytest.mark.parametrize(
    ("text", "examples", "batch", "expected"),
    [
        ("0", 100, 10, 0),
        ("0it", 100, 10, 0),
        ("50000it", 100, 10, 50_000),
        ("1ep", 100, 10, 10),
        ("1ep", 101, 10, 11),
        ("2ep", 105, 10, 21),  # Not 2 * 11: the batch in the middle straddles the epochs.
        ("160ep", 50_000, 128, 62_500),
        ("0.5ep", 60_000, 60, 500),
        ("0.07ep", 100, 1, 7),  # Binary floating point gives 8.
    ],
)
def test_steps(text, examples, batch, expected):
    assert config.steps(text, examples=examples, batch=batch) == expected


def test_lists_of_numbers():
    assert config.pairs("conv=0.1, dense=0.2") == {"conv": 0.1, "dense": 0.2}
    assert config.floats("1.0,.5") == (1.0, 0.5)
    assert (config.pairs(""), config.floats("")) == ({}, ())


_STEPS = functools.partial(config.steps, examples=10, batch=2)
_UNIT = ("12", "", "ep", "-1ep", "1.5it", "3epochs", "1e3it", "end", "it")


@pytest.mark.parametrize(
    ("read", "text", "message"),
    [
        *((_STEPS, text, f"as 50000it or 160ep; got {text!r}") for text in _UNIT),
        *((config.pairs, text, "name=number") for text in ("conv", "=0.1", "conv=0.1,")),
        *((config.floats, text, "finite number") for text in ("1,,2", "nan", "inf")),
        (config.pairs, "conv=x", "finite number"),
        (config.pairs, "conv=1,conv=2", "twice"),
    ],
)
def test_a_text_that_cannot_be_read_is_one_line(read, text, message):
    with pytest.raises(ValueError, match=message) as caught:
        read(text)
    assert "\n" not in str(caught.value)


BINARY = """
import dataclasses, os, sys
from absl import logging
from ltjax.command import config, launch

@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings(config.Settings):
    fault: str = config.setting("none", "What goes wrong.")
    levels: int = config.setting(8, "Rounds of pruning.", unit="rounds")
    calm: bool = config.setting(False, "Nothing.")

_SETTINGS = config.define_flags(Settings, presets={"few": {"levels": 2}})

class Dying:
    def __init__(self, number):
        self.number = number
    def __del__(self):  # An exception that comes up here is lost.
        os.kill(os.getpid(), self.number)
        sum(range(1000))

def swallowed(number):
    Dying(number)

def main():
    settings = _SETTINGS()
    logging.info("chatter")
    if settings.fault == "value":
        raise ValueError("rate is in [0, 1);\\n  got 2")
    if settings.fault == "file":
        open("/nowhere/at/all")
    if settings.fault == "full":
        raise OSError(28, "No space left on device", "/some/where")
    if settings.fault == "interrupt":
        swallowed(2)
    if settings.fault == "stop":
        swallowed(15)
    if settings.fault == "bug":
        raise KeyError("bug")
    print("levels", settings.levels)

if __name__ == "__main__":
    launch.run(main)
"""


@pytest.fixture(scope="module")
def binary(tmp_path_factory):
    path = tmp_path_factory.mktemp("binary") / "binary.py"
    path.write_text(textwrap.dedent(BINARY))

    def call(*args, **env):
        return subprocess.run(
            [sys.executable, path, *args],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "JAX_PLATFORMS": "cpu", **env},
        )

    return call


def test_help_lists_the_settings_under_the_binary(binary):
    shown = " ".join(binary("--help").stdout.split())
    assert "--levels: Rounds of pruning. [rounds] (default: '8') (an integer)" in shown
    assert "--preset: A set of settings: few." in shown
    assert "--fault: What goes wrong. (default: 'none')" in shown


@pytest.mark.parametrize(
    ("args", "error"),
    [
        (["--fault=value"], "error: rate is in [0, 1); got 2\n"),
        (["--fault=file"], "error: [Errno 2] No such file or directory: '/nowhere/at/all'\n"),
        (
            ["--fault=full"],
            "'/some/where'; make room, and the same command goes on where it stopped\n",
        ),
        (["--levels=-1"], "error: levels lies in [0, 2147483647]; got -1\n"),
        (["--preset=fewer"], "error: no preset 'fewer'; did you mean few? there are: few\n"),
        (["--level=2"], "Did you mean: levels ? (--help lists the flags)\n"),
        (["--nocalm=1"], "does not take an argument (--help lists the flags)\n"),
        (["stray"], "error: unexpected argument 'stray'; settings are flags, as --name=value\n"),
    ],
)
def test_what_a_user_can_repair_is_one_line(binary, args, error):
    done = binary(*args)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.endswith(error)
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1


def test_a_good_run_says_nothing_on_stderr_and_faults_keep_their_traceback(binary):
    done = binary("--preset=few")
    assert (done.returncode, done.stdout, done.stderr) == (0, "levels 2\n", "")
    assert "Traceback" in binary("--fault=bug").stderr
    assert "Traceback" in binary("--fault=value", LTJAX_DEBUG="1").stderr


@pytest.mark.parametrize(("fault", "code"), [("interrupt", 130), ("stop", 143)])
def test_an_interrupt_is_one_line(binary, fault, code):
    done = binary(f"--fault={fault}")
    assert done.returncode == code
    assert done.stderr == "interrupted; the same command goes on where it stopped\n"


TABLE = {"one": 1}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ruled(config.Settings):
    row: str = config.setting("one", "A row.", choices=TABLE)
    rows: tuple[str, ...] = config.setting((), "Rows.", choices=TABLE)
    share: float = config.setting(0.5, "A share.", within="(0, 1]")
    count: int = config.setting(3, "A count.", within="[1, 9]", alias="number")
    length: str = config.setting("1ep", "A length.", check=config.duration)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"row": "two"}, r"no row 'two'; there are: one"),
        ({"row": ""}, "no row ''"),
        ({"rows": ("one", "two")}, "no rows 'two'"),
        ({"rows": "one"}, "rows is a list of texts; got 'one'"),
        ({"share": 0.0}, r"share lies in \(0, 1\]; got 0.0"),
        ({"share": float("nan")}, "got nan"),
        ({"share": 10**400}, "share lies in"),
        ({"count": 10}, r"count lies in \[1, 9\]; got 10"),
        ({"count": True}, "count is a whole number; got True"),
        ({"count": 2.0}, "count is a whole number; got 2.0"),
        ({"length": "1"}, "length: a duration is"),
    ],
)
def test_settings_that_break_a_rule_cannot_be_made_on_any_way(values, words):
    for make in (
        lambda: Ruled(**values),
        lambda: dataclasses.replace(Ruled(), **values),
        lambda: config.from_dict(Ruled, values, what="the file"),
    ):
        with pytest.raises(ValueError, match=words) as caught:
            _ = make()
        assert "\n" not in str(caught.value)


def test_rules_are_read_when_a_value_is_checked_and_shown_in_the_help(monkeypatch):
    monkeypatch.setitem(TABLE, "two", 2)
    assert Ruled(row="two", share=1, count=9).row == "two"
    values = flags.FlagValues()
    _ = config.define_flags(Ruled, values)
    shown = " ".join(values.get_help().split())
    assert "A share. [(0, 1]]" in shown
    assert "A count. [[1, 9]; also --number]" in shown


@pytest.mark.parametrize("values", [[], "x", {}, {"other": 1}, None])
def test_what_is_no_settings_is_one_sentence(values):
    with pytest.raises(ValueError, match="the file holds no settings of Ruled; give another"):
        _ = config.from_dict(Ruled, values, what="the file")
