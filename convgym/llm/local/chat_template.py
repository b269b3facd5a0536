"""Chat templates: which one is a model's, and what it puts around the words of a conversation.

A template is a program that renders a whole conversation. It is rendered with stand-ins for the
words; what stands between the stand-ins are the frames of a format in which every utterance is
encoded on its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from convgym.errors import ConvgymError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_NAMES = ("aardvark", "bumblebee", "chinchilla", "dragonfly", "echidna")


@dataclass(frozen=True, slots=True)
class ChatFrames:
    """What a chat template puts around the words of a conversation, as text."""

    opening: tuple[str, str]
    """Before and after the user's first words; the system message is part of it."""
    reply: tuple[str, str]
    """Between an answer's end and the user's next words, and after them."""
    answer: tuple[str, str]
    """White space before and after an answer's words, which the model writes itself."""
    end: str
    """The token that ends an answer."""


def named_template(tokenizer: PreTrainedTokenizerBase) -> str | None:
    """Return a tokenizer's chat template, of several the one called ``default``; None without.

    Raises:
        ConvgymError: for several templates, none of which is called ``default``.
    """
    template = tokenizer.chat_template
    if isinstance(template, Sequence) and not isinstance(template, str):
        template = {entry["name"]: entry["template"] for entry in template}
    if isinstance(template, Mapping) and template:
        if "default" not in template:
            names = ", ".join(sorted(template))
            raise ConvgymError(
                f"the model's tokenizer has chat templates called {names}, and none called "
                "'default': set tokenizer.chat_template to one of them and save the tokenizer"
            )
        template = template["default"]
    return str(template) if template else None


def render(
    tokenizer: PreTrainedTokenizerBase, messages: Sequence[Mapping[str, str]], **options: Any
) -> str:
    """Return what a model is to read before it answers; any error is the template's."""
    return str(
        tokenizer.apply_chat_template(
            [dict(message) for message in messages],
            chat_template=named_template(tokenizer),
            tokenize=False,
            add_generation_prompt=True,
            **options,
        )
    )


def system_in_first(messages: Sequence[Mapping[str, str]]) -> list[dict[str, str]]:
    """Return messages with a leading system message in front of the first user's words.

    For templates that know no system role. What the assistant says before any user does follows
    a user's message of the system's words alone.
    """
    rest = [dict(message) for message in messages]
    if not rest or rest[0]["role"] != "system":
        return rest
    system = rest.pop(0)["content"]
    if not rest or rest[0]["role"] != "user":
        return [{"role": "user", "content": system}, *rest]
    return [{"role": "user", "content": f"{system}\n\n{rest[0]['content']}"}, *rest[1:]]


def read_frames(tokenizer: PreTrainedTokenizerBase, system_message: str = "") -> ChatFrames:
    """Return the frames of a tokenizer's chat template.

    A system message goes in front of the first user's words where the template takes no system
    role, leaves it out, or puts it elsewhere each turn. Templates that open a block of thoughts
    are asked for an empty one.

    Raises:
        ConvgymError: when the template cannot be rendered, changes what is said, renders earlier
            messages anew each turn, so that no conversation is a prefix of its continuation, or
            ends answers with no token of their own.
    """
    words = _stand_ins(f"{named_template(tokenizer)}{system_message}")
    problems = []
    for messages, options in _ways(system_message):

        def rendered(
            *contents: str,
            messages: Callable[[Sequence[str]], list[dict[str, str]]] = messages,
            options: Mapping[str, Any] = options,
        ) -> str:
            return render(tokenizer, messages(contents), **options)

        try:
            # What an option does not change is no answer to it.
            heeded = bool(options) and rendered(words[0]) != rendered(words[0], options={})
            frames = _frames(rendered, words, _token_texts(tokenizer), heeded)
            # Some templates leave the system message out without a word.
            if system_message.strip() not in frames.opening[0] + frames.opening[1]:
                raise _UnusableTemplate("it leaves the system message out")
            return frames
        except _UnusableTemplate as problem:
            problems.append(str(problem))
        except Exception as problem:  # templates are programs of strangers
            problems.append(f"it cannot be rendered: {problem}")
    raise ConvgymError(
        "this model's chat template cannot be used: "
        f"{problems[-1] if len(set(problems)) == 1 else problems[0]}; "
        "use a model with a plain template, such as ChatML"
    )


