"""Who speaks for whom: the words of a file for the customer, the seller and everybody else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from convgym.errors import ConvgymError, unknown
from convgym.exchange.chats import Chat
from convgym.exchange.settings import ImportSettings

Side = Literal["user", "assistant"]
REST = "*"
"""In place of a role: everybody who is not named otherwise."""

CUSTOMERS = frozenset(
    "user human customer client buyer visitor guest shopper lead prospect consumer caller kunde"
    " kundin client cliente klant клиент покупатель 客户 顾客".split()
)
SELLERS = frozenset(
    "assistant gpt chatgpt model bot chatbot seller agent sales salesperson salesman rep"
    " representative operator support advisor consultant shop store verkäufer verkäuferin vendeur"
    " vendedor продавец менеджер 客服 销售".split()
)
BYSTANDERS = frozenset(
    "system developer tool function observation function_call function_response tool_call"
    " tool_response event notification note info".split()
)


@dataclass(frozen=True)
class Roles:
    """The words of one file for each side, in lower case."""

    customer: frozenset[str]
    seller: frozenset[str]
    bystanders: frozenset[str]

    def side(self, role: str) -> Side | None:
        """Return whose word it is; None for a bystander."""
        word = plain_role(role)
        if word in self.bystanders:
            return None
        if word in self.customer or (REST in self.customer and word not in self.seller):
            return "user"
        return "assistant"


def plain_role(role: str) -> str:
    """Return a role as roles are compared: without case and outer blanks."""
    return " ".join(role.split()).casefold()


def find_roles(chats: Iterable[Chat], settings: ImportSettings) -> Roles:
    """Return who speaks for whom: as named, or else by the usual words.

    Raises:
        ConvgymError: for a role that nobody has, that is on two sides, or that is on none.
    """
    counts = Counter(plain_role(said.role) for chat in chats for said in chat.messages)
    named = {
        "customer": _named("customer", settings.customer, counts),
        "seller": _named("seller", settings.seller, counts),
        "ignore": _named("ignore", settings.ignore, counts),
    }
    taken = Counter(word for words in named.values() for word in words)
    if twice := [word for word, times in taken.items() if times > 1]:
        raise ConvgymError(f"role {twice[0]!r} is named for two sides: it can be on one only")
    roles = Roles(
        customer=named["customer"] or CUSTOMERS - {*taken},
        seller=named["seller"] or SELLERS - {*taken},
        bystanders=named["ignore"] | (BYSTANDERS - named["customer"] - named["seller"]),
    )
    sides = roles.customer | roles.seller
    strangers = [role for role, _ in counts.most_common() if role not in sides | roles.bystanders]
    if strangers and REST not in sides:
        listed = ", ".join(f"{role!r} ({counts[role]} messages)" for role in strangers[:8])
        more = f" and {len(strangers) - 8} more" if len(strangers) > 8 else ""
        raise ConvgymError(
            f"who is {listed}{more}? Name them by --customer, --seller or --ignore; '*' stands for"
            " everybody else"
        )
    return roles


def with_sides(chat: Chat, roles: Roles) -> Chat:
    """Return a chat whose roles are ``user``, ``assistant`` or, for bystanders, what they were."""
    return replace(
        chat,
        messages=tuple(
            replace(said, role=roles.side(said.role) or f"({plain_role(said.role)})")
            for said in chat.messages
        ),
    )


def _named(side: str, roles: Sequence[str], counts: Counter[str]) -> frozenset[str]:
    words = [plain_role(role) for role in roles]
    for word in words:
        if word != REST and word not in counts:
            listed = [f"{role} ({count})" for role, count in counts.most_common(8)]
            raise unknown(f"role for --{side}", word, listed or ["no role at all"])
    return frozenset(words)
