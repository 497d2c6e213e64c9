r"""Downloads a TFDS data set and prepares it so that it can be read without TensorFlow.

    pip install 'ltjax[prepare]'
    python -m ltjax.data.prepare --data=mnist --data_dir=$HOME/tensorflow_datasets

Needs the network and TensorFlow, once. Prints the directory; ltjax then reads it with the same
`data_dir`.
"""

from collections.abc import Sequence
import importlib.util
import sys

from absl import app, flags

from ltjax.data import prepared, table, tfds_source


def prepare(name: str, data_dir: str | None, *, dry_run: bool = False) -> str:
    """Downloads and prepares a data set as array_record.

    Args:
      name: a TFDS name, with its configuration where it has several.
      data_dir: None for the environment's `TFDS_DATA_DIR`, else `~/tensorflow_datasets`.
      dry_run: only say what would be done.

    Returns:
      The prepared directory, or what would be done.

    Raises:
      ValueError: for an unknown name, where TensorFlow is missing, where the data is there in
        another format, and where TFDS fails.
    """
    prepared.check_registered(name, table.DATASETS)
    root = prepared.directory(data_dir, prepared.DATA)
    if dry_run:
        return f"would prepare {name} in {root}"
    if importlib.util.find_spec("tensorflow") is None:
        raise ValueError(
            "preparing data needs TensorFlow (reading it does not); "
            "run: pip install 'ltjax[prepare]'"
        )
    try:
        builder = tfds_source.import_tfds().builder(name, data_dir=root)
        builder.download_and_prepare(file_format="array_record")
    except Exception as error:  # Builders, downloads and parsers raise what they like.
        raise ValueError(
            f"data set {name!r} cannot be prepared in {str(root)!r}: {tfds_source.one_line(error)}"
        ) from error
    formats = {f.value for f in builder.info.available_file_formats()}
    if "array_record" not in formats:
        raise ValueError(
            f"{str(builder.data_path)!r} is prepared already, as {', '.join(sorted(formats))}; "
            "give another data_dir or delete it"
        )
    return str(builder.data_path)


def main(argv: Sequence[str], name: str, data_dir: str | None, *, dry_run: bool = False) -> None:
    """Prepares, and prints where."""
    if len(argv) > 1:
        raise app.UsageError(f"unexpected arguments: {argv[1:]}")
    try:
        print(prepare(name, data_dir, dry_run=dry_run))
    except ValueError as error:
        sys.exit(str(error))


if __name__ == "__main__":  # Flags are declared here, so that other binaries can have the names.
    name = flags.DEFINE_string("data", None, "A TFDS name, such as mnist.", required=True)
    _ = flags.DEFINE_alias("dataset", "data")
    directory = flags.DEFINE_string("data_dir", None, "Where to; by default ~/tensorflow_datasets.")
    dry_run = flags.DEFINE_bool("dry_run", False, "Print what would be prepared where, and stop.")
    app.run(lambda argv: main(argv, name.value, directory.value, dry_run=dry_run.value))
