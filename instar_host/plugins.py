"""The loaded plugins: how they come in, how they are called, and how each one fares.

Promises that no plugin can take another one, or the host, down: each is imported, registered and
called in a `try` of its own, and what goes wrong stands in its status. The enable list is read
before anything is imported. Calls go implementation by implementation, in pluggy's own order, never
through its multicall, which gives up at the first exception. Never runs anything on an event loop;
call it from a thread.
"""

from __future__ import annotations

import inspect
import logging
import threading
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import msgspec
from pluggy import HookImpl

from instar_host import answers
from instar_host.config import Config
from instar_host.discovery import Candidate, Choice, choose, installed
from instar_host.errors import PluginError, one_line, reason
from instar_host.hookspecs import PROJECT
from instar_host.observers import Observers
from instar_host.patience import Patience
from instar_host.places import explained
from instar_host.registry import Declared, Registry, WrapperRefused
from instar_host.settings import nearest
from instar_host.version import OUR_DISTRIBUTION

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

CLOSE_TIMEOUT_S = 2.0

State = Literal["loaded", "waiting", "disabled", "missing", "failed", "refused"]

log = logging.getLogger("instar.plugins")


class PluginStatus(msgspec.Struct, frozen=True, kw_only=True):
    """How one plugin fares, as `GET /plugins` and `instar plugins` show it."""

    name: str
    distribution: str | None
    """What pip calls the package; None for an object handed over in this process."""
    version: str | None
    state: State
    error: str | None
    """Why it does not run, or the last thing that went wrong while it ran; one line."""
    hooks: tuple[str, ...]
    """The hooks it implements."""
    errors: int = 0
    """Calls into it that failed."""
    dropped: int = 0
    """Events it was too slow to be told about."""
    off: tuple[str, ...] = ()
    """Hooks that are not called any more, because they failed too often in a row."""


class Contribution(msgspec.Struct, frozen=True, kw_only=True):
    """Something a plugin gave, tagged with its name."""

    plugin: str
    value: Any


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """One plugin's answer, or what went wrong instead."""

    plugin: str
    value: Any = None
    error: str | None = None


