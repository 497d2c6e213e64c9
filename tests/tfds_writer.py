"""Writes small prepared TFDS directories from arrays, without TensorFlow and without a network.

The metadata are the registered builder's, the records TFDS's own writer's, so that a directory
differs from a genuine preparation in its number of examples only.
"""

import io
import json
import pathlib

import numpy as np
from PIL import Image
import tensorflow_datasets as tfds
from tensorflow_datasets.core import (
    example_serializer,
    file_adapters,
    naming,
)
from tensorflow_datasets.core import (
    splits as splits_lib,
)
from tensorflow_datasets.core import (
    writer as writer_lib,
)
from tensorflow_datasets.core.utils import shard_utils


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
    builder = tfds.builder(name, data_dir=root)
    path = pathlib.Path(builder.data_dir)
    path.mkdir(parents=True)
    features = builder.info.features
    serializer = example_serializer.ExampleSerializer(features.get_serialized_info())
    written = []
    for split, examples in splits.items():
        template = naming.ShardedFileTemplate(
            data_dir=path,
            dataset_name=builder.name,
            split=split,
            filetype_suffix="array_record",
        )
        writer = writer_lib.Writer(
            serializer=serializer,
            filename_template=template,
            hash_salt=split,
            disable_shuffling=True,  # The order of `examples`.
            example_writer=writer_lib.ExampleWriter(file_adapters.FileFormat.ARRAY_RECORD),
            shard_config=shard_utils.ShardConfig(num_shards=shards),
        )
        for number, example in enumerate(examples):
            writer.write(number, features.encode_example({k: _png(v) for k, v in example.items()}))
        lengths, size = writer.finalize()
        written.append(
            splits_lib.SplitInfo(
                name=split, shard_lengths=lengths, num_bytes=size, filename_template=template
            )
        )
    builder.info.set_file_format(file_adapters.FileFormat.ARRAY_RECORD, override=True)
    builder.info.set_splits(splits_lib.SplitDict(written))
    builder.info.write_to_directory(path)
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
