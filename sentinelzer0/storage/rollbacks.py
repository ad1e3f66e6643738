"""Rollbacks in SQL."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sentinelzer0.storage.codec import Codec
from sentinelzer0.storage.database import Connection


class RollbackRows:
    """Rollbacks as one transaction sees them."""

    def __init__(self, connection: Connection, put: Callable[[Codec[Any], Any], None]) -> None:
        self._connection = connection
        self._put = put
