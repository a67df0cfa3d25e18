"""Computes scores by the published formulas of LongBench, RULER and the packages rouge
and fuzzywuzzy, for eval's tests:

    apt-get install python3-jieba
    python3 scripts/reference/metrics.py eval/testdata/metrics.json eval/jieba/testdata/cuts.json

Everything but jieba is in Python's standard library.
"""

import collections
import difflib
import json
import random
import re
import string
import sys

import jieba

jieba.setLogLevel(60)

CHINESE_PUNCTUATION = (
    "！？｡。＂＃＄％＆＇（）＊＋，－／：；＜＝＞＠［＼］＾＿｀｛｜｝～｟｠｢｣､、〃》「」『』【】〔〕〖〗〘〙〚〛〜〝〞〟〰〾〿–—‘’‛“”„‟…‧﹏."
)


def share(got, want):
    """F of two bags of words."""
    same = sum((collections.Counter(got) & collections.Counter(want)).values())
    if same == 0:
        return 0.0
    p, r = same / len(got), same / len(want)
    return 2 * p * r / (p + r)


def english_words(text):
    text = "".join(c for c in text.lower() if c not in string.punctuation)
    return re.sub(r"\b(a|an|the)\b", " ", text).split()


def chinese_words(text):
    out = []
    for word in jieba.cut(text):
        word = "".join(c for c in word.lower() if c not in string.punctuation + CHINESE_PUNCTUATION)
        word = "".join(word.split())
        if word:
            out.append(word)
    return out


def f1(text, answer, _):
    return share(english_words(text), english_words(answer))


def f1_zh(text, answer, _):
    return share(chinese_words(text), chinese_words(answer))


def sentences(text):
    return [" ".join(s.split()).split(" ") for s in text.split(".") if s]


def rouge_f(same, got, want):
    p, r = (same / got if got else 0.0), (same / want if want else 0.0)
    return 2 * (p * r / (p + r + 1e-8))


def rouge_n(n):
    def score(text, answer, _):
        sets = []
        for part in (text, answer):
            if not sentences(part):
                return 0.0
            words = sum(sentences(part), [])
            sets.append({tuple(words[i : i + n]) for i in range(len(words) - n + 1)})
        return rouge_f(len(sets[0] & sets[1]), len(sets[0]), len(sets[1]))

    return score


def common(x, y):
    """The words of the longest common subsequence, found from the end."""
    table = [[0] * (len(y) + 1) for _ in range(len(x) + 1)]
    for i in range(1, len(x) + 1):
        for j in range(1, len(y) + 1):
            if x[i - 1] == y[j - 1]:
                table[i][j] = table[i - 1][j - 1] + 1
            else:
                table[i][j] = max(table[i - 1][j], table[i][j - 1])
    i, j, words = len(x), len(y), set()
    while i and j:
        if x[i - 1] == y[j - 1]:
            words.add(x[i - 1])
            i, j = i - 1, j - 1
        elif table[i - 1][j] > table[i][j - 1]:
            i -= 1
        else:
            j -= 1
    return words


def rouge_l(text, answer, _):
    got, want = sentences(text), sentences(answer)
    if not got or not want:
        return 0.0
    union = set()
    for w in want:
        for g in got:
            union |= common(w, g)
    return rouge_f(len(union), len(set(sum(got, []))), len(set(sum(want, []))))


def rouge_l_zh(text, answer, _):
    return rouge_l(" ".join(jieba.cut(text)), " ".join(jieba.cut(answer)), _)


def classification(text, answer, classes):
    named = [c for c in classes if c in text]
    for c in named:
        if c in answer and c != answer:
            named.remove(c)
    return 1 / len(named) if answer in named else 0.0


def count(text, answer, _):
    numbers = re.findall(r"\d+", text)
    return sum(n == answer for n in numbers) / len(numbers) if numbers else 0.0


def retrieval(name):
    def score(text, answer, _):
        return count(text, re.findall(name + r"(\d+)", answer)[0], _)

    return score


def edit_similarity(text, answer, _):
    line = next((s for s in text.lstrip("\n").split("\n") if not any(mark in s for mark in ("`", "#", "//"))), "")
    if line == answer:
        return 1.0
    if not line or not answer:
        return 0.0
    return int(round(100 * difflib.SequenceMatcher(None, line, answer).ratio())) / 100


def em(text, answer, _):
    return float(text.strip() == answer.strip())


def best(score):
    return lambda text, answers, classes: max([0.0] + [score(text, a, classes) for a in answers])


def match_all(text, answers, _):
    return sum(a.lower() in text.lower() for a in answers) / len(answers)


def match_any(text, answers, _):
    return max(float(a.lower() in text.lower()) for a in answers)


METRICS = {
    "em": best(em),
    "f1": best(f1),
    "f1-zh": best(f1_zh),
    "rouge-1": best(rouge_n(1)),
    "rouge-2": best(rouge_n(2)),
    "rouge-l": best(rouge_l),
    "rouge-l-zh": best(rouge_l_zh),
    "classification": best(classification),
    "retrieval": best(retrieval("Paragraph ")),
    "retrieval-zh": best(retrieval("段落")),
    "count": best(count),
    "edit-similarity": best(edit_similarity),
    "match-all": match_all,
    "match-any": match_any,
}

