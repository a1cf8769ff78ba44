"""The pages of reference: hooks, settings, routes and commands, as Markdown.

Pure: what is registered goes in, text comes out. What the code has no record of stands here in
words, and a test finds what is missing.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any

from docs import tables
from docs.records import Shape, reachable, shape_of
from docs.registered import HOST, Registered, children, fields, parser_of
from instar_host import hookspecs
from instar_host.commands import STATE_DIR_HELP
from instar_host.records import Parameter, Route
from instar_host.settings import FieldDoc, describe

MADE = "<!-- Made by `scripts/docs` from the code: change that, not this. -->"

ENVIRONMENT = {
    "INSTAR_STATE_DIR": "the state directory; `--state-dir` wins",
    "INSTAR_AUTH_TOKEN": "the bearer token of the HTTP API; wins over `authToken`",
    "INSTAR_PLUGINS": "`plugins.enabled`, with commas between the names",
    "INSTAR_DEBUG": "`1` shows tracebacks and how plugins failed",
    "INSTAR_TELEGRAM_TOKEN": "the bot's token; else `telegram.json` in the state directory (0600)",
    "INSTAR_TELEGRAM_CHAT_ID": "the group whose topics mirror the threads",
    "INSTAR_TELEGRAM_BASE_URL": "another Bot API server, such as one of your own",
    "CLAUDE_CONFIG_DIR": "Claude Code's own: its folders, with commas; `claudeDirs` wins",
}
"""Variables that no setting declares; a test finds any that is missing here."""

HOOKS = """# Hooks

{made}

{every_hook} An implementation may leave out arguments that it does not need.

[Writing a plugin](writing-a-plugin.md) shows how a package of yours gets in."""

SETTINGS = """# Settings

{made}

`config.json` in the state directory: `--state-dir`, else `INSTAR_STATE_DIR`, else `./.instar` if it
exists, is yours and nobody else can write to it, else `~/.instar`. The file is shared with instar
0.28: what is not listed here is left as it is; an unknown key in a section below is an error that
names the nearest one.

Lowest first: what an embedding host sets, the file, the environment, the command line.

## Top level"""

ROUTES = """# Routes

{made}

Every route but the open ones needs `Authorization: Bearer TOKEN`: 401 without, 403 with a wrong
one. Errors are `{{"error": "..."}}`. `GET /openapi.json` says the same for machines. `GET /` and
`GET /static/...` serve the page, which holds no data."""

COMMANDS = """# Commands

{made}

`--state-dir DIR` goes with every command: {state_dir}. `instar --version` prints the version.

Exit codes: 0 done, 1 a negative answer or a sentence on stderr, 2 wrong usage, 3 another process
holds the lease, 70 a defect, 130 interrupted, 141 nobody reads the answer."""

SETTING = ("key", "value", "default", "meaning")
TOP_LEVEL = {
    "authToken": (
        "text",
        "made at the first start",
        "the bearer token; the file is 0600; a blank one is none, and one is made in its place",
    ),
    "port": ("an integer from 0 to 65535", "`4042`", "where `instar serve` listens; 0: any free"),
    "projectName": ("text", "empty", "how this agent is called"),
}


def pages(found: Registered) -> dict[str, str]:
    """The text of every page, by file name."""
    return {
        "hooks.md": hooks_page(found),
        "config.md": config_page(found),
        "routes.md": routes_page(found),
        "cli.md": cli_page(found),
    }


def hooks_page(found: Registered) -> str:
    """Every hook, then every record that one of them gives or takes."""
    every_hook = tables.paragraph(hookspecs.__doc__, skip=1)
    lines = [HOOKS.format(made=MADE, every_hook=every_hook)]
    for owner, hooks in found.specifications.items():
        lines.append(f"## {'Of every host' if owner == HOST else f'Of the plugin {owner}'}")
        for hook in hooks:
            lines += [f"### `{tables.signature(hook)}`", tables.paragraph(hook.__doc__)]
            if hook.instar_spec["firstresult"]:  # type: ignore[attr-defined]
                lines.append("One plugin answers: the first whose answer is not None.")
    lines += ["## Records", "Immutable, made by keyword, new fields always get a default."]
    hooks_of_all = [hook for hooks in found.specifications.values() for hook in hooks]
    for cls in reachable(hooks_of_all):
        lines += list(_record(shape_of(cls)))
    return tables.page(lines)


def config_page(found: Registered) -> str:
    """Every setting, variable and flag."""
    top_level = [(f"`{key}`", *rest) for key, rest in TOP_LEVEL.items()]
    lines = [SETTINGS.format(made=MADE), tables.table(SETTING, top_level)]
    for section, cls in found.settings.items():
        rows = [_setting(doc) for doc in describe(cls)]
        lines += [f"## `{section}`", tables.table(SETTING, rows)]
    declared = {doc.env: section for section, doc in fields(found) if doc.env}
    lines += ["## Environment", tables.table(("variable", "meaning"), _variables(declared))]
    flags = [(f"`{o.flag}`", f"`{o.section}.{o.key}`", o.summary) for o in found.options]
    lines += [
        "## Flags that stand for settings",
        "`instar serve` takes all of them, other commands those that concern them.",
        tables.table(("flag", "setting", "meaning"), flags),
    ]
    return tables.page(lines)


