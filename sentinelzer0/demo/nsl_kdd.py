"""NSL-KDD as the demo's world: labelled history to train on, and later traffic to meet live.

The history (KDDTrain+) is split once into training, validation and test rows; that is all a trainer ever sees.
KDDTest+ is kept apart as the traffic of the following months: 3,750 of its 22,544 connections are attacks of 17
types that never occur in the history, so good numbers offline promise little live. That gap is the data set's own.

Two things the data set does not contain are made up from a seed, and only these: which host sent a connection
(it has no addresses) and how late its true label arrives.

Source: M. Tavallaee, E. Bagheri, W. Lu, A. Ghorbani, "A Detailed Analysis of the KDD CUP 99 Data Set", IEEE CISDA
2009; University of New Brunswick. The files lie in ``examples/nsl_kdd`` of the repository, not in the wheel.

Usage::

    data = load()
    history = split(data.train)  # history.train, history.validation, history.test
    stream = replay(data.test, seed=1)  # LiveRequest(position, key, row, label, label_delay)
    due = label_schedule(stream)  # due[n]: the positions whose labels arrive before request n is served
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from sentinelzer0.errors import InvalidInputError, require_extra

try:
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq
    from numpy.typing import NDArray
except ImportError as error:
    raise require_extra("demo", error.name or "pyarrow") from error

Floats: TypeAlias = NDArray[np.float64]
Integers: TypeAlias = NDArray[np.int64]
Flags: TypeAlias = NDArray[np.bool_]
Texts: TypeAlias = NDArray[np.str_]

TRAIN_FILE = "nsl_kdd_train.parquet"
TEST_FILE = "nsl_kdd_test.parquet"

CATEGORICAL = ("protocol_type", "service", "flag")
NUMERIC = (
    *("duration", "src_bytes", "dst_bytes", "land", "wrong_fragment", "urgent", "hot", "num_failed_logins"),
    *("logged_in", "num_compromised", "root_shell", "su_attempted", "num_root", "num_file_creations", "num_shells"),
    *("num_access_files", "num_outbound_cmds", "is_host_login", "is_guest_login", "count", "srv_count"),
    *("serror_rate", "srv_serror_rate", "rerror_rate", "srv_rerror_rate", "same_srv_rate", "diff_srv_rate"),
    *("srv_diff_host_rate", "dst_host_count", "dst_host_srv_count", "dst_host_same_srv_rate"),
    *("dst_host_diff_srv_rate", "dst_host_same_src_port_rate", "dst_host_srv_diff_host_rate"),
    *("dst_host_serror_rate", "dst_host_srv_serror_rate", "dst_host_rerror_rate", "dst_host_srv_rerror_rate"),
)


@dataclass(frozen=True, slots=True, eq=False)
class Flows:
    """Connections, one per row, with what is known about each.

    Attributes:
        numeric: Shape (rows, 38), in the order of `NUMERIC`.
        categorical: Shape (rows, 3), in the order of `CATEGORICAL`.
        label: Shape (rows,); 1 is an attack, 0 is normal traffic.
        family: Shape (rows,); "normal", "dos", "probe", "r2l" or "u2r".
        novel: Shape (rows,); True for an attack type that the history does not contain.
    """

    numeric: Floats
    categorical: Texts
    label: Integers
    family: Texts
    novel: Flags

    def __len__(self) -> int:
        return len(self.label)

    def take(self, rows: Integers | Flags | slice) -> Flows:
        """The chosen rows, in the order given; a slice copies nothing."""
        return Flows(self.numeric[rows], self.categorical[rows], self.label[rows], self.family[rows], self.novel[rows])


@dataclass(frozen=True, slots=True, eq=False)
class NslKdd:
    """Both files.

    Attributes:
        train: KDDTrain+, 125,973 connections: the labelled history.
        test: KDDTest+, 22,544 connections: the traffic to come.
        train_sha256: Digest of the file the history was read from, for lineage.
    """

    train: Flows
    test: Flows
    train_sha256: str


@dataclass(frozen=True, slots=True, eq=False)
class History:
    """The labelled history as a trainer divides it.

    Attributes:
        train: Rows to learn from.
        validation: Rows to set the threshold on.
        test: Rows to judge by.
        source_sha256: Digest of the file all of them come from, for lineage.
    """

    train: Flows
    validation: Flows
    test: Flows
    source_sha256: str


def find_data(directory: Path | None = None) -> Path:
    """The directory that holds both files.

    Args:
        directory: Where to look; left out: ``examples/nsl_kdd`` of the checkout this package was imported from, then
            of the current directory.

    Raises:
        InvalidInputError: A file is missing.
    """
    inside = Path("examples") / "nsl_kdd"
    places = [directory] if directory else [Path(__file__).resolve().parents[2] / inside, Path.cwd() / inside]
    for place in places:
        if all((place / name).is_file() for name in (TRAIN_FILE, TEST_FILE)):
            return place
    looked = " and ".join(str(place) for place in dict.fromkeys(places))
    raise InvalidInputError(
        f"The NSL-KDD files {TRAIN_FILE} and {TEST_FILE} are not in {looked}.",
        hint="They are in examples/nsl_kdd of the repository: pass that directory with --data.",
    )


def load(directory: Path | None = None) -> NslKdd:
    """Read both files.

    Args:
        directory: Where they are; see `find_data`.

    Raises:
        InvalidInputError: A file is missing, damaged or lacks a column.
    """
    place = find_data(directory)
    digest = hashlib.sha256((place / TRAIN_FILE).read_bytes()).hexdigest()
    return NslKdd(_read(place / TRAIN_FILE), _read(place / TEST_FILE), digest)


def split(data: NslKdd, *, seed: int = 7) -> History:
    """Divide the history at random: 70 % to train on, 20 % to set the threshold on, 10 % to judge by.

    Args:
        data: Only its `train` is used.
        seed: Same seed, same division.
    """
    flows = data.train
    order = np.random.default_rng(seed).permutation(len(flows))
    validation, test = len(flows) // 5, len(flows) // 10
    return History(
        train=flows.take(order[validation + test :]),
        validation=flows.take(order[:validation]),
        test=flows.take(order[validation : validation + test]),
        source_sha256=data.train_sha256,
    )


@dataclass(frozen=True, slots=True)
class LiveRequest:
    """One connection to be judged, as it comes in.

    Attributes:
        position: Place in the stream, from 0.
        key: The host that sent it: the unit that stays with one model in an A/B test.
        row: Its row in the traffic that is replayed.
        label: The truth, 1 or 0, which nobody knows yet.
        label_delay: How many requests later the truth becomes known, at least 1.
    """

    position: int
    key: str
    row: int
    label: int
    label_delay: int


def replay(flows: Flows, *, seed: int = 1, hosts: int = 4000, median_delay: int = 200) -> tuple[LiveRequest, ...]:
    """The traffic as a stream in random order; the same for the same seed.

    Delays are log-normal: half the labels arrive within `median_delay` requests, one in twenty takes more than 3.7
    times that. Hosts are drawn uniformly. With several requests per host, an arm of a test that is sticky by host gets
    its share of the hosts, so its share of the requests scatters more than that of independent requests would.

    Args:
        flows: What to replay.
        seed: Decides order, hosts and delays.
        hosts: How many different keys.
        median_delay: In requests.
    """
    draw = np.random.default_rng(seed)
    order = draw.permutation(len(flows))
    senders = draw.integers(hosts, size=len(flows))
    delays = np.maximum(1, np.rint(draw.lognormal(np.log(median_delay), 0.8, size=len(flows)))).astype(np.int64)
    columns = zip(order.tolist(), senders.tolist(), flows.label[order].tolist(), delays.tolist(), strict=True)
    return tuple(
        LiveRequest(position, f"host-{sender:05d}", row, label, delay)
        for position, (row, sender, label, delay) in enumerate(columns)
    )


def label_schedule(stream: tuple[LiveRequest, ...]) -> tuple[tuple[int, ...], ...]:
    """When the labels arrive.

    Args:
        stream: From `replay`, whole or a part of it.

    Returns:
        One entry per request and one more: entry n names the indexes into `stream` whose labels are known just before
        request n is served, the last entry those that arrive after the end.
    """
    due: list[list[int]] = [[] for _ in range(len(stream) + 1)]
    for index, request in enumerate(stream):
        due[min(index + request.label_delay, len(stream))].append(index)
    return tuple(tuple(indexes) for indexes in due)


def _read(path: Path) -> Flows:
    """One file as arrays."""
    try:
        table = pq.read_table(path)
        # In rows, whatever the order of the columns' memory: a sum over a row must add in one and the same order.
        numeric = np.ascontiguousarray(np.column_stack([table[name].to_numpy().astype(np.float64) for name in NUMERIC]))
        categorical = np.column_stack([_texts(table[name]) for name in CATEGORICAL])
        label = table["label"].to_numpy().astype(np.int64)
        family = _texts(table["family"])
        novel = table["novel"].to_numpy() == 1 if "novel" in table.column_names else np.zeros(len(label), np.bool_)
    except (pa.ArrowException, KeyError, ValueError) as error:
        raise InvalidInputError(
            f"{path} cannot be read as NSL-KDD: {error}.", hint="Take both files from examples/nsl_kdd again."
        ) from error
    return Flows(numeric, categorical, label, family, novel)


def _texts(column: pa.ChunkedArray) -> Texts:
    """A text column, decoding each different value once."""
    encoded = column.combine_chunks().dictionary_encode()
    values: Texts = np.array(encoded.dictionary.to_pylist(), dtype=np.str_)
    rows: Integers = encoded.indices.to_numpy()
    return values[rows]
