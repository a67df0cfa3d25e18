"""How model/demo was made: a Llama of 7 million parameters, pretrained on prose and synthetic conversations.

Usage: pretrain.py SECONDS OUT

Needs a GPU, PyTorch 2.5 or newer, the packages tokenizers and safetensors, and prose.txt.xz beside this file:
public-domain books, which are not part of the repository. It stands here to show how the base was made; with another
machine or other prose another base comes out.
"""

import json
import lzma
import os
import random
import sys
import tempfile
import time
from multiprocessing import Pool

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..")]
import world  # noqa: E402

T0 = time.time()
SECS, OUT = float(sys.argv[1]), sys.argv[2]
CTX = 2048
TOKENIZER = os.path.join(tempfile.gettempdir(), "tokenizer.json")
SPECIAL = ["<|endoftext|>", "<|user|>", "<|assistant|>", "<|end|>"]


def texts(a):
    seed, mb = a
    r = random.Random(seed)
    out = []
    n = 0
    while n < mb * 1e6:
        d = world.document(r, r.choice([400, 800, 1500, 2500, 3500, 4500, 5500, 6200]))
        if d:
            out.append(d)
            n += len(d)
    return out


def encode_docs(a):
    from tokenizers import Tokenizer

    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    tk = Tokenizer.from_file(TOKENIZER)
    docs = texts(a)
    ids = []
    lens = []
    for d in docs:
        e = tk.encode(d).ids
        if len(e) <= CTX:
            ids.append(np.array(e, dtype=np.uint16))
            lens.append(len(e))
    return np.concatenate(ids), np.array(lens)