def short_template(tokenizer: PreTrainedTokenizerBase, end: str) -> str:
    """Return a template that puts one token between utterances, and names no roles.

    Args:
        tokenizer: of the model; where it has a token for beginnings, that comes first.
        end: the token, which ends an answer in the model's own template.
    """
    opening = "{{ bos_token }}" if tokenizer.bos_token else ""
    return f"{opening}{{% for message in messages %}}{{{{ message.content }}}}{end}{{% endfor %}}"


class _UnusableTemplate(Exception):
    """Why a template has no frames."""


def _ways(
    system_message: str,
) -> Iterator[tuple[Callable[[Sequence[str]], list[dict[str, str]]], dict[str, Any]]]:
    """Yield ways to have a template rendered: messages from contents, and options."""

    def with_role(contents: Sequence[str]) -> list[dict[str, str]]:
        system = [{"role": "system", "content": system_message}] if system_message else []
        roles = ("user", "assistant")
        return system + [
            {"role": roles[index % 2], "content": content} for index, content in enumerate(contents)
        ]

    def in_first(contents: Sequence[str]) -> list[dict[str, str]]:
        return system_in_first(with_role(contents))

    for options in ({}, {"enable_thinking": False}):
        yield with_role, options
        if system_message:
            yield in_first, options


def _stand_ins(text: str) -> tuple[str, ...]:
    """Return words that do not occur in a text."""
    words: tuple[str, ...] = _NAMES
    while any(word in text for word in words):
        words = tuple(word + word[-1] for word in words)
    return words


def _token_texts(tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """Return the texts that are tokens of their own, the longest first."""
    texts = {str(token) for token in tokenizer.added_tokens_decoder.values()}
    return sorted({text for text in texts if text.strip()}, key=len, reverse=True)


def _frames(
    rendered: Callable[..., str], words: tuple[str, ...], tokens: Sequence[str], unthinking: bool
) -> ChatFrames:
    """Return the frames of a template, from its renderings with stand-ins."""
    first, answer, second, other_answer, third = words
    short, long, longer = rendered(first), rendered(first, answer, second), rendered(*words)
    for text, said in ((short, words[:1]), (long, words[:3]), (longer, words)):
        if any(text.count(word) != 1 for word in said):
            raise _UnusableTemplate(
                "it repeats, changes or leaves out what is said, so that no conversation is a "
                "prefix of its continuation"
            )
    before, after = long.split(answer)
    gap = before[len(short) :] if before.startswith(short) else ""
    # What the next answer is prompted with beyond what stands in front of earlier ones.
    hint = short[len(before) :] if short.startswith(before) else ""
    if not (before.startswith(short) or short.startswith(before)) or gap.strip():
        raise _UnusableTemplate("it does not keep a conversation as a prefix of its continuation")
    if hint.strip() and not unthinking:
        raise _UnusableTemplate(
            f"it prompts for answers with {hint.strip()!r}, and does not keep that in front of "
            "earlier ones"
        )
    rest = after.lstrip()
    end = next((token for token in tokens if rest.startswith(token)), None)
    if end is None:
        raise _UnusableTemplate("an answer ends with no token of its own")
    blank = after[: len(after) - len(rest)]
    opening_before, opening_after = short.split(first)
    reply_before, reply_after = rest[len(end) :].split(second)

    def told(frame: str) -> str:
        return frame[: len(frame) - len(hint)]

    again = gap + answer + blank + end + reply_before + second + told(reply_after)
    other = gap + other_answer + blank + end + reply_before + third + reply_after
    if longer != opening_before + first + told(opening_after) + again + other:
        raise _UnusableTemplate("it does not keep a conversation as a prefix of its continuation")
    return ChatFrames(
        (opening_before, opening_after), (reply_before, reply_after), (gap, blank), end
    )
