"""The pages of reference say what the code says, and everything on them is tested somewhere."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from docs.generate import HERE
from docs.pages import ENVIRONMENT, TOP_LEVEL, pages
from docs.records import reachable, shape_of
from docs.registered import PACKAGES, ROOT, Registered, fields, registered
from instar_host import Response, Route
from tests.docs.coverage import texts_of_tests, unnamed


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registered]:
    """Everything that our plugins bring."""
    made = registered(tmp_path_factory.mktemp("state"))
    yield made
    made.host.plugins.close()


@pytest.mark.parametrize("name", ["hooks.md", "config.md", "routes.md", "cli.md"])
def test_a_page_says_what_the_code_says(found: Registered, name: str) -> None:
    """A page that lags behind fails here; `scripts/docs` brings it up to date."""
    assert (HERE / name).read_text(encoding="utf-8") == pages(found)[name]


def test_every_hook_setting_route_and_command_is_named_by_a_test(found: Registered) -> None:
    """What nobody tests does not exist, or should not."""
    assert unnamed(found, texts_of_tests()) == []


def test_something_new_without_a_test_is_found(found: Registered) -> None:
    """The check above is no formality: a route that nobody tests is named."""
    route = Route(method="POST", path="/tokens/nowhere/{id}", endpoint=lambda _: Response())
    more = msgspec.structs.replace(found, routes={**found.routes, "new": (route,)})
    new = set(unnamed(more, texts_of_tests())) - set(unnamed(found, texts_of_tests()))
    assert new == {"the route POST /tokens/nowhere/{id}"}


def test_everything_registered_has_words(found: Registered) -> None:
    """A hook, setting, route, parameter, command or flag without a description is unfinished."""
    hooks = [
        hook.__name__ for of in found.specifications.values() for hook in of if not hook.__doc__
    ]
    settings = [f"{section}.{doc.key}" for section, doc in fields(found) if not doc.description]
    routes = [route.path for of in found.routes.values() for route in of if not route.summary]
    parameters = [
        f"{route.path} {parameter.name}"
        for of in found.routes.values()
        for route in of
        for parameter in route.parameters
        if not parameter.summary
    ]
    commands = [one.name for of in found.commands.values() for one in of if not one.summary]
    flags = [option.flag for option in found.options if not option.summary]
    assert [*hooks, *settings, *routes, *parameters, *commands, *flags] == []


def test_the_hooks_documented_are_those_that_exist(found: Registered) -> None:
    """A hookspec that its plugin forgets to add would be documented and dead."""
    documented = {hook.__name__ for of in found.specifications.values() for hook in of}
    assert documented == set(found.host.plugins.hooks())


def test_every_record_can_be_imported_from_where_the_page_says(found: Registered) -> None:
    """A plugin that names its types imports them; what only lies in some inner module may move."""
    hooks = [hook for of in found.specifications.values() for hook in of]
    shapes = [shape_of(cls) for cls in reachable(hooks)]
    assert [shape.name for shape in shapes if not shape.package] == []
    for shape in shapes:
        assert shape.name in importlib.import_module(shape.package).__all__
    assert {"Committed", "TopicSent", "TickStatus"} <= {shape.name for shape in shapes}


def test_every_environment_variable_is_documented(found: Registered) -> None:
    """A variable that the code reads stands on the page of settings."""
    sources = [path for package in PACKAGES for path in (ROOT / package).rglob("*.py")]
    read = {
        name
        for path in sources
        for name in re.findall(r"[\"'](INSTAR_[A-Z_]+)[\"']", path.read_text(encoding="utf-8"))
    }
    declared = {doc.env for _, doc in fields(found) if doc.env}
    assert read - set(ENVIRONMENT) - declared == set()


def test_every_top_level_key_is_tested() -> None:
    """The keys outside every section are few, and each is read by name in some test."""
    text = "\n".join(texts_of_tests())
    assert [key for key in TOP_LEVEL if f'"{key}"' not in text] == []


def test_links_between_pages_lead_somewhere() -> None:
    """No page of the documentation links to one that is not there."""
    pages_of = [*(ROOT / "docs").glob("*.md"), ROOT / "README.md"]
    dead = [
        f"{page.name}: {target}"
        for page in pages_of
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
        if not (page.parent / Path(target)).exists()
    ]
    assert dead == []