if __name__ == "__main__":
    from tokenizers import Tokenizer, models, pre_tokenizers, decoders, trainers, Regex

    with lzma.open(os.path.join(HERE, "prose.txt.xz"), "rt", encoding="utf-8", newline="") as f:
        prose = f.read()
    pool = Pool(15)
    sample = sum(pool.map(texts, [(9000 + i, 0.5) for i in range(15)]), [])
    tk = Tokenizer(models.BPE())
    pat = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    tk.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(pat), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tk.decoder = decoders.ByteLevel()
    tr = trainers.BpeTrainer(
        vocab_size=4096, special_tokens=SPECIAL, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    step = 20000
    tk.train_from_iterator([prose[i : i + step] for i in range(0, len(prose), step * 4)] + sample[:1200], tr)
    tk.save(TOKENIZER)
    print("bpe", tk.get_vocab_size(), time.time() - T0, flush=True)
    res = pool.map_async(encode_docs, [(i, 40) for i in range(15)])
    chunks = [prose[i : i + 200000] for i in range(0, len(prose), 200000)]
    pr = np.concatenate([np.array(e.ids, dtype=np.uint16) for e in tk.encode_batch(chunks)])
    parts = res.get()
    pool.close()
    syn = np.concatenate([p[0] for p in parts])
    lens = np.concatenate([p[1] for p in parts])
    starts = np.concatenate([[0], np.cumsum(lens)[:-1]])
    print(
        "tokens prose %.1fM synthetic %.1fM docs %d mean %.0f  %.0fs"
        % (len(pr) / 1e6, len(syn) / 1e6, len(lens), lens.mean(), time.time() - T0),
        flush=True,
    )
    rng = np.random.default_rng(0)
    # pack: a sequence is 2049 tokens, synthetic documents then prose to fill; 35% of sequences are prose alone
    seqs = []
    order = rng.permutation(len(lens))
    p = 0
    while p < len(order):
        buf = np.empty(CTX + 1, dtype=np.uint16)
        n = 0
        if rng.random() < 0.65:
            while p < len(order) and n + lens[order[p]] <= CTX + 1:
                d = order[p]
                buf[n : n + lens[d]] = syn[starts[d] : starts[d] + lens[d]]
                n += lens[d]
                p += 1
        if n < CTX + 1:
            s = rng.integers(0, len(pr) - CTX - 2)
            buf[n:] = pr[s : s + CTX + 1 - n]
        seqs.append(buf)
    data = np.stack(seqs)
    rng.shuffle(data)
    print("sequences", data.shape, time.time() - T0, flush=True)

    import torch
    from llama import Llama, Config

    torch.manual_seed(0)
    torch.set_float32_matmul_precision("high")
    dev = "cuda"
    c = Config()
    m = Llama(c).to(dev)
    print("params %.2fM" % (sum(x.numel() for x in m.parameters()) / 1e6))
    data = torch.from_numpy(data.astype(np.int32)).to(dev)
    opt = torch.optim.AdamW(
        [
            {"params": [x for x in m.parameters() if x.dim() == 2], "weight_decay": 0.05},
            {"params": [x for x in m.parameters() if x.dim() < 2], "weight_decay": 0.0},
        ],
        lr=3e-3,
        betas=(0.9, 0.95),
        fused=True,
    )
    step_fn = torch.compile(m.loss)
    B = 64
    t1 = time.time()
    i = 0
    it = 0
    end = T0 + SECS
    warm = 150
    perm = torch.randperm(len(data), device=dev)
    while True:
        now = time.time()
        if now > end:
            break
        if i + B > len(data):
            perm = torch.randperm(len(data), device=dev)
            i = 0
        b = data[perm[i : i + B]].long()
        i += B
        frac = (now - t1) / (end - t1)
        lr = 3e-3 * min(1, (it + 1) / warm) * (1.0 if frac < 0.5 else max(0.02, 1 - (frac - 0.5) / 0.5))
        for g in opt.param_groups:
            g["lr"] = lr
        with torch.autocast("cuda", torch.bfloat16):
            loss = step_fn(b)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(m.parameters(), 1.0)
        opt.step()
        opt.zero_grad(set_to_none=True)
        it += 1
        if it % 200 == 0:
            print(
                "step %d loss %.4f  %.2fM tok/s  %.0fs"
                % (it, loss.item(), it * B * CTX / (time.time() - t1) / 1e6, time.time() - T0),
                flush=True,
            )
    # save as Hugging Face
    os.makedirs(OUT, exist_ok=True)
    from safetensors.torch import save_file

    sd = {}
    for k, v in m.state_dict().items():
        sd["model." + k] = v.to(torch.bfloat16).contiguous().cpu()
    save_file(sd, OUT + "/model.safetensors", metadata={"format": "pt"})
    json.dump(
        dict(
            architectures=["LlamaForCausalLM"],
            model_type="llama",
            vocab_size=c.vocab,
            hidden_size=c.dim,
            intermediate_size=c.ffn,
            num_hidden_layers=c.layers,
            num_attention_heads=c.heads,
            num_key_value_heads=c.kv_heads,
            head_dim=c.head_dim,
            hidden_act="silu",
            max_position_embeddings=c.ctx,
            rms_norm_eps=c.eps,
            rope_theta=c.theta,
            tie_word_embeddings=True,
            attention_bias=False,
            mlp_bias=False,
            bos_token_id=0,
            eos_token_id=3,
            pad_token_id=0,
            torch_dtype="bfloat16",
        ),
        open(OUT + "/config.json", "w"),
        indent=1,
    )
    tk.save(OUT + "/tokenizer.json")
    tmpl = "{% for message in messages %}<|{{ message['role'] }}|>\n{{ message['content'] }}<|end|>\n{% endfor %}{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
    json.dump(
        dict(
            tokenizer_class="PreTrainedTokenizerFast",
            bos_token="<|endoftext|>",
            eos_token="<|end|>",
            pad_token="<|endoftext|>",
            chat_template=tmpl,
            clean_up_tokenization_spaces=False,
            model_max_length=c.ctx,
        ),
        open(OUT + "/tokenizer_config.json", "w"),
        indent=1,
    )
    # in-window exact match (teacher-forced argmax equals greedy decoding)
    m = m.to(torch.bfloat16).float()
    m.eval()

    @torch.no_grad()
    def em(chars, n=192, seed=5):
        r = random.Random(seed + chars)
        ok = tot = 0
        L = []
        for _ in range(n):
            lines, facts, _, _ = world.conversation(r, chars)
            if not facts:
                continue
            _, q, a = r.choice(facts)
            p = tk.encode(world.prompt(lines, "Question: " + q)).ids
            t = tk.encode(a + "<|end|>").ids
            ids = torch.tensor([p + t], device=dev)
            L.append(len(p))
            pred = m(ids[:, :-1])[0, len(p) - 1 :].argmax(-1)
            ok += int((pred == ids[0, len(p) :]).all())
            tot += 1
        return ok / tot, sum(L) / len(L)

    for ch in (600, 1500, 3000, 5500, 7500, 12000):
        print("EM chars %d: %.3f (tokens %.0f)" % ((ch,) + em(ch)), flush=True)
    s = world.prompt(
        ["Anna: The budget for the Falcon project is 12,300 dollars.", "Ben: Okay."],
        "Question: What is the budget for the Falcon project?",
    )
    ids = tk.encode(s).ids
    for _ in range(12):
        nx = int(m(torch.tensor([ids], device=dev))[0, -1].argmax())
        ids.append(nx)
        if nx == 3:
            break
    print(repr(tk.decode(ids, skip_special_tokens=False)[-80:]), "total %.0fs" % (time.time() - T0))
