"""What outlives the process: databases, followed append-only files, atomic writes, secrets.

Every rule about durability stands here once, so that a plugin never opens a database, a transcript
or a key file by itself. Import from the modules; this package has no names of its own.
"""

from __future__ import annotations
