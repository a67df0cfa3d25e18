"""Synthetic conversations with facts, questions and action items, from data/synth/world.json."""

import json
import os

HERE = os.path.dirname(os.path.abspath(__file__))
with open(os.path.join(HERE, "..", "..", "..", "data", "synth", "world.json")) as f:
    W = json.load(f)
L = W["lists"]


def money(r):
    return f"{r.randint(1, 99) * 1000 + r.randint(0, 9) * 100:,}"


def value(slot, r):
    if slot == "money":
        return money(r)
    if slot == "date":
        return f"{r.choice(L['month'])} {r.randint(1, 28)}"
    if slot == "time":
        return f"{r.randint(1, 12)}:{r.choice(['00', '15', '30', '45'])} {r.choice(['am', 'pm'])}"
    if slot == "n4":
        return f"{r.randint(1000, 9999)}"
    if slot == "num":
        return str(r.randint(2, 60))
    if slot == "name2":
        return r.choice(L["name"])
    return r.choice(L[slot])


def fill(t, r, env):
    out, i = [], 0
    while True:
        j = t.find("{", i)
        if j < 0:
            out.append(t[i:])
            return "".join(out)
        k = t.index("}", j)
        s = t[j + 1 : k]
        if s not in env:
            env[s] = fill(value(s, r), r, env)
        out.append(t[i:j])
        out.append(env[s])
        i = k + 1


def conversation(r, chars, fact_every=4.0, n_actions=None, n_decisions=None):
    """Returns (lines, facts, actions, decisions); a fact is (line index, question, answer)."""
    speakers = r.sample(L["name"], r.randint(2, 4))
    others = [n for n in L["name"] if n not in speakers]
    lines, facts, used, size = [], [], set(), 0
    if n_actions is None:
        n_actions = r.choice([0, 2, 3, 4, 5, 6])
    if n_decisions is None:
        n_decisions = r.choice([0, 1, 2, 3])
    approx = max(4, int(chars / 50))
    special = {}
    for kind, n in (("a", n_actions), ("d", n_decisions)):
        for _ in range(n):
            special[r.randrange(approx)] = kind
    actions, decisions, who, i = [], [], r.choice(speakers), 0
    while size < chars:
        who = r.choice([s for s in speakers if s != who])
        env = {"name": who}
        kind = special.get(i)
        if kind == "a":
            s = fill(r.choice(W["actions"]["say"]), r, env)
            actions.append(fill(W["actions"]["item"], r, env))
        elif kind == "d":
            s = fill(r.choice(W["decisions"]["say"]), r, env)
            decisions.append(fill(W["decisions"]["item"], r, env))
        elif r.random() < 1.0 / fact_every:
            f = r.choice(W["facts"])
            env["name2"] = r.choice(others)
            s = fill(r.choice(f["say"]), r, env)
            key = (f["id"],) + tuple(env[k] for k in f["key"])
            if key in used:
                i += 1
                continue
            used.add(key)
            q = fill(r.choice(f["ask"]), r, env)
            a = fill(f["answer"], r, env)
            facts.append((len(lines), q, a))
            if r.random() < 0.4:
                s += " " + fill(r.choice(W["filler"]), r, {"name": who})
        else:
            s = " ".join(fill(r.choice(W["filler"]), r, {"name": who}) for _ in range(r.choice([1, 1, 2])))
        line = f"{who}: {s}"
        lines.append(line)
        size += len(line) + 1
        i += 1
    return lines, facts, actions, decisions


def prompt(lines, instruction):
    return f"<|user|>\n{W['prompt']['header']}\n\n" + "\n".join(lines) + f"\n\n{instruction}<|end|>\n<|assistant|>\n"


def turns(r, facts, actions, decisions, n):
    """Question/answer turns in random order, summaries included."""
    qs = [("Question: " + q, a) for _, q, a in r.sample(facts, min(n, len(facts)))]
    if actions and r.random() < 0.5:
        qs.append((W["prompt"]["actions"], "\n".join(actions)))
    if decisions and r.random() < 0.4:
        qs.append((W["prompt"]["decisions"], "\n".join(decisions)))
    r.shuffle(qs)
    return qs


def document(r, chars):
    lines, facts, actions, decisions = conversation(r, chars, fact_every=r.choice([2.0, 3.0, 4.0, 6.0, 8.0]))
    qs = turns(r, facts, actions, decisions, r.randint(3, 12))
    if not qs:
        return None
    t = prompt(lines, qs[0][0]) + qs[0][1] + "<|end|>\n"
    for q, a in qs[1:]:
        t += f"<|user|>\n{q}<|end|>\n<|assistant|>\n{a}<|end|>\n"
    return t