ENGLISH = (
    "the budget for a new bridge was 87,200 dollars. Nobody knew why an engineer left the city; "
    "it rained . . .  They met at 10.30 a.m. and the mayor's plan (an old one) won. The red fox saw "
    "the fox, the hen and the a-team, İstanbul ΟΔΟΣ naïve Straße"
).split(" ")
CHINESE = [
    "我来到北京清华大学。", "他来到了网易杭研大厦，", "小明硕士毕业于中国科学院计算所，后在日本京都大学深造！", "乒乓球拍卖完了……",
    "会议决定：明年三月开始建设新的地铁线路，预算为 3.5 亿元。", "张晓梅去了人民医院看望王老师", "这个APP的版本是V2.0，价格99.9%优惠", "“你好”，她说：《红楼梦》很好看。",
    "工信处女干事每月经过下属科室都要亲口交代24口交换机等技术性器件的安装工作", "\r\n第一段\n 第二段\t", "韓國首爾的地鐵十分方便", "C++和C#是不同的语言，T恤也不同",
]
CODE = [
    "    return self.value", "        for i in range(len(xs)):", "if err != nil { // stop", "# a comment", "```python", "public static void main(String[] args) {",
    "x = [i for i in range(10) if i % 2 == 0 and all(i % j for j in range(2, i))]", "",
    "result = " + " + ".join(f"table[{i}].get('key{i}', default)" for i in range(12)),
]
CLASSES = ["Food", "Date", "Lasting time of somethin", "time", "Definition of something", "something", "some", "Date", "Event"]


def sample(rng, metric):
    """A text, its right answers and the classes, all made up."""

    def english(n):
        return rng.choice(["", " ", "\n"]) * rng.randrange(2) + rng.choice([" ", "  ", "\n", " "]).join(rng.choices(ENGLISH, k=n))

    def chinese(n):
        return "".join(rng.choices(CHINESE, k=n))

    def several(one):
        answers = [one(rng.randrange(1, 12)) for _ in range(rng.randrange(1, 4))]
        text = one(rng.randrange(0, 20))
        if rng.random() < 0.4:
            words = answers[0].split(" ")
            rng.shuffle(words)
            text = rng.choice([" ".join(words), answers[0].upper(), text[: len(text) // 2] + answers[0]])
        return text, answers, []

    if metric.endswith("-zh") and metric != "retrieval-zh":
        return several(chinese)
    if metric == "classification":
        named = rng.sample(CLASSES, rng.randrange(4))
        return " or ".join(named), rng.sample(CLASSES, 1), CLASSES
    if metric in ("retrieval", "retrieval-zh"):
        name = "Paragraph " if metric == "retrieval" else "段落"
        text = rng.choice([name + "{}", "It is {} or {}.", "{}, {} or ٣", "none", "{}{}"])
        while "{}" in text:
            text = text.replace("{}", str(rng.randrange(3)), 1)
        return text, [f"{rng.choice(['', 'in '])}{name}{rng.randrange(3)}, {name}9"], []
    if metric == "count":
        text = rng.choice(["{}", "There are {} of {}", "03 {}", "", "{} ４ {}"])
        while "{}" in text:
            text = text.replace("{}", str(rng.randrange(3)), 1)
        return text, [str(rng.randrange(4))], []
    if metric == "edit-similarity":
        lines = rng.choices(CODE, k=rng.randrange(1, 4))
        answer = rng.choice(CODE)
        if rng.random() < 0.6:
            lines[0] = "".join(c for c in answer if rng.random() < 0.9)
        return "\n" * rng.randrange(2) + "\n".join(lines), [answer], []
    if metric.startswith("match"):
        answers = [str(rng.randrange(100, 130)) for _ in range(rng.randrange(1, 5))] + rng.sample(["ABCde", "éCOLE"], 1)
        return " ".join(rng.sample(answers, rng.randrange(len(answers) + 1)) + ["abcDE", "École"][: rng.randrange(3)]), answers, []
    return several(english)


TEXTS = ["em", "f1", "f1-zh", "rouge-1", "rouge-2", "rouge-l", "rouge-l-zh", "edit-similarity"]
EDGES = ["", " ", "...", ". .", "the", "a b a b a.c a b", "\x1c\x1d y"]


def main(metrics_file, cuts_file):
    rng = random.Random(1)
    cases = []
    for metric, score in METRICS.items():
        made = [sample(rng, metric) for _ in range(30 if metric in TEXTS else 80)]
        if metric in TEXTS:
            made += [(a, [b], []) for a in EDGES for b in EDGES]
        for text, answers, classes in made:
            cases.append({"metric": metric, "text": text, "answers": answers, "classes": classes, "score": score(text, answers, classes)})
    with open(metrics_file, "w", encoding="utf-8") as f:
        f.write("[\n" + ",\n".join(json.dumps(c, ensure_ascii=False) for c in cases) + "\n]\n")

    listed = sorted(w for w, n in jieba.dt.FREQ.items() if n > 0)
    texts = list(CHINESE)
    for _ in range(int(sys.argv[3]) if len(sys.argv) > 3 else 150):
        texts.append("".join(
            rng.choice([
                rng.choice(listed), rng.choice(listed), chr(rng.randrange(0x4E00, 0x9FF0)), rng.choice("的了在是我，。！ \n\r-_.%+&#１２㐀々〇"),
                str(rng.randrange(1000)), f"{rng.random():.2f}%", "a1٣.5b", "\r\n",
            ]) for _ in range(rng.randrange(1, 25))))
    with open(cuts_file, "w", encoding="utf-8") as f:
        f.write("[\n" + ",\n".join(json.dumps(list(jieba.cut(t)), ensure_ascii=False) for t in texts) + "\n]\n")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
