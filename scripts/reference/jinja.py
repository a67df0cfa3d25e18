#!/usr/bin/env python3
"""Render small templates, a feature or an edge of one each, with Jinja2 as transformers sets it
up (transformers/utils/chat_template_utils.py), and write internal/testfiles/testdata/jinja.json,
which the tests of model/tokenizer/jinja compare with. Needs python3-jinja2."""

import json
import os

import jinja2
import jinja2.ext
from jinja2.sandbox import ImmutableSandboxedEnvironment

OUT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "internal", "testfiles", "testdata", "jinja.json")

# What every template is given: as JSON, so that both sides read the same.
VARIABLES = {
    "messages": [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": None, "tool_calls": [
            {"type": "function", "function": {"name": "f", "arguments": {"x": 1, "y": [1.5, None, True], "z": "\u00e9<&>'\""}}}]},
        {"role": "tool", "content": "7"},
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
    ],
    "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {"x": {"type": "integer"}}, "items": 3, "required": ["x"]}}}],
    "n": 7, "neg": -7, "f": 2.5, "big": 12345678901234567890123, "t": True, "no": None, "e": "", "s": "Hello World", "u": "na\u00efve \u4f60\u597d \U0001f642\u00df",
    "words": ["b", "A", "c", "a"], "nums": [3, 1, 2], "d": {"b": 1, "A": 2, "c": 0}, "nested": [[1, 2], [3, [4]]],
    "people": [{"name": "Bo", "age": 30, "tags": {"k": 1}}, {"name": "al", "age": 25, "tags": {"k": 3}}, {"name": "Cy", "age": 30, "tags": {"k": 2}}],
    "tree": [{"v": 1, "c": [{"v": 2, "c": []}, {"v": 3, "c": [{"v": 4, "c": []}]}]}, {"v": 5, "c": []}],
    "html": "<b>x & 'y'</b>", "lines": "one\ntwo\r\n\nthree\n", "xs": [0, 1, "", "a", None, [], [0]],
}

PROBES = json.load(open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "jinja_probes.json"), encoding="utf-8"))


class Generation(jinja2.ext.Extension):
    """{% generation %}: a call block, as in transformers, that prints what it holds."""

    tags = {"generation"}

    def parse(self, parser):
        lineno = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("support"), [], [], body).set_lineno(lineno)

    def support(self, caller):
        return caller()


def raise_exception(message):
    raise jinja2.exceptions.TemplateError(message)


def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def environment():
    env = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols])
    env.filters["tojson"] = tojson
    env.globals["raise_exception"] = raise_exception
    return env


def main():
    cases = []
    for group, templates in PROBES.items():
        for template in templates:
            case = {"group": group, "template": template}
            try:
                case["text"] = environment().from_string(template).render(**json.loads(json.dumps(VARIABLES)))
            except Exception as e:  # whatever Python raises, a template that fails has no text
                case["error"] = f"{type(e).__name__}: {e}"
            cases.append(case)
    with open(OUT, "w", encoding="utf-8") as f:
        json.dump({"variables": VARIABLES, "cases": cases}, f, ensure_ascii=False, indent=0)
        f.write("\n")
    print(len(cases), "cases,", sum("error" in c for c in cases), "of them errors")


main()
