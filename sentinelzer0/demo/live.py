"""Live traffic: a service that follows the deployment, labels that come late, and recall over the latest of them."""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from sentinelzer0.demo import model_files
from sentinelzer0.demo.detectors import Answer, Detector, serve
from sentinelzer0.demo.nsl_kdd import Flows, LiveRequest, label_schedule
from sentinelzer0.errors import require_extra
from sentinelzer0.mlops.integrity import VerifiedModel
from sentinelzer0.workspace import Workspace

try:
    import numpy as np
except ImportError as error:
    raise require_extra("demo", error.name or "numpy") from error

BATCH = 32


@dataclass(frozen=True, slots=True)
class Tick:
    """A batch of requests, and what became known just before it.

    Attributes:
        requests: To be answered now; empty at the end, when only labels are left.
        labelled: Requests of earlier ticks whose true label is known from now on.
    """

    requests: tuple[LiveRequest, ...]
    labelled: tuple[LiveRequest, ...]


def ticks(stream: tuple[LiveRequest, ...]) -> Iterator[Tick]:
    """Yield the stream in small batches with the labels that arrive meanwhile; the last tick brings the others."""
    due = label_schedule(stream)
    known = 0
    for start in (*range(0, len(stream), BATCH), len(stream)):
        arrived = [stream[index] for step in range(known, start + 1) for index in due[step]]
        known = start + 1
        yield Tick(stream[start : start + BATCH], tuple(arrived))


class Service:
    """Answers requests with the versions of a workspace; every file is verified when a version is loaded.

    Args:
        workspace: Where the versions are.
        flows: The traffic that requests refer to.
    """

    def __init__(self, workspace: Workspace, flows: Flows) -> None:
        self._workspace = workspace
        self._flows = flows
        self._timer = workspace.kernel.clock.monotonic
        self._loaded: dict[str, Detector] = {}

    def detector(self, version: str) -> Detector:
        """Return a version's detector, loading it once.

        Raises:
            IntegrityError: A file is not what was registered.
        """
        if version not in self._loaded:
            with self._workspace.versions.open_verified(version) as model:
                self._loaded[version] = load(model)
        return self._loaded[version]

    def answer(self, version: str, requests: tuple[LiveRequest, ...]) -> Answer:
        """Answer requests together; the latency is that of the batch."""
        rows = np.array([request.row for request in requests], dtype=np.int64)
        (answer,) = serve(self.detector(version), self._flows, rows, batch=len(rows), timer=self._timer)
        return answer


def load(model: VerifiedModel) -> Detector:
    """Build a detector from verified bytes.

    Raises:
        IntegrityError: A file is not what was registered.
    """
    return model_files.load(model.read)


@dataclass(slots=True)
class AttackWindow:
    """The latest attacks whose label is known, and which of them one version raised no alarm for.

    Attributes:
        size: At most so many.
        labelled: Labels seen in all, of attacks and of normal traffic.
    """

    size: int
    labelled: int = 0
    _caught: deque[tuple[bool, float]] = field(default_factory=deque)

    def add(self, request: LiveRequest, alarm: int, latency_ms: float) -> None:
        """Take in a label that arrived."""
        self.labelled += 1
        if request.label == 1:
            self._caught.append((alarm == 1, latency_ms))
            if len(self._caught) > self.size:
                self._caught.popleft()

    @property
    def attacks(self) -> int:
        """Attacks in the window."""
        return len(self._caught)

    def equals(self, other: AttackWindow) -> bool:
        """Whether both saw the same alarms for the same attacks."""
        return self._caught == other._caught

    @property
    def missed(self) -> int:
        """Those without an alarm."""
        return sum(not caught for caught, _ in self._caught)

    @property
    def recall(self) -> float | None:
        """Share of the attacks that raised an alarm; None without attacks."""
        return None if not self._caught else 1.0 - self.missed / len(self._caught)

    @property
    def missed_share(self) -> float:
        """Share of the attacks without an alarm; 0 without attacks."""
        return self.missed / max(1, len(self._caught))

    @property
    def latency_ms(self) -> float:
        """Mean latency of the answers in the window."""
        return sum(latency for _, latency in self._caught) / max(1, len(self._caught))


@dataclass(frozen=True, slots=True)
class _Answered:
    """What was said about one request, and what the reference would have said."""

    version: str
    alarm: int
    reference: int
    latency_ms: float


class Production:
    """Production traffic: answered by what the deployment names, labelled late, measured in sliding windows.

    Another version, the reference, is asked about the same requests without serving, for comparison.

    Args:
        service: Answers.
        reference: The version to compare with.
        size: Attacks in a window.

    Attributes:
        served: Requests answered.
        served_by: Requests by version.
        own: By version, the window over the attacks that it answered.
        compared: By version, the window of the reference over the same attacks.
        overall: The window over all attacks, whoever answered.
        overall_compared: The window of the reference over the same attacks.
        let_through: By version, attacks it answered without an alarm, labelled or not.
        compared_let_through: What the reference would have let through of the same.
    """

    def __init__(self, service: Service, reference: str, size: int) -> None:
        self._service = service
        self._reference = reference
        self._answered: dict[int, _Answered] = {}
        self.served = 0
        self.served_by: Counter[str] = Counter()
        self.own: defaultdict[str, AttackWindow] = defaultdict(lambda: AttackWindow(size))
        self.compared: defaultdict[str, AttackWindow] = defaultdict(lambda: AttackWindow(size))
        self.overall, self.overall_compared = AttackWindow(size), AttackWindow(size)
        self.let_through: Counter[str] = Counter()
        self.compared_let_through: Counter[str] = Counter()

    def label(self, requests: tuple[LiveRequest, ...]) -> None:
        """Take in the labels that arrived."""
        for request in requests:
            said = self._answered.pop(request.position)
            for window in (self.own[said.version], self.overall):
                window.add(request, said.alarm, said.latency_ms)
            for window in (self.compared[said.version], self.overall_compared):
                window.add(request, said.reference, said.latency_ms)

    def answer(self, version: str, requests: tuple[LiveRequest, ...]) -> None:
        """Answer requests with the version that serves."""
        answer = self._service.answer(version, requests)
        other = answer if version == self._reference else self._service.answer(self._reference, requests)
        for request, alarm, reference in zip(
            requests, answer.predicted.tolist(), other.predicted.tolist(), strict=True
        ):
            self._answered[request.position] = _Answered(version, alarm, reference, answer.latency_ms)
            if request.label == 1:
                self.let_through[version] += not alarm
                self.compared_let_through[version] += not reference
        self.served += len(requests)
        self.served_by[version] += len(requests)
