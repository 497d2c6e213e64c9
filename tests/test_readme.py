"""What the README shows runs as it stands."""

import pathlib
import re

import jax
import optax

README = (pathlib.Path(__file__).parent.parent / "README.md").read_text()


def test_the_library_example_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    whole, chain = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    names = {"__name__": "readme"}
    exec(compile(whole + chain, "README.md", "exec"), names)
    table = capsys.readouterr().out
    assert "redrawn" in table
    ticket, params = names["ticket"], names["params"]
    assert (tmp_path / "my-ticket.safetensors").stat().st_size > 0
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
