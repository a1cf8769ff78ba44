"""The token ledger: coding agents' transcripts in, an exact and durable account of their use out.

Observability only: transcripts are opened for reading, and nothing here ever gates or changes
what an agent does.
"""

from __future__ import annotations
