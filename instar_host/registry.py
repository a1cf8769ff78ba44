"""The hook registry: pluggy's manager with the rules of the contract checked before anything
registers.

Promises that a plugin is registered whole or not at all, and that a refusal names the hook, the
argument and the nearest thing that would have worked. No wrappers (one plugin could swallow what
another says), no historic hooks, no coroutines, no second owner for a hook. Never calls an
implementation.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import ModuleType

import msgspec
import pluggy
from pluggy import HookCaller, HookImpl

from instar_host import hookspecs
from instar_host.errors import PluginError
from instar_host.hookspecs import PROJECT
from instar_host.settings import nearest


class Declared(msgspec.Struct, frozen=True, kw_only=True):
    """One implementation as a plugin declares it."""

    hook: str
    required: tuple[str, ...]
    """Arguments that a caller has to give it."""
    optional: bool
    """Marked `optionalhook`: nobody minds when the hook does not exist."""


class Registry(pluggy.PluginManager):
    """Hooks, who owns them, and who implements them; what `instar_addhooks` is given."""

    def __init__(self) -> None:
        super().__init__(PROJECT)
        self._owners: dict[str, str] = {}
        self._adding = PROJECT
        self._enrolling = False
        self.add_hookspecs(hookspecs)

    def add_hookspecs(self, module_or_class: ModuleType | type) -> None:
        """Take the hooks that a module or class specifies. Raises PluginError, taking none."""
        names = []
        for name in dir(module_or_class):
            options = self.parse_hookspec_opts(module_or_class, name)
            if options is None:
                continue
            if options.get("historic"):
                raise PluginError(f"the hook {name} is historic, which no plugin may bring")
            if name in self._owners:
                raise PluginError(f"the hook {name} belongs to {self._owners[name]} already")
            names.append(name)
        super().add_hookspecs(module_or_class)
        self._owners.update(dict.fromkeys(names, self._adding))

    def register(self, plugin: object, name: str | None = None) -> str | None:
        """Refused from outside: plugins come through the entry points. Raises PluginError."""
        if not self._enrolling:
            raise PluginError("a plugin may not register others")
        return super().register(plugin, name)

    def unregister(
        self,
        plugin: object | None = None,  # noqa: ARG002 - the signature is pluggy's
        name: str | None = None,  # noqa: ARG002
    ) -> object | None:
        """Refused from outside, as `register` is. Raises PluginError."""
        raise PluginError("a plugin may not take others out")

    @contextmanager
    def owned_by(self, plugin: str) -> Iterator[None]:
        """Hooks added inside the block belong to `plugin`."""
        before, self._adding = self._adding, plugin
        try:
            yield
        finally:
            self._adding = before

    def owner(self, hook: str) -> str | None:
        """The plugin that specifies a hook, `instar` for the host; None when nobody does."""
        return self._owners.get(hook)

    def hooks(self) -> tuple[str, ...]:
        """Every hook that somebody specifies."""
        return tuple(sorted(self._owners))

    def caller(self, hook: str) -> HookCaller:
        """The hook itself. Raises PluginError for one that nobody specifies."""
        caller: HookCaller | None = getattr(self.hook, hook, None)
        if caller is None or caller.spec is None:
            raise PluginError(f"there is no hook {hook}{nearest(hook, self._owners)}")
        return caller

    def implementations(self, hook: str) -> list[HookImpl]:
        """Who implements a hook, in pluggy's own order of calls: the last registered first."""
        return list(reversed(self.caller(hook).get_hookimpls()))

    def declared(self, plugin: object) -> list[Declared]:
        """What a plugin implements. Raises PluginError for a wrapper or a coroutine."""
        found = []
        for attribute in dir(plugin):
            options = self.parse_hookimpl_opts(plugin, attribute)
            if options is None:
                continue
            hook = options.get("specname") or attribute
            if options.get("wrapper") or options.get("hookwrapper"):
                raise WrapperRefused(f"{hook} is a hook wrapper, which no plugin may bring")
            function = getattr(plugin, attribute)
            if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
                raise PluginError(f"{hook} is an async def; hooks are plain functions")
            optional = bool(options.get("optionalhook"))
            found.append(Declared(hook=hook, required=_required(function), optional=optional))
        return found

    def enroll(self, name: str, plugin: object, declared: Sequence[Declared]) -> None:
        """Check every implementation against its hook, then register the plugin. Raises
        PluginError.
        """
        twin = self.get_name(plugin)
        if twin is not None:
            raise PluginError(f"is the very same object as the plugin {twin}, which runs")
        for implementation in declared:
            if implementation.hook in self._owners:
                self._check_arguments(implementation)
        self._enrolling = True
        try:
            super().register(plugin, name)
        except BaseException:
            self.expel(name)  # pluggy 1.6 leaves it half registered
            raise
        finally:
            self._enrolling = False

    def expel(self, name: str) -> None:
        """Take a plugin's implementations out; the hooks that it specifies stay known."""
        if self.has_plugin(name):
            super().unregister(name=name)

    def _check_arguments(self, implementation: Declared) -> None:
        spec = self.caller(implementation.hook).spec
        known = () if spec is None else tuple(spec.argnames)
        extra = [name for name in implementation.required if name not in known]
        if extra:
            takes = ", ".join(known) or "nothing"
            raise PluginError(
                f"{implementation.hook} asks for the argument {extra[0]!r}, which the hook does "
                f"not have{nearest(extra[0], known)}; it has {takes}"
            )


class WrapperRefused(PluginError):  # noqa: N818 - says what is wrong
    """A plugin that tries to wrap others."""


def _required(function: object) -> tuple[str, ...]:
    if not callable(function):
        return ()
    kinds = (
        inspect.Parameter.POSITIONAL_ONLY,
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
        inspect.Parameter.KEYWORD_ONLY,
    )
    parameters = inspect.signature(function).parameters.values()
    return tuple(p.name for p in parameters if p.kind in kinds and p.default is p.empty)
