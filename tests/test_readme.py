"""What the README shows runs as it stands."""

import pathlib
import re
import textwrap

import jax
import numpy as np
import optax

from ltjax.storage import portable

README = (pathlib.Path(__file__).parent.parent / "README.md").read_text()


def test_the_library_example_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    names = {"__name__": "readme"}
    exec(compile("".join(blocks), "README.md", "exec"), names)
    table = capsys.readouterr().out
    assert "redrawn" in table
    ticket, params = names["ticket"], names["params"]
    # The third block knows nothing of ltjax, and is what the docstring of `portable` shows.
    assert "ltjax" not in blocks[2]
    assert textwrap.indent(blocks[2], "    ").replace("    \n", "\n") in portable.__doc__
    np.testing.assert_array_equal(names["kernel"], params["Dense_0"]["kernel"])
    state = names["optimizer"].init(params)
    grads = jax.tree.map(lambda p: p + 1, params)
    updates, _ = names["optimizer"].update(grads, state, params)
    moved = optax.apply_updates(params, updates)
    for p, m in zip(jax.tree.leaves(moved), jax.tree.leaves(ticket.mask), strict=True):
        assert bool((p[~m] == 0).all())
        assert bool((p[m] != 0).all())


def test_both_commands_stand_alone_at_the_top():
    first, second = re.findall(r"```bash\n(.*?)```", README, re.DOTALL)[:2]
    for block in (first, second):
        assert block.startswith("python3 -m venv ")
        assert block.count("\n") == 1
    assert "experiments.transfer_ticket" in first
    assert "pytest" in second
