"""Thoughts are told from words, whatever marks them, and ordinary text is left alone."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convgym.conversation import clean
from convgym.reasoning import heard, strip_reasoning

MARKED = [
    "<think>Hm.</think>Hello.",
    "<THINK>\nHm.\n</THINK>\n\nHello.",
    "< think >Hm.</ think >Hello.",
    '<think duration="3">Hm.</think>Hello.',
    "Hm.</think>Hello.",
    "<thinking>Hm.</thinking>Hello.",
    "<think>Hm.</thinking>Hello.",
    "<reasoning>Hm.</reasoning><answer>Hello.</answer>",
    "<thought>Hm.</thought>Hello.",
    "<analysis>Hm.</analysis>Hello.",
    "<scratchpad>Hm.</scratchpad>Hello.",
    "<seed:think>Hm.</seed:think>Hello.",
    "<longcat_think>Hm.</longcat_think>Hello.",
    "&lt;think&gt;Hm.&lt;/think&gt;Hello.",
    "\\u003cthink\\u003eHm.\\u003c/think\\u003eHello.",
    "[THINK]Hm.[/THINK]Hello.",
    "[think]Hm.[/think]Hello.",
    "◁think▷Hm.◁/think▷Hello.",
    "<|START_THINKING|>Hm.<|END_THINKING|><|START_RESPONSE|>Hello.<|END_RESPONSE|>",
    "<|begin_of_thought|>Hm.<|end_of_thought|><|begin_of_solution|>Hello.<|end_of_solution|>",
    "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>final<|message|>Hello.",
    "Hm.<|end|><|start|>assistant<|channel|>final<|message|>Hello.<|return|>",
    "analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>final<|message|>Hello.",
    "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|message|>Hello.",
    "analysisHm.assistantfinalHello.",
    "<|channel>thought\nHm.<channel|>Hello.",
    '<details type="reasoning" done="true">Hm.</details>Hello.',
    "```thinking\nHm.\n```\nHello.",
    "<|think_start|>Hm.<|think_end|>Hello.",
    "<think_start>Hm.<think_end>Hello.",
    "<start_of_thought>Hm.<end_of_thought>Hello.",
    "<|thinking|>Hm.<|/thinking|>Hello.",
    "<\uff5cbegin▁of▁thinking\uff5c>Hm.<\uff5cend▁of▁thinking\uff5c>Hello.",
    "Here is my thought process: Hm. Here is my response: Hello.",
    "Thinking...\nHm.\n...done thinking.\nHello.",
]


@pytest.mark.parametrize("text", MARKED)
def test_words_and_thoughts(text: str) -> None:
    assert strip_reasoning(text) == ("Hello.", "Hm.")


@pytest.mark.parametrize(
    ("text", "said", "thought"),
    [
        ("<think>Hm.", "", "Hm."),
        ("Hello. <think>Hm.", "Hello.", "Hm."),
        ("Hm.</think>", "", "Hm."),
        ("<think></think>Hello.", "Hello.", ""),
        ("<think/>Hello.", "Hello.", ""),
        ("<think>a</think>Hello. <think>b</think>Bye.", "Hello.  Bye.", "a\nb"),
        ("<think>a<think>b</think>c</think>Hello.", "Hello.", "a\nb\nc"),
        ("<think>Say </reasoning>, then?</think>Hello.", "Hello.", "Say\n, then?"),
        ("<|channel|>analysis<|message|>Hm.", "", "Hm."),
        ("<|channel|>ana", "", ""),
        ("analysisHm.", "", "Hm."),
        ("Here is my thought process: Hm.", "", "Hm."),
    ],
)
def test_thoughts_that_do_not_begin_or_end(text: str, said: str, thought: str) -> None:
    assert strip_reasoning(text) == (said, thought)


@pytest.mark.parametrize(
    "text",
    [
        "I think it is fine, and my reasoning is <short>.",
        "Our analysis says so; a < b > c [sic] [1].",
        "[thinking] I see.",
        "Thinking... no.\nIt is too dear.",
        "The assistant has the final word. <3",
        "analysis of the market",
        "What is your thought process: price first?",
        "```json\n{}\n``` and ```no thinking```",
        "<b>bold</b> &lt;b&gt; {x} ◁",
    ],
)
def test_ordinary_text_is_unchanged(text: str) -> None:
    assert strip_reasoning(text) == (text, "")
    assert heard(text) == clean(text)


@given(st.text(st.characters(exclude_characters="<[◁&\\`"), max_size=200))
def test_text_without_brackets_is_heard_as_it_is(text: str) -> None:
    assert heard(text) == clean(text)


PIECES = ["<think>", "</think>", "[THINK]", "[/THINK]", "<|channel|>", "analysis", "final"]
PIECES += ["<|message|>", "<|end|>", "assistantfinal", "<th\u200bink>", "◁/think▷", "Hm.", " "]


@given(st.lists(st.one_of(st.sampled_from(PIECES), st.text(max_size=4))).map("".join))
def test_what_was_heard_is_heard_the_same_again(text: str) -> None:
    assert heard(heard(text)) == heard(text)


def test_long_thoughts_hide_no_words() -> None:
    assert heard("<think>" + "I wonder. " * 100_000 + "</think>Hello.") == "Hello."


@pytest.mark.parametrize(
    "piece", ["<", "< ", "<think ", "<think>", "[think]", "<|", "&lt;", "<|channel|>", "<details "]
)
def test_endless_marks_are_read_quickly(piece: str) -> None:
    started = time.process_time()
    heard(piece * 20_000)
    assert time.process_time() - started < 1


@pytest.mark.parametrize(
    "text",
    [
        "<planning>Hm.</planning>Hello.",
        "<scratch_pad>Hm.</scratch_pad>Hello.",
        "<rationale>Hm.</rationale>Hello.",
        "<my thinking>Hm.</my thinking>Hello.",
        "<Chain of Thought>Hm.</Chain of Thought>Hello.",
        "<unused94>thought\nHm.<unused95>Hello.",
        "<thi\u200bnk>Hm.</thi\u200bnk>Hello.",
        "<think>Hm.<\\think>Hello.",
        "<think>Hm.<think/>Hello.",
        "<think>Hm.<think>Hm.</think>Hm.</think>Hello.",
        "\uff1cthink\uff1eHm.\uff1c\uff0fthink\uff1eHello.",
        "&#60;think&#62;Hm.&#60;/think&#62;Hello.",
        "&#x3C;think&#x3E;Hm.&#x3C;/think&#x3E;Hello.",
        "【think】Hm.【/think】Hello.",
        "{think}Hm.{/think}Hello.",
        "(thinking) Hm. (/thinking) Hello.",
        "«Think»Hm.«/Think»Hello.",
        "<details><summary>Thought for 3 seconds</summary>\nHm.\n</details>\nHello.",
        "<details type=reasoning done=true><summary>x</summary>Hm.</details>Hello.",
        "~~~thinking\nHm.\n~~~\nHello.",
        "````thinking\nHm.\n```\nHm.\n````\nHello.",
        "```thought_process\nHm.\n```\nHello.",
        "THINKING...\nHm.\n...DONE THINKING.\nHello.",
        "\U0001f914 Thinking\u2026\nHm.\n\u2026done thinking.\nHello.",
        "Here's a thinking process:\nHm.\n\nHere is my response: Hello.",
        "**Thinking:** Hm.\n\n**Answer:** Hello.",
        "### Reasoning\nHm.\n### Answer\nHello.",
        "Thought: Hm.\nFinal Answer: Hello.",
        "analysis\nHm.\nassistant\nfinal\nHello.",
        "commentary Hm. assistantfinal Hello.",
    ],
)
def test_thoughts_under_other_marks(text: str) -> None:
    said, reasoning = strip_reasoning(text)
    assert clean(said) == heard(text) == "Hello."
    assert "Hm." in reasoning


@pytest.mark.parametrize(
    "text",
    [
        "(thinking) Well, the Kestrel.",
        "{think} of it as a gift.",
        "My reasoning: it is light.\nThe answer: yes.",
        "Thoughts:\nit is light.\nIt is yours.",
        "Our analysis says so. The assistant final check is free.",
        "Thinking... ok, the Kestrel.",
        "<details><summary>The price</summary>It is 5.</details>",
    ],
)
def test_words_that_only_look_like_marks_are_said(text: str) -> None:
    assert strip_reasoning(text) == (text, "")


@pytest.mark.parametrize(
    "mark", ["</think>", "<think>", "<think></think>", "[/THINK]", "<details "]
)
def test_a_flood_of_marks_takes_no_time(mark: str) -> None:
    start = time.perf_counter()
    heard(mark * 100_000)
    assert time.perf_counter() - start < 5