def routes_page(found: Registered) -> str:
    """Every route with its parameters and answers, then ticks and tabs."""
    lines = [ROUTES.format(made=MADE)]
    for owner, routes in found.routes.items():
        lines.append(f"## {'Of every host' if owner == HOST else f'Of the plugin {owner}'}")
        for route in routes:
            lines += list(_route(route))
    ticks = [(f"`{o.value.name}`", o.plugin, _seconds(o.value)) for o in found.claims.ticks]
    panels = [(f"`{o.value.id}`", o.plugin, o.value.title) for o in found.claims.panels]
    lines += ["## Ticks", "They run in the process that holds the lease.",
              tables.table(("name", "plugin", "every"), ticks),
              "## Tabs", tables.table(("id", "plugin", "title"), panels)]  # fmt: skip
    return tables.page(lines)


def cli_page(found: Registered) -> str:
    """Every command with its arguments."""
    lines = [COMMANDS.format(made=MADE, state_dir=STATE_DIR_HELP)]
    for commands in found.commands.values():
        for command in commands:
            lines.append(f"## `instar {command.name}`")
            lines += list(_arguments(f"instar {command.name}", command.summary, parser_of(command)))
    return tables.page(lines)


def _arguments(name: str, summary: str, parser: argparse.ArgumentParser) -> Iterator[str]:
    yield tables.sentence(summary)
    rows = [_argument(action) for action in parser._actions if _is_own(action)]
    if rows:
        yield tables.table(("argument", "default", "meaning"), rows)
    for child, its in children(parser).items():
        yield f"### `{name} {child}`"
        yield from _arguments(f"{name} {child}", its.description or "", its)


def _is_own(action: argparse.Action) -> bool:
    return not isinstance(action, argparse._SubParsersAction | argparse._HelpAction)


def _argument(action: argparse.Action) -> tuple[str, str, str]:
    value = action.metavar or (action.dest.upper() if action.nargs != 0 else "")
    if action.choices is not None:
        value = "|".join(str(choice) for choice in action.choices)
    shown = " ".join([", ".join(action.option_strings), str(value)]).strip()
    plain = action.default in (None, False, argparse.SUPPRESS) or action.default == []
    return f"`{shown}`", "" if plain else f"`{action.default}`", action.help or ""


def _record(shape: Shape) -> Iterator[str]:
    yield f"### `{shape.name}`"
    yield f"{tables.paragraph(shape.doc)} From `{shape.package}`."
    rows = [(f"`{f.name}`", f"`{f.kind}`", f"`{f.default}`" if f.default else "", f.doc)
            for f in shape.fields]  # fmt: skip
    if rows:
        yield tables.table(("field", "type", "default", "meaning"), rows)


def _setting(doc: FieldDoc) -> tuple[str, str, str, str]:
    allowed = f"{doc.allowed}, {doc.unit}" if doc.unit else doc.allowed
    return f"`{doc.key}`", allowed, f"`{doc.default}`" if doc.default else "", doc.description


def _variables(declared: dict[str, str]) -> list[tuple[str, str]]:
    known = ENVIRONMENT | {
        v: f"the section `{s}`" for v, s in declared.items() if v not in ENVIRONMENT
    }
    return [(f"`{variable}`", meaning) for variable, meaning in known.items()]


def _route(route: Route) -> Iterator[str]:
    yield f"### `{route.method} {route.path}`"
    access = " Open: needs no token." if route.access == "open" else ""
    yield tables.sentence(route.summary) + access
    rows = [(f"`{p.name}`", p.place, _schema(p), p.summary) for p in route.parameters]
    if rows:
        yield tables.table(("parameter", "in", "value", "meaning"), rows)
    if route.body_schema is not None:
        members = route.body_schema.get("properties", {})
        said = ", ".join(f"`{name}`" for name in members) or "any"
        at_most = f"at most {route.max_body_bytes // 1024} KiB"
        yield f"The body is a JSON object of {at_most}; members: {said}."
    answers = ", ".join(f"{status} {words}" for status, words in sorted(route.answers.items()))
    yield f"Answers: {answers}."


def _schema(parameter: Parameter) -> str:
    schema: dict[str, Any] = dict(parameter.schema)
    if "enum" in schema:
        return " or ".join(f"`{value}`" for value in schema["enum"])
    low, high = schema.get("minimum"), schema.get("maximum")
    bounds = {(True, True): f" from {low} to {high}", (True, False): f" from {low}"}
    return str(schema.get("type", "any")) + bounds.get((low is not None, high is not None), "")


def _seconds(tick: Any) -> str:
    return f"{tick.every_s:g} s"
