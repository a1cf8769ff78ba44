"""How often a plugin may fail at one thing before it is not asked again.

Promises that a hook which failed `plugins.maxFailuresInRow` times in a row is switched off, for
that plugin alone, and that it is tried again when `config.json` has been written or the host has
been restarted: nothing is given up for good. Never decides what a failure means: its owner does,
and keeps asking where silence would be an answer (votes, redactors).
"""

from __future__ import annotations

import threading
from collections import Counter

from instar_host.config import Config
from instar_host.errors import ConfigError


class Patience:
    """Failures in a row, by plugin and hook. Every method may be called from any thread."""

    def __init__(self, config: Config) -> None:
        """`config` gives the limit (0: no limit); a later state of its file begins anew."""
        self._config = config
        self._limit = config.plugins.max_failures_in_row
        self._lock = threading.Lock()
        self._failures: Counter[tuple[str, str]] = Counter()
        self._off: set[tuple[str, str]] = set()

    def allows(self, plugin: str, hook: str) -> bool:
        """Whether the plugin is to be asked; one look at the file where it is switched off."""
        with self._lock:
            if (plugin, hook) in self._off:
                self._begin_anew_if_written()
            return (plugin, hook) not in self._off

    def went_well(self, plugin: str, hook: str) -> None:
        """Forget the failures before."""
        with self._lock:
            self._failures.pop((plugin, hook), None)

    def failed(self, plugin: str, hook: str) -> int:
        """Count one failure; how many in a row it took if this one switches the hook off, else
        0.
        """
        with self._lock:
            self._begin_anew_if_written()
            self._failures[plugin, hook] += 1
            count = self._failures[plugin, hook]
            if not self._limit or count < self._limit or (plugin, hook) in self._off:
                return 0
            self._off.add((plugin, hook))
            return count

    def off(self, plugin: str) -> tuple[str, ...]:
        """The hooks of a plugin that are switched off."""
        with self._lock:
            return tuple(sorted(hook for owner, hook in self._off if owner == plugin))

    def _begin_anew_if_written(self) -> None:
        try:
            config = self._config.reloaded()
            if config is self._config:
                return
            self._limit = config.plugins.max_failures_in_row
        except ConfigError:
            return  # a file with a mistake in it changes nothing
        self._config = config
        self._failures.clear()
        self._off.clear()
