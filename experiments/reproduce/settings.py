"""The settings that every paper has, of a run and not of its experiments."""

import dataclasses
from typing import Any

from experiments.settings import FindTicket
from ltjax.command import config
from ltjax.command.config import setting
from ltjax.training import population


@dataclasses.dataclass(frozen=True, kw_only=True)
class PaperSettings(config.Settings):
    """Where a run lies, how it is spread, and which experiments are wanted."""

    experiments: tuple[str, ...] = setting(
        (), "Experiments, as 004-F7,004-F8; empty for all.", identity=False
    )
    seed: int = setting(0, "Everything random comes from it.", within="[0, 4000000]")
    data_dir: str = setting(
        "", "Prepared TFDS data; empty: TFDS's own place.", identity=False, check=config.path
    )
    out: str = setting("runs", "Directory of all runs.", identity=False, check=config.path)
    devices: int = setting(0, "Devices to spread over; 0: all (cores, on a CPU).", identity=False)
    layout: str = setting(
        "auto",
        "Members of one device by map or vmap; auto chooses.",
        identity=False,
        choices=("auto", *population.LAYOUTS),
    )
    save_seconds: float = setting(
        60.0, "Between saves inside a level.", unit="seconds", identity=False
    )
    list: bool = setting(
        False, "List the experiments with an estimate of the time here, and stop.", identity=False
    )
    dry_run: bool = setting(False, "Print the plan and stop; nothing is made.", identity=False)

    def as_search(self, **fields: Any) -> FindTicket:
        """The settings of a search with these fields, run where and as this paper is."""
        return FindTicket(
            data_dir=self.data_dir,
            devices=self.devices,
            layout=self.layout,
            save_seconds=self.save_seconds,
            out=self.out,
            **fields,
        )