class Plugins:
    """Made by `Plugins.load`. Every method may be called from any thread."""

    def __init__(self, config: Config) -> None:
        self._registry = Registry()
        self._patience = Patience(config)
        self._trusted: frozenset[str] = frozenset()
        self._lock = threading.Lock()
        self._entries: list[_Entry] = []
        self._returns: dict[str, Any] = {}
        self._observers = Observers(failed=self._observer_failed, dropped=self._observer_dropped)

    @classmethod
    def load(
        cls,
        config: Config,
        *,
        entry_points: Iterable[EntryPoint] | None = None,
        given: Mapping[str, object] | None = None,
        builtin: Collection[str] = (OUR_DISTRIBUTION,),
    ) -> Plugins:
        """Find, import and register what the section `plugins` of `config` allows.

        `entry_points` replaces what is installed; `given` are plugins (modules, instances, classes)
        by name that the caller holds already, on unless disabled; `builtin` names the distributions
        that are on unless disabled. Raises ConfigError for a bad section, and nothing on account of
        a plugin.
        """
        plugins = cls(config)
        ours = [_given(name, plugin) for name, plugin in (given or {}).items()]
        plugins._load(choose([*ours, *installed(entry_points, builtin)], config.plugins))
        return plugins

    def statuses(self) -> tuple[PluginStatus, ...]:
        """Every plugin that is installed or asked for, in the order of loading."""
        with self._lock:
            return tuple(entry.status(self._patience.off(entry.name)) for entry in self._entries)

    def running(self) -> tuple[str, ...]:
        """Names of the plugins that take part, in the order of loading: built-in ones first."""
        with self._lock:
            return tuple(entry.name for entry in self._entries if entry.runs)

    def hooks(self) -> tuple[str, ...]:
        """Every hook that the host or a plugin specifies."""
        return self._registry.hooks()

    def collect(self, hook: str, /, **arguments: Any) -> list[Contribution]:
        """What all implementations of a hook that returns an iterable give, tagged by plugin.

        One that raises or returns nonsense contributes nothing from this call, and its status says
        so. Raises PluginError for a hook that nobody specifies, TypeError for arguments that it
        does not have.
        """
        annotation = self._annotation(hook, arguments)
        found: list[Contribution] = []
        for impl in self._registry.implementations(hook):
            outcome = self._call(
                hook, impl, arguments, partial(answers.drained, annotation=annotation)
            )
            found.extend(
                Contribution(plugin=outcome.plugin, value=value) for value in outcome.value or ()
            )
        return found

    def each(self, hook: str, /, **arguments: Any) -> list[Outcome]:
        """One outcome an implementation, errors included: for votes, where an error is a no.

        Here nobody is switched off: a voter that is not asked would be a gate left open, or shut
        for good.
        """
        check = partial(answers.checked, annotation=self._annotation(hook, arguments))
        return [
            self._call(hook, impl, arguments, check, votes=True)
            for impl in self._registry.implementations(hook)
        ]

    def first(self, hook: str, /, **arguments: Any) -> Contribution | None:
        """The first answer that is not None; implementations after it are not called."""
        check = partial(answers.checked, annotation=self._annotation(hook, arguments))
        for impl in self._registry.implementations(hook):
            outcome = self._call(hook, impl, arguments, check)
            if outcome.value is not None:
                return Contribution(plugin=outcome.plugin, value=outcome.value)
        return None

    def notify(self, hook: str, /, **arguments: Any) -> None:
        """Tell observers, on threads of their own. Returns at once; a full line drops."""
        self._annotation(hook, arguments)
        for impl in self._registry.implementations(hook):
            self._observers.put(
                impl.plugin_name, partial(self._call, hook, impl, arguments, lambda value: value)
            )

    def flush(self, timeout_s: float = CLOSE_TIMEOUT_S) -> bool:
        """Wait until observers have been told all; false when the time was up first."""
        return self._observers.flush(timeout_s)

    def close(self, timeout_s: float = CLOSE_TIMEOUT_S) -> tuple[str, ...]:
        """Let observers finish; the names of those that did not within `timeout_s`."""
        return self._observers.close(timeout_s)

    def report(self, plugin: str, error: str) -> None:
        """Note that something a plugin contributed (an endpoint, a tick, a store) went wrong."""
        with self._lock:
            for entry in self._entries:
                if entry.name == plugin and entry.runs:
                    entry.errors += 1
                    entry.error = error

    def refuse(self, plugin: str, why: str) -> None:
        """Take a running plugin out for good: state `refused`. What it brought has to be dropped
        too.
        """
        with self._lock:
            for entry in self._entries:
                if entry.name == plugin and entry.runs:
                    self._registry.expel(plugin)
                    entry.state, entry.error = "refused", why
            self._mark_waiting()

    def _load(self, choices: Iterable[Choice]) -> None:
        self._entries = [_Entry(choice) for choice in choices]
        self._trusted = frozenset(
            e.name for e in self._entries if e.candidate and e.candidate.builtin
        )
        wanted = [entry for entry in self._entries if entry.state == "loaded"]
        for step in (_import, self._add_hooks, self._enroll):
            for entry in wanted:
                if entry.state == "loaded":
                    _guarded(entry, step)
        self._mark_waiting()

    def _add_hooks(self, entry: _Entry) -> None:
        add = getattr(entry.plugin, "instar_addhooks", None)
        if add is not None:
            with self._registry.owned_by(entry.name):
                add(self._registry)

    def _enroll(self, entry: _Entry) -> None:
        declared = self._registry.declared(entry.plugin)
        entry.hooks = tuple(sorted({one.hook for one in declared}))
        if not declared and not hasattr(entry.plugin, "instar_addhooks"):
            raise PluginError("has no hooks; mark them with instar_host.hookimpl")
        unknown = [one.hook for one in declared if self._registry.owner(one.hook) is None]
        entry.waits_for = {
            hook: self._absent_owner(hook) for hook in unknown if hook in _firm(declared)
        }
        self._registry.enroll(entry.name, entry.plugin, declared)

    def _absent_owner(self, hook: str) -> str:
        """The plugin that would specify an unknown hook. Raises PluginError when it is only
        misspelt.
        """
        prefix = hook.partition("_")[0]
        owners = {self._registry.owner(known) for known in self._registry.hooks()}
        absent = {entry.name for entry in self._entries if not entry.runs}
        close = nearest(hook, self._registry.hooks())
        if prefix in absent or (prefix not in owners and not close):
            return prefix
        raise PluginError(f"there is no hook {hook}{close}")

    def _mark_waiting(self) -> None:
        """Settle who waits for whom, now that it is known who runs."""
        running = {entry.name for entry in self._entries if entry.runs} | {PROJECT}
        for entry in self._entries:
            owners = {hook: self._registry.owner(hook) for hook in entry.hooks}
            waits = dict(entry.waits_for)
            waits |= {h: o for h, o in owners.items() if o is not None and o not in running}
            if entry.runs and waits:
                entry.state = "waiting"
                entry.error = self._waiting_text(waits)

    def _waiting_text(self, waits: Mapping[str, str]) -> str:
        owner = min(waits.values())
        hooks = ", ".join(sorted(hook for hook, by in waits.items() if by == owner))
        states = {entry.name: entry.state for entry in self._entries}
        why = {"disabled": "which is disabled", "missing": "which is not installed"}
        state = states.get(owner, "missing")
        return f"waiting for {owner}, {why.get(state, f'which is {state}')} (for {hooks})"

    def _annotation(self, hook: str, arguments: Mapping[str, Any]) -> Any:
        spec = self._registry.caller(hook).spec
        if spec is None or set(arguments) != set(spec.argnames):
            takes = ", ".join(spec.argnames) if spec is not None else ""
            raise TypeError(f"{hook} takes ({takes}), not ({', '.join(arguments)})")
        if hook not in self._returns:
            self._returns[hook] = answers.returns(spec.function)
        return self._returns[hook]

    def _call(
        self,
        hook: str,
        impl: HookImpl,
        arguments: Mapping[str, Any],
        check: Callable[[Any], Any],
        *,
        votes: bool = False,
    ) -> Outcome:
        name = impl.plugin_name
        spared = votes or name in self._trusted
        if not spared and not self._patience.allows(name, hook):
            return Outcome(plugin=name, error=f"{hook}: switched off")
        try:
            value = check(impl.function(*(arguments[each] for each in impl.argnames)))
        except BaseException as exc:  # a plugin boundary: SystemExit too is one plugin's
            if _a_persons(exc):
                raise
            error = f"{hook}: {explained(exc)}"
            log.info("plugin %s: %s", name, error, exc_info=exc)
            self.report(name, error)
            if not spared:
                self._lose_patience(name, hook, error)
            return Outcome(plugin=name, error=error)
        if not spared:
            self._patience.went_well(name, hook)
        return Outcome(plugin=name, value=value)

    def _lose_patience(self, plugin: str, hook: str, error: str) -> None:
        """Count the failure; name it, once, where it is one too many."""
        failures = self._patience.failed(plugin, hook)
        if failures:
            why = f"{error}; switched off after {failures} failures in a row"
            log.warning("plugin %s: %s", plugin, why)
            with self._lock:
                for entry in self._entries:
                    if entry.name == plugin:
                        entry.error = why

    def _observer_failed(self, plugin: str, exc: BaseException) -> None:
        self.report(plugin, reason(exc))

    def _observer_dropped(self, plugin: str) -> None:
        with self._lock:
            for entry in self._entries:
                if entry.name == plugin and entry.runs:
                    entry.dropped += 1


