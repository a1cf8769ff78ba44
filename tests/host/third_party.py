"""Packages of other people, as pip would have installed them: a module and its dist-info on
`sys.path`.
"""

from __future__ import annotations

import textwrap
from importlib import metadata
from pathlib import Path

import pytest

from instar_host.plugins import Plugins, PluginStatus

PRELUDE = """
from __future__ import annotations
from instar_host import Command, Response, Route, Tick, hookimpl, hookspec
"""


class Site:
    """A site-packages folder of its own."""

    def __init__(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.path = path
        path.mkdir()
        monkeypatch.syspath_prepend(str(path))

    def install(
        self,
        name: str,
        source: str,
        *,
        target: str = "",
        distribution: str = "",
        version: str = "1.0",
    ) -> None:
        """Install a plugin called `name`: `source` is its module, `target` the attribute in it."""
        package = distribution or f"instar-{name}"
        module = self.module(package)
        code = PRELUDE + textwrap.dedent(source)
        (self.path / f"{module}.py").write_text(code, encoding="utf-8")
        info = self.path / f"{package.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n", encoding="utf-8"
        )
        points = f"[instar.plugins]\n{name} = {module}{':' + target if target else ''}\n"
        (info / "entry_points.txt").write_text(points, encoding="utf-8")

    def module(self, distribution: str) -> str:
        """The module of a distribution, called differently in every test: Python keeps modules."""
        return f"{distribution}_{self.path.parent.name}".replace("-", "_")

    def entry_points(self) -> list[metadata.EntryPoint]:
        """What is installed here, and nothing else."""
        distributions = metadata.distributions(path=[str(self.path)])
        return [entry for dist in distributions for entry in dist.entry_points]


def status(plugins: Plugins, name: str) -> PluginStatus:
    """How the plugin called `name` fares."""
    return next(one for one in plugins.statuses() if one.name == name)
