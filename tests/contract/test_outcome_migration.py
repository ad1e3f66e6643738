"""What tests measured under the second schema is the same under this one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy import inspect, text

from sentinelzer0.domain.outcomes import Evidence
from sentinelzer0.kernel import Kernel
from sentinelzer0.storage import migrations, snapshot
from sentinelzer0.storage.database import Database

_ARM = (
    "INSERT INTO ab_arms VALUES ('t', :arm, :requests, 1, 30.0, 500.0, 9000.0, 2, 1.0, 0.5, 0.25, :tp, 0, 0, 0, :late)"
)
_OUTCOME = (
    "INSERT INTO ab_outcomes VALUES ('t', :request, :arm, '2026-01-01T00:00:00.000000Z', 1, 10.0, 0.5, 1, :true, "
    ":unit, :late)"
)


def old_database(url: str) -> Database:
    """Return a database of schema 0002 in which one test has measured something."""
    database = Database(url)
    with database.engine.begin() as connection:
        for table in inspect(connection).get_table_names():
            connection.execute(text(f'DROP TABLE "{table}"'))
    migrations.upgrade(database.engine, "0002")
    look = "[3,1,30.0,500.0,9000.0,2,1.0,0.5,0.25,2,0,0,0]"
    with database.engine.begin() as connection:

        def run(sql: str, **values: Any) -> None:
            connection.execute(text(sql), values)

        run("INSERT INTO ab_progress VALUES ('t', 'running', 5, 21)")
        run(_ARM, arm="A", requests=3, tp=2, late=1)
        run(_ARM, arm="B", requests=2, tp=1, late=0)
        run("INSERT INTO ab_custom VALUES ('t', 'A', 'cost', 2, 3.0, 5.0)")
        run("INSERT INTO ab_latency VALUES ('t', 'A', 7, 3)")
        for request, arm, true, unit, late in (
            ("a1", "A", 1, "h1", 0),
            ("a2", "A", 1, "h1", 0),
            ("a3", "A", None, None, 0),
            ("a4", "A", None, "h9", 1),
            ("b1", "B", 1, "h2", 0),
            ("b2", "B", None, "h1", 0),
            ("waits", None, 1, None, 0),
        ):
            run(_OUTCOME, request=request, arm=arm, true=true, unit=unit, late=late)
        run(
            "INSERT INTO ab_trajectory VALUES ('t', 20, '2026-01-01T00:00:00.000000Z', 'B', :arms)",
            arms=f"[{look},{look}]",
        )
    return database


def test_everything_measured_is_kept(kernel: Kernel) -> None:
    database = old_database(kernel.database.url)
    migrations.upgrade(database.engine)
    database.close()
    with kernel.read() as view:
        evidence: Evidence = view.cells.evidence("t", None)
        stored = {name: view.outcomes.find("t", name) for name in ("a2", "waits")}
        units = view.measurements.units("t")
        (look,) = view.ab_tests.looks.all("t")
    a, b = evidence.arm("A"), evidence.arm("B")
    assert (a.requests, a.failures, a.confusion.tp, a.latency.total_sq, a.confidence.count) == (3, 1, 2, 500.0, 2)
    assert (b.requests, evidence.late["A"], evidence.events) == (2, 1, 5)
    assert a.histogram.counts == {7: 3}
    assert (a.custom["cost"].mean, a.custom["cost"].third_moment) == (1.5, 0.0)
    assert (evidence.units("A"), evidence.units("B"), units) == (2, 1, 2), "a unit in both arms counts in the control"
    assert (stored["a2"][0].arm, stored["a2"][0].phase, stored["waits"][0].arm) == ("A", 1, None)
    assert (look.events, look.decision, look.readings["arms"][0][0]) == (20, "promote", 3)


def test_a_state_saved_by_an_older_release_is_put_back(kernel: Kernel, tmp_path: Path) -> None:
    saved = tmp_path / "older.db"
    old_database(f"sqlite:///{saved}").close()
    before = saved.read_bytes()
    with kernel.database.engine.begin() as connection:
        for table in inspect(connection).get_table_names():
            connection.execute(text(f'DROP TABLE "{table}"'))
    snapshot.load(saved, kernel.database)
    with kernel.read() as view:
        assert view.cells.evidence("t", None).arm("A").requests == 3
    assert saved.read_bytes() == before
