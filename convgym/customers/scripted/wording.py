"""The scripted customer's words: several phrasings for everything it can want to say."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

PHRASES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "opening": (
            "Hi, I am looking for a {item}.",
            "Hello, I need a new {item}.",
            "Good morning, can you help me find a {item}?",
            "Hey, my old {item} just died.",
            "Hi there, I want to buy a {item}.",
        ),
        "opening_need": (
            "Hi, I am looking for a {item} for {need}.",
            "Hello, I need a {item}, mainly for {need}.",
        ),
        "need": (
            "I need it for {need}.",
            "Mostly for {need}.",
            "It is for {need}.",
            "Well, {need}.",
        ),
        "feature": (
            "What matters most to me is {feature}.",
            "For me it is {feature}.",
            "Above all, {feature}.",
            "I care about this: {feature}.",
        ),
        "budget": (
            "I can spend about {budget}.",
            "Around {budget}.",
            "My budget is {budget}.",
            "Not more than {budget} or so.",
        ),
        "told_before": ("I told you already. {again}", "You asked me that before. {again}"),
        "no_concern": (
            "No, nothing on my mind.",
            "No worries so far.",
            "I have no concerns.",
        ),
        "objection_price": (
            "It looks a bit expensive to me.",
            "Hmm, that is a lot of money.",
            "I am not sure that the price is fair.",
        ),
        "objection_warranty": (
            "What if it breaks after a month?",
            "And if something goes wrong with it?",
            "I worry that it will not last.",
        ),
        "objection_delivery": (
            "How long until it gets here?",
            "I would need it soon.",
            "When would I have it at home?",
        ),
        "objection_reviews": (
            "I have never heard of that brand.",
            "Are other people happy with it?",
            "How do I know that it is any good?",
        ),
        "good_offer": (
            "That sounds like what I need.",
            "Oh, I like that one.",
            "The {product} sounds good.",
        ),
        "bad_offer": (
            "I do not think that it suits me.",
            "That is not what I am after.",
            "Hmm, the {product} does not convince me.",
        ),
        "too_expensive": ("That is over my budget.", "I cannot pay that much."),
        "doubtful_offer": (
            "How do you know that it suits me?",
            "You hardly know what I need.",
        ),
        "resolved": ("Good, that helps.", "Okay, that is good to know.", "Fine, that settles it."),
        "not_asked": ("Okay, but that is not my question.", "That does not matter to me."),
        "wrong_answer": ("That does not answer my question.", "That was not my point."),
        "buy": (
            "Yes, I will take it.",
            "Deal, I will buy the {product}.",
            "Sounds good, let us do it.",
        ),
        "refuse_objection": (
            "Not yet, I still have a concern.",
            "I am not ready, something bothers me.",
        ),
        "refuse_unsuitable": ("No, it is not right for me.", "No, I do not think I want that one."),
        "refuse_unsure": ("I am not sure yet.", "Maybe later, I am not convinced."),
        "refuse_again": ("I said no.", "Please stop asking."),
        "nothing_shown": ("Buy what?", "You have not shown me anything yet."),
        "silence": ("Hello? Are you there?", "Hello?"),
        "garbled": ("Sorry, I do not understand.", "What do you mean?"),
        "stuffed": ("That is too much at once.", "One thing at a time, please."),
        "too_long": ("That is a long speech.",),
        "repeated": ("You said that already.", "You are repeating yourself."),
        "false_claim": (
            "That is not what the label says.",
            "Wait, the label says something else.",
        ),
        "irrelevant": (
            "Okay, but I am here for a {item}.",
            "I do not see how that helps me.",
            "Right. So, about the {item}?",
        ),
        "courtesy": ("Hello.", "Thank you."),
        "pushy": ("Do not push me.", "Please do not rush me."),
        "leave": (
            "This takes too long, goodbye.",
            "I will look somewhere else, bye.",
            "Thanks, but I have to go.",
        ),
        "leave_annoyed": ("I have had enough, goodbye.", "This is a waste of my time, bye."),
    }
)

EVASIONS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "evade_tangent": (
            "Oh, that reminds me of my neighbour.",
            "Did you see the rain this morning?",
            "You know, I was here last year as well.",
            "My sister told me about this shop.",
            "Sorry, I was thinking of lunch.",
        ),
        "evade_silence": ("...", "Hm.", "Well."),
        "just_looking": ("Oh, I am just looking around.", "I am only having a look today."),
    }
)
"""What the personas with manners say besides."""

FRAGMENTS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "opening": ("Hi.", "Hello."),
        "opening_need": ("For {need}.",),
        "need": ("{need}.",),
        "feature": ("{feature}.",),
        "budget": ("{budget}.", "About {budget}."),
        "told_before": ("Again? {again}", "{again}"),
        "no_concern": ("Nothing.", "None."),
        "objection_price": ("Expensive.", "Much money."),
        "objection_warranty": ("Goes wrong?", "Will last?"),
        "objection_delivery": ("When?", "How soon?"),
        "objection_reviews": ("Which brand?", "Any good?"),
        "good_offer": ("Sounds good.", "Fine."),
        "bad_offer": ("Not that.", "No."),
        "too_expensive": ("Too much.",),
        "doubtful_offer": ("Why that?",),
        "resolved": ("Good.", "Okay."),
        "not_asked": ("Not asked.",),
        "wrong_answer": ("Not that.",),
        "buy": ("Deal.", "Yes."),
        "refuse_objection": ("Not yet.",),
        "refuse_unsuitable": ("No.",),
        "refuse_unsure": ("Not sure.", "Maybe later."),
        "refuse_again": ("No.", "No again."),
        "nothing_shown": ("Buy what?",),
        "silence": ("Hello?",),
        "garbled": ("What?", "Sorry?"),
        "stuffed": ("Too much.",),
        "too_long": ("Too long.",),
        "repeated": ("Heard that.",),
        "false_claim": ("Not true.",),
        "irrelevant": ("And?", "So?"),
        "courtesy": ("Hello.",),
        "pushy": ("Slowly.",),
        "leave": ("Bye.",),
        "leave_annoyed": ("Enough. Bye.",),
    }
)
"""The same things in a word or two."""
