"""pyarrow.compute for type checkers: most of its functions are made when it is imported, so that they see few."""

from __future__ import annotations

from typing import Any

import pyarrow.compute

compute: Any = pyarrow.compute