class _Entry:
    """A plugin and what is known about it. Guarded by the lock of its Plugins."""

    def __init__(self, choice: Choice) -> None:
        candidate = choice.candidate
        verdicts: Mapping[str, State] = {"load": "loaded", "duplicate": "failed"}
        self.name = choice.name
        self.candidate = candidate
        self.state: State = verdicts.get(choice.verdict) or choice.verdict  # type: ignore[assignment]
        self.error = choice.why
        self.plugin: object = None
        self.hooks: tuple[str, ...] = ()
        self.waits_for: dict[str, str] = {}
        self.errors = 0
        self.dropped = 0

    @property
    def runs(self) -> bool:
        return self.state in ("loaded", "waiting")

    def status(self, off: tuple[str, ...]) -> PluginStatus:
        return PluginStatus(
            name=one_line(self.name),
            distribution=_shown(self.candidate.distribution if self.candidate else None),
            version=_shown(self.candidate.version if self.candidate else None),
            state=self.state,
            error=_shown(self.error),
            hooks=self.hooks,
            errors=self.errors,
            dropped=self.dropped,
            off=off,
        )


def _shown(text: str | None) -> str | None:
    return None if text is None else one_line(text)


def _given(name: str, plugin: object) -> Candidate:
    return Candidate(name=name, builtin=True, load=lambda: plugin)


def _firm(declared: Iterable[Declared]) -> set[str]:
    return {one.hook for one in declared if not one.optional}


def _guarded(entry: _Entry, step: Callable[[_Entry], None]) -> None:
    """One step of loading one plugin; whatever it raises becomes its state."""
    try:
        step(entry)
    except BaseException as exc:  # a plugin boundary: even SystemExit is one plugin's
        if _a_persons(exc):
            raise
        entry.state = "refused" if isinstance(exc, WrapperRefused) else "failed"
        entry.error = explained(exc)
        log.info("plugin %s: %s", entry.name, entry.error, exc_info=exc)


def _a_persons(exc: BaseException) -> bool:
    """Whether somebody pressed Ctrl-C: signals reach the main thread alone, so elsewhere it is a
    plugin's own, and would end the host's loop.
    """
    here = threading.current_thread()
    return isinstance(exc, KeyboardInterrupt) and here is threading.main_thread()


def _import(entry: _Entry) -> None:
    if entry.candidate is None:
        raise PluginError("has nothing to import")
    target = entry.candidate.load()
    if target is None or inspect.isroutine(target):
        raise PluginError("is not a module, an instance or a class; point the entry point at one")
    entry.plugin = target() if inspect.isclass(target) else target
