"""Our own numbers."""

from __future__ import annotations

import base64
import os


def po_number() -> str:
    """A new purchase order number: unguessable, and short enough for a vendor's reference field (22 characters)."""
    return "PO" + base64.b32encode(os.urandom(13)).decode()[:20]
