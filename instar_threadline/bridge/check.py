"""Is everything there that the bridge needs: the token, the chat, topics, rights. With a cure
for what is not.

Promises three questions that change nothing, and sentences a person can follow on a phone.
"""

from __future__ import annotations

from typing import Any, Protocol

from msgspec import Struct

from instar_threadline.bridge.port import AuthFailed, ChatError, TargetUnavailable

CURE_TOKEN = "ask @BotFather for a new token (/token) and put it where the old one is"  # noqa: S105
CURE_CHAT = "add the bot to the group, and use the group's id (it begins with -100)"
CURE_FORUM = "group settings, Topics: switch them on; without them everything lands in one chat"
CURE_ADMIN = "group settings, Administrators: add the bot, with the right to manage topics"


class Finding(Struct, frozen=True, kw_only=True):
    """One thing that was looked at."""

    name: str
    ok: bool
    says: str
    cure: str = ""


class Asks(Protocol):
    """A client that can be asked questions."""

    @property
    def chat_id(self) -> int:
        """The chat."""
        ...

    def ask(self, method: str, **fields: Any) -> Any:
        """One read-only question."""
        ...


def check(client: Asks) -> list[Finding]:
    """What was found, in order; what depends on a failed answer is left out."""
    try:
        me = client.ask("getMe")
    except AuthFailed as error:
        return [Finding(name="token", ok=False, says=str(error), cure=CURE_TOKEN)]
    except ChatError as error:
        return [_unreachable("token", error)]
    findings = [Finding(name="token", ok=True, says=f"the bot is @{me.get('username', '?')}")]
    try:
        chat = client.ask("getChat", chat_id=client.chat_id)
    except TargetUnavailable as error:
        return [*findings, Finding(name="chat", ok=False, says=str(error), cure=CURE_CHAT)]
    except ChatError as error:
        return [*findings, _unreachable("chat", error)]
    kind = str(chat.get("type", "?"))
    title = str(chat.get("title") or chat.get("first_name") or "")[:64]
    findings.append(Finding(name="chat", ok=True, says=f"{kind} {title}".strip()))
    findings.append(_topics(me, chat))
    if kind in ("group", "supergroup"):
        findings.append(_rights(client, me))
    return findings


def _topics(me: dict[str, Any], chat: dict[str, Any]) -> Finding:
    if chat.get("is_forum") or (chat.get("type") == "private" and me.get("has_topics_enabled")):
        return Finding(name="topics", ok=True, says="topics are on")
    return Finding(name="topics", ok=False, says="the chat has no topics", cure=CURE_FORUM)


def _rights(client: Asks, me: dict[str, Any]) -> Finding:
    try:
        member = client.ask("getChatMember", chat_id=client.chat_id, user_id=me["id"])
    except ChatError as error:
        return _unreachable("rights", error)
    if member.get("status") not in ("administrator", "creator"):
        says = "the bot is no administrator: it cannot open topics and is slowed down"
        return Finding(name="rights", ok=False, says=says, cure=CURE_ADMIN)
    if not (member.get("can_manage_topics") or member.get("status") == "creator"):
        says = "the bot may not manage topics"
        return Finding(name="rights", ok=False, says=says, cure=CURE_ADMIN)
    return Finding(name="rights", ok=True, says="the bot is an administrator and may manage topics")


def _unreachable(name: str, error: ChatError) -> Finding:
    return Finding(
        name=name,
        ok=False,
        says=f"Telegram gave no usable answer: {error}",
        cure="look at the network of this machine and at INSTAR_TELEGRAM_BASE_URL, and try again",
    )
