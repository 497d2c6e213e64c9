"""Images and labels out of a prepared TFDS directory, without TensorFlow where it is array_record.

TFDS is imported where it is needed: a start that finds its images in the cache never imports it.
"""

from collections.abc import Iterator, Mapping
import contextlib
import dataclasses
import functools
import importlib.util
import io
import itertools
import pathlib
from typing import Any

from absl import logging
import numpy as np

from ltjax.data.cache import Arrays
from ltjax.data.dataset import cut_test

_BLOCK = 1000  # Records decoded at once; one at a time takes three times as long.
_MAX_BYTES = 16 * 2**30


@dataclasses.dataclass(frozen=True, kw_only=True)
class Tfds:
    """How a TFDS data set becomes images and labels.

    Attributes:
      image: key of the image feature; empty for the supervised pair, or the only one there is.
      label: key of the label feature, likewise.
      shrink: side of the squares of pixels that are averaged to one.
    """

    image: str = ""
    label: str = ""
    shrink: int = 1


def read(path: pathlib.Path, row: Tfds, *, name: str) -> Arrays:
    """Decodes a prepared directory.

    Returns:
      `train_images` and `test_images`, uint8 [n, height, width, channels]; `train_labels` and
      `test_labels`, int32 [n]; `class_names` and `notes`, text.

    Raises:
      ValueError: where it is no image classification, its images differ in shape or do not fit
        into memory, or the records cannot be read here.
    """
    tfds = import_tfds()
    try:
        builder = tfds.builder_from_directory(path)
    except Exception as error:  # Whatever TFDS stumbles over, the user needs the directory.
        raise _unreadable(name, path, error) from error
    image, label = keys(name, tfds, builder.info, row)
    splits = builder.info.splits
    if "train" not in splits:
        raise ValueError(f"data set {name!r} has no split 'train'; it has {', '.join(splits)}")
    examples = functools.partial(examples_of, builder, name=name, path=path)

    def labelled(split: str) -> bool:  # TFDS writes -1 where there is no label.
        if not splits[split].num_examples:
            raise ValueError(f"data set {name!r} has a split without examples; prepare it anew")
        return any(example[label] >= 0 for example in examples(split, undecoded=image))

    def decoded(split: str) -> list[np.ndarray]:
        count = splits[split].num_examples
        images, labels = _stack(examples(split), count, image=image, label=label, name=name)
        return [_shrink(images, row.shrink), labels]

    if not labelled("train"):
        raise ValueError(f"data set {name!r} has no label in its split 'train'; take another one")
    notes, held_out = [], None
    for split in (s for s in ("test", "validation") if s in splits):
        if labelled(split):
            held_out = split
            break
        notes.append(f"the split {split!r} has no labels and is left out")
    train = decoded("train")
    if held_out is not None:
        test = decoded(held_out)
        if held_out == "validation":
            lack = "labelled " if notes else ""
            notes.append(f"no {lack}test split: the validation split is the test set")
    else:
        rows, test_rows, note = cut_test(train[1])
        train, test = [x[rows] for x in train], [x[test_rows] for x in train]
        notes.append(note)
    if row.shrink > 1:
        notes.append(f"squares of {row.shrink}x{row.shrink} pixels averaged to one")
    if row.image or row.label:
        notes.append(f"the image is the feature {image!r}, the label {label!r}")
    return {
        "train_images": train[0],
        "train_labels": train[1],
        "test_images": test[0],
        "test_labels": test[1],
        "class_names": np.array(builder.info.features[label].names, np.str_),
        "notes": np.array(notes, np.str_),
    }


def import_tfds() -> Any:
    """TFDS, or an error that says what to install.

    Raises:
      ValueError: where it, or a package that it needs, is missing.
    """
    try:
        import tensorflow_datasets as tfds  # Half a second, and not always there.

        _ = tfds.builder  # TFDS hides the failed import of one of its own dependencies.
    except (ImportError, AttributeError) as error:
        raise ValueError(
            f"TFDS cannot be imported ({error}); run: "
            "pip install --upgrade tensorflow-datasets importlib_resources pillow"
        ) from error
    return tfds


def keys(name: str, tfds: Any, info: Any, row: Tfds) -> tuple[str, str]:
    """The features that hold the image and the label.

    Args:
      name: of the data set, for the message.
      tfds: what `import_tfds` returned.
      info: a `DatasetInfo`.
      row: which features to take.

    Raises:
      ValueError: where there is no single choice.
    """
    nested = isinstance(info.features, tfds.features.FeaturesDict)
    features = dict(info.features.items()) if nested else {}
    pair = info.supervised_keys if len(info.supervised_keys or ()) == 2 else (None, None)
    found = []
    for given, paired, kind in (
        (row.image, pair[0], tfds.features.Image),
        (row.label, pair[1], tfds.features.ClassLabel),
    ):
        keys = [key for key, feature in features.items() if isinstance(feature, kind)]
        wanted = given or (paired if paired in keys or len(keys) != 1 else keys[0])
        if wanted not in keys:
            raise ValueError(
                f"data set {name!r} is not read as image classification, which takes one Image "
                "and one ClassLabel; its features are: "
                + ", ".join(f"{k} ({type(f).__name__})" for k, f in features.items())
            )
        found.append(wanted)
    return found[0], found[1]


