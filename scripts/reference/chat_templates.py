#!/usr/bin/env python3
"""Render model/tokenizer/testdata/templates/*.jinja with Jinja2 as transformers sets it up
(transformers/utils/chat_template_utils.py) and write testdata/templates.json, which the Go
tests compare with. Needs python3-jinja2."""

import glob
import json
import os

import jinja2
import jinja2.ext
from jinja2.sandbox import ImmutableSandboxedEnvironment

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "model", "tokenizer", "testdata")

CONVERSATIONS = {
    "single": [("user", "Hi")],
    "system": [("system", "Be brief. /no_think"), ("user", "Hi\nthere "), ("assistant", "Yes?"), ("user", " 你好 🙂")],
    "turns": [("user", "Q1"), ("assistant", "<think>\nhm\n</think>\n\nA1 "), ("user", "it's\n{{ Q2 }}")],
    "answered": [("user", "Q"), ("assistant", "\nA\n")],
    "two users": [("user", "one"), ("user", "two")],
}


class Generation(jinja2.ext.Extension):
    """{% generation %}: marks the assistant's text, prints it as it is."""

    tags = {"generation"}

    def parse(self, parser):
        lineno = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return jinja2.nodes.Scope(body).set_lineno(lineno)


def raise_exception(message):
    raise jinja2.exceptions.TemplateError(message)


def environment():
    env = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols]
    )
    env.filters["tojson"] = lambda x, indent=None: json.dumps(x, ensure_ascii=False, indent=indent)
    env.globals["raise_exception"] = raise_exception
    env.globals["strftime_now"] = lambda fmt: __import__("datetime").datetime.now().strftime(fmt)
    return env


def main():
    cases = []
    for path in sorted(glob.glob(os.path.join(ROOT, "templates", "*.jinja"))):
        template = environment().from_string(open(path, encoding="utf-8", newline="").read())
        for name, turns in CONVERSATIONS.items():
            for prompt in (False, True):
                case = {"template": os.path.basename(path), "conversation": name, "add_generation_prompt": prompt,
                        "messages": [{"role": r, "content": c} for r, c in turns]}
                try:
                    case["rendered"] = template.render(
                        messages=case["messages"], tools=None, documents=None, add_generation_prompt=prompt,
                        bos_token="<s>", eos_token="</s>")
                except jinja2.exceptions.TemplateError as e:
                    case["refused"] = str(e)
                cases.append(case)
    with open(os.path.join(ROOT, "templates.json"), "w", encoding="utf-8") as f:
        json.dump(cases, f, ensure_ascii=False, indent=1)
        f.write("\n")
    print(len(cases), "cases")


main()
