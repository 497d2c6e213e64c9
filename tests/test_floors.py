"""The house has floors: a module imports only what lies below it."""

import ast
import itertools
import pathlib

import pytest

import ltjax

ROOT = pathlib.Path(ltjax.__file__).parent
NOTES = (ROOT.parent / "BUILD_NOTES.md").read_text()
BLOCK = NOTES.partition("## The house")[2].split("```")[1]
"""The one list of the floors, lowest first: rooms of one floor stand on one line."""
ROOMS = {path.name for path in ROOT.iterdir() if path.is_dir()}
FLOORS = [
    set(itertools.takewhile(ROOMS.__contains__, line.split()))
    for line in BLOCK.strip().splitlines()
]
FLOOR = {name: number for number, names in enumerate(FLOORS) for name in names}
MODULES = sorted(
    path.stem
    for path in ROOT.iterdir()
    if (path.suffix == ".py" or (path / "__init__.py").exists()) and path.stem != "__init__"
)


def files(module):
    package = ROOT / module
    return sorted(package.rglob("*.py")) if package.is_dir() else [ROOT / f"{module}.py"]


def imported(path):
    """Dotted names of everything that a file imports, at any depth of its code."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name} has a relative import"
            yield from (f"{node.module}.{alias.name}".split(".") for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name.split(".") for alias in node.names)


def test_every_module_has_one_floor():
    assert sorted(FLOOR) == MODULES
    assert sum(map(len, FLOORS)) == len(FLOOR)


@pytest.mark.parametrize("module", MODULES)
def test_imports_go_down(module):
    for path in files(module):
        for package, *names in imported(path):
            assert package != "experiments", f"{path.name} must not know the experiments"
            if package == "ltjax" and names[0] != module:
                if names[0] not in FLOOR:
                    raise AssertionError(f"{path.name} must import rooms, not {names[0]}")
                below = FLOOR[names[0]] < FLOOR[module]
                assert below, f"{path.name} must not import ltjax.{names[0]}"


@pytest.mark.parametrize(
    ("framework", "door"),
    [
        ("flax", "models"),
        ("tensorflow_datasets", "data"),
        ("orbax", "storage"),
        ("safetensors", "storage"),
    ],
)
def test_a_framework_stops_at_its_door(framework, door):
    for module in MODULES:
        for path in files(module):
            if framework in {package for package, *_ in imported(path)}:
                assert module == door, f"{path.name} must leave {framework} to ltjax.{door}"
