"""Prepares small TFDS directories from arrays, without TensorFlow and without a network.

TFDS prepares them itself, with the registered builder's metadata; only the examples are ours.
"""

import io
import json
import pathlib

import numpy as np
from PIL import Image
import tensorflow_datasets as tfds


def write(
    name: str,
    root: pathlib.Path,
    splits: dict[str, list[dict]],
    *,
    file_format: str = "array_record",
    shards: int = 1,
) -> pathlib.Path:
    """Prepares `name` below `root`.

    Args:
      name: a name that TFDS knows, with its configuration where it has several.
      root: the data directory.
      splits: examples by split; an array for an image is written as PNG.
      file_format: what the metadata claim; the records are always array_record.
      shards: number of files of each split.

    Returns:
      The prepared directory.
    """
    builder = tfds.builder(name, data_dir=root, file_format="array_record")
    builder.info.as_proto.disable_shuffling = True  # The order of `splits`.
    encoded = {
        split: {i: {k: _png(v) for k, v in example.items()} for i, example in enumerate(examples)}
        for split, examples in splits.items()
    }
    builder._split_generators = lambda *args: {s: list(e.items()) for s, e in encoded.items()}
    builder.download_and_prepare(download_config=tfds.download.DownloadConfig(num_shards=shards))
    path = pathlib.Path(builder.data_path)
    if file_format != "array_record":
        metadata = path / "dataset_info.json"
        info = json.loads(metadata.read_text()) | {"fileFormat": file_format}
        metadata.write_text(json.dumps(info))
    return path


def _png(value):
    if not isinstance(value, np.ndarray):
        return value
    file = io.BytesIO()
    Image.fromarray(value[..., 0] if value.shape[-1] == 1 else value).save(file, format="PNG")
    return file.getvalue()