def examples_of(
    builder: Any, split: str, *, name: str, path: pathlib.Path, undecoded: str = ""
) -> Iterator[Mapping[str, Any]]:
    """Examples in the order of the records.

    Args:
      builder: of the prepared directory `path`.
      split: name of a split.
      name: of the data set, for the messages.
      path: the prepared directory, likewise.
      undecoded: an image that is left as it was stored.

    Raises:
      ValueError: where the records are damaged or more or fewer than declared, or need
        TensorFlow and there is none.
    """
    formats = {f.value for f in builder.info.available_file_formats()}
    random_access = bool(formats & {"array_record", "parquet"})
    if not random_access and importlib.util.find_spec("tensorflow") is None:
        elsewhere = path.parents[name.count("/") + 1] / "array_record"
        raise ValueError(
            f"data set {name!r} is prepared in {str(path)!r} as {', '.join(sorted(formats))}, "
            "which only TensorFlow reads; run: pip install 'ltjax[prepare]' (or prepare it anew "
            f"elsewhere: python -m ltjax.data.prepare --dataset={name} --data_dir={elsewhere})"
        )
    tfds, info = import_tfds(), builder.info.splits[split]
    decoders = {undecoded: tfds.decode.SkipDecoding()} if undecoded else None
    count = 0
    try:
        if random_access:
            source = builder.as_data_source(split=split, decoders=decoders)
            if builder.info.file_format.value == "array_record":  # Whatever the metadata say.
                from array_record.python import array_record_data_source as records

                files = [str(file) for file in info.filepaths]
                _check_count(len(records.ArrayRecordDataSource(files)), info.num_examples)
            found = _in_blocks(source)
        else:
            in_order = tfds.ReadConfig(interleave_cycle_length=1)
            read = builder.as_dataset(split=split, read_config=in_order, decoders=decoders)
            found = tfds.as_numpy(read)
        for example in found:
            count += 1
            _check_count(max(count, info.num_examples), info.num_examples)
            yield example
        _check_count(count, info.num_examples)
    except Exception as error:  # Damaged or missing records, in whatever words.
        raise _unreadable(name, path, error) from error


def _in_blocks(source: Any) -> Iterator[Mapping[str, Any]]:
    for start in range(0, len(source), _BLOCK):
        with quiet():
            block = source.__getitems__(list(range(start, min(start + _BLOCK, len(source)))))
        yield from block


def _check_count(count: int, declared: int) -> None:
    if count != declared:
        raise ValueError(f"its metadata declare {declared} examples, its records are {count}")


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keeps back what TFDS prints and logs about packages that are not needed."""
    before = logging.get_verbosity()
    logging.set_verbosity(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.set_verbosity(before)


def _stack(
    examples: Iterator[Mapping[str, Any]], count: int, *, image: str, label: str, name: str
) -> tuple[np.ndarray, np.ndarray]:
    first = next(examples)
    shape, dtype = first[image].shape, first[image].dtype
    size = count * first[image].nbytes
    if dtype != np.uint8:
        raise ValueError(
            f"data set {name!r} has {dtype} images, and ltjax reads uint8 ones; load it with TFDS, "
            "scale the images to 0..255 and give them to data.make"
        )
    if size > _MAX_BYTES:
        raise ValueError(
            f"data set {name!r} has images of {size / 2**30:.1f} GiB in all; read are at most "
            f"{_MAX_BYTES / 2**30:.0f} GiB, which stay in memory"
        )
    images = np.empty((count, *shape), np.uint8)
    labels = np.empty(count, np.int32)
    for row, example in enumerate(itertools.chain([first], examples)):
        if example[image].shape != shape:
            raise ValueError(
                f"images of {name!r} differ in shape, such as {shape} and {example[image].shape}; "
                "only data sets of one shape can be read"
            )
        images[row], labels[row] = example[image], example[label]
    return images, labels


def _shrink(images: np.ndarray, side: int) -> np.ndarray:
    """Averages squares of `side` pixels, to the nearest integer, half up."""
    if side == 1:
        return images
    n, height, width, channels = images.shape
    squares = images.reshape(n, height // side, side, width // side, side, channels)
    total = squares.sum(axis=(2, 4), dtype=np.uint32)
    return ((2 * total + side * side) // (2 * side * side)).astype(np.uint8)


def _unreadable(name: str, path: pathlib.Path, error: Exception) -> ValueError:
    return ValueError(
        f"data set {name!r} in {str(path)!r} cannot be read ({one_line(error)}); "
        "delete that directory and prepare it again"
    )


def one_line(error: Exception) -> str:
    """Kind and message of an error, without line breaks."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
