"""Golden answers of transformers' text-generation, text2text-generation, summarization and translation pipelines on small
random models with real tokenizers.

usage: python pipelines.py OUT_DIR        needs: torch, transformers==4.57.6, sentencepiece

OUT_DIR/NAME/ is a model directory; its pipelines.json is a list of
  {"task", "inputs": str, [str] or chat, "parameters": {...}, "output": what the pipeline returns}
Cases are kept if the same text comes out in f64.
"""
import argparse
import copy
import json
import os
import shutil
import warnings

import sentencepiece
import torch
import transformers as T
from tokenizers import ByteLevelBPETokenizer, SentencePieceUnigramTokenizer, Tokenizer, models as token_models, pre_tokenizers, trainers
from transformers.utils import logging

warnings.filterwarnings("ignore")
logging.set_verbosity_error()

H, L, A, F, N = 32, 2, 4, 64, 128
STD = 0.4
TEXTS = [
    "The tower is the tallest structure in Paris, and it was the tallest in the world for 41 years.",
    "A man is eating food. He likes it very much, doesn't he?",
    "Machine learning models learn from examples; the more they see, the better they get.",
    "Café Müller wasn't open on Sunday. \"Why?\" she asked — nobody knew. 北京 🍕",
    "Yes",
]
CHAT = [{"role": "system", "content": "You are brief."}, {"role": "user", "content": "What is a tower?"}]
TEMPLATE = ("{% for m in messages %}{{ '<' + m['role'] + '> ' + m['content'] + '\\n' }}{% endfor %}"
            "{% if add_generation_prompt %}{{ '<assistant> ' }}{% endif %}")

# texts of which these models say a token, and one of which they say none
STOPS = {"gpt2": ["9", "the 9", "x"], "gpt": [" ".join(TEXTS[:3]), TEXTS[3], "x"], "bart-causal": [" he", " he likes", "x"]}


def random(kind, config):
    torch.manual_seed(11)
    model = kind(config).eval()
    with torch.no_grad():
        for name, p in model.named_parameters():
            if p.dim() == 1 and "norm" not in name.lower() and "ln_" not in name:
                p.normal_(0, STD / 2)
    return model


def byte_level(dir, cls, **special):
    os.makedirs(dir, exist_ok=True)
    bpe = ByteLevelBPETokenizer()
    bpe.train_from_iterator(TEXTS * 4, vocab_size=420, min_frequency=2, show_progress=False, special_tokens=special.pop("first"))
    bpe.save_model(dir)
    tokenizer = cls(os.path.join(dir, "vocab.json"), os.path.join(dir, "merges.txt"), **special)
    return tokenizer


def models(out):
    scratch = os.path.join(out, ".scratch")
    tokenizer = byte_level(scratch, T.GPT2TokenizerFast, first=["<|endoftext|>"], model_max_length=N)
    tokenizer.chat_template = TEMPLATE
    n = len(tokenizer)
    config = T.GPT2Config(vocab_size=n, n_positions=N, n_embd=H, n_layer=L, n_head=A, n_inner=F, initializer_range=STD, bos_token_id=0,
                          eos_token_id=0, task_specific_params={"text-generation": {"do_sample": False, "max_length": 40}})
    yield "gpt2", random(T.GPT2LMHeadModel, config), tokenizer
    tokenizer = byte_level(scratch, T.BartTokenizerFast, first=["<s>", "<pad>", "</s>", "<unk>", "<mask>"], model_max_length=N)
    config = T.BartConfig(vocab_size=len(tokenizer), d_model=H, encoder_layers=L, decoder_layers=L, encoder_attention_heads=A,
                          decoder_attention_heads=A, encoder_ffn_dim=F, decoder_ffn_dim=F, max_position_embeddings=N, init_std=STD,
                          num_beams=4, no_repeat_ngram_size=3, length_penalty=2.0, early_stopping=True, max_length=30, min_length=5,
                          forced_bos_token_id=0, forced_eos_token_id=2)
    yield "bart", random(T.BartForConditionalGeneration, config), tokenizer
    unigram = SentencePieceUnigramTokenizer()
    unigram.train_from_iterator(TEXTS * 4 + ["translate English to German: ", "summarize: "] * 8, vocab_size=300, show_progress=False,
                                special_tokens=["<pad>", "</s>", "<unk>"], unk_token="<unk>")
    unigram.save(os.path.join(scratch, "unigram.json"))
    tokenizer = T.T5TokenizerFast(tokenizer_file=os.path.join(scratch, "unigram.json"), extra_ids=0, model_max_length=N)
    task = {"early_stopping": True, "max_length": 24, "num_beams": 3}
    config = T.T5Config(vocab_size=len(tokenizer), d_model=H, d_kv=8, d_ff=F, num_layers=L, num_heads=A, relative_attention_num_buckets=8,
                        relative_attention_max_distance=16, initializer_factor=3.0, pad_token_id=0, eos_token_id=1, decoder_start_token_id=0,
                        task_specific_params={"summarization": {**task, "length_penalty": 2.0, "min_length": 6, "prefix": "summarize: "},
                                              "translation_en_to_de": {**task, "prefix": "translate English to German: "}})
    yield "t5", random(T.T5ForConditionalGeneration, config), tokenizer
    unigram = SentencePieceUnigramTokenizer()
    unigram.train_from_iterator(TEXTS * 4, vocab_size=280, show_progress=False, special_tokens=["<s>", "<pad>", "</s>", "<unk>"], unk_token="<unk>")
    unigram.save(os.path.join(scratch, "unigram.json"))
    tokenizer = T.MBartTokenizerFast(tokenizer_file=os.path.join(scratch, "unigram.json"), src_lang="en_XX", tgt_lang="de_DE", model_max_length=N)
    config = T.MBartConfig(vocab_size=len(tokenizer), d_model=H, encoder_layers=L, decoder_layers=L, encoder_attention_heads=A,
                           decoder_attention_heads=A, encoder_ffn_dim=F, decoder_ffn_dim=F, max_position_embeddings=N, init_std=STD,
                           max_length=24, forced_eos_token_id=2, decoder_start_token_id=tokenizer.convert_tokens_to_ids("de_DE"))
    yield "mbart", random(T.MBartForConditionalGeneration, config), tokenizer
    yield "marian", *marian(scratch)
    spm(TEXTS * 4 + ["Once."] * 4, os.path.join(scratch, "spiece"), 280, pad_id=5, bos_id=1, eos_id=2, unk_id=0,
        user_defined_symbols=["<cls>", "<sep>", "<mask>", "<eod>", "<eop>"])
    tokenizer = T.XLNetTokenizerFast(vocab_file=os.path.join(scratch, "spiece.model"))
    config = T.XLNetConfig(vocab_size=len(tokenizer), d_model=H, n_layer=L, n_head=A, d_inner=F, initializer_range=STD, bos_token_id=1, eos_token_id=2,
                           pad_token_id=5)
    yield "xlnet", random(T.XLNetLMHeadModel, config), tokenizer
    tokenizer = openai(scratch)
    config = T.OpenAIGPTConfig(vocab_size=len(tokenizer), n_positions=N, n_embd=H, n_layer=L, n_head=A, initializer_range=STD)
    yield "gpt", random(T.OpenAIGPTLMHeadModel, config), tokenizer
    tokenizer = byte_level(scratch, T.BartTokenizerFast, first=["<s>", "<pad>", "</s>", "<unk>", "<mask>"], model_max_length=N)
    config = T.BartConfig(vocab_size=len(tokenizer), d_model=H, encoder_layers=L, decoder_layers=L, encoder_attention_heads=A, decoder_attention_heads=A,
                          encoder_ffn_dim=F, decoder_ffn_dim=F, max_position_embeddings=N, init_std=STD, is_decoder=True, forced_eos_token_id=None)
    yield "bart-causal", random(T.BartForCausalLM, config), tokenizer
    unigram = SentencePieceUnigramTokenizer()
    unigram.train_from_iterator(TEXTS * 4, vocab_size=300, show_progress=False, special_tokens=["<pad>", "</s>", "<unk>"], unk_token="<unk>")
    unigram.save(os.path.join(scratch, "unigram.json"))
    tokenizer = T.T5TokenizerFast(tokenizer_file=os.path.join(scratch, "unigram.json"), extra_ids=0, model_max_length=N)
    t5 = dict(d_model=H, d_kv=8, d_ff=F, num_layers=L, num_heads=A, relative_attention_num_buckets=8, relative_attention_max_distance=16, initializer_factor=3.0,
              pad_token_id=0, eos_token_id=1, decoder_start_token_id=0)
    yield "mt5", random(T.MT5ForConditionalGeneration, T.MT5Config(vocab_size=len(tokenizer), **t5)), tokenizer
    tokenizer = T.ByT5Tokenizer(model_max_length=N)
    yield "byt5", random(T.T5ForConditionalGeneration, T.T5Config(vocab_size=len(tokenizer), feed_forward_proj="gated-gelu", **t5)), tokenizer
    shutil.rmtree(scratch)


def openai(scratch):
    """Pieces that end words, as GPT has them."""
    tokenizer = Tokenizer(token_models.BPE(unk_token="<unk>", end_of_word_suffix="</w>"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.BpeTrainer(vocab_size=420, special_tokens=["<unk>"], end_of_word_suffix="</w>", show_progress=False)
    tokenizer.train_from_iterator([text.lower() for text in TEXTS * 4], trainer)
    tokenizer.model.save(scratch)
    return T.OpenAIGPTTokenizerFast(os.path.join(scratch, "vocab.json"), os.path.join(scratch, "merges.txt"), model_max_length=N)


def spm(texts, to, size, **ids):
    """A SentencePiece model: Marian and XLNet read no other file."""
    sentencepiece.SentencePieceTrainer.train(sentence_iterator=iter(texts), model_prefix=to, vocab_size=size, hard_vocab_limit=False, minloglevel=2,
                                             character_coverage=1.0, normalization_rule_name="identity", **ids)


def marian(scratch):
    """To several languages: what a text is translated to is told by a word before it."""
    spm(TEXTS * 4, os.path.join(scratch, "source"), 200)
    spm(TEXTS * 4, os.path.join(scratch, "target"), 200)
    pieces = sentencepiece.SentencePieceProcessor(model_file=os.path.join(scratch, "source.model"))
    words = ["</s>", "<unk>"] + [pieces.id_to_piece(i) for i in range(3, len(pieces))] + [">>deu<<", ">>fra<<", "<pad>"]
    with open(os.path.join(scratch, "vocab.json"), "w", encoding="utf-8") as f:
        json.dump({w: i for i, w in enumerate(words)}, f, ensure_ascii=False)
    tokenizer = T.MarianTokenizer(os.path.join(scratch, "source.model"), os.path.join(scratch, "target.model"), os.path.join(scratch, "vocab.json"),
                                  source_lang="eng", target_lang="mul", model_max_length=N)
    n = len(tokenizer)
    config = T.MarianConfig(vocab_size=n, d_model=H, encoder_layers=L, decoder_layers=L, encoder_attention_heads=A, decoder_attention_heads=A,
                            encoder_ffn_dim=F, decoder_ffn_dim=F, max_position_embeddings=N, init_std=STD, pad_token_id=n - 1, eos_token_id=0,
                            decoder_start_token_id=n - 1, forced_eos_token_id=0, max_length=30, bad_words_ids=[[n - 1]])
    return random(T.MarianMTModel, config), tokenizer


def only(tokenizer, text):
    """Options that leave a model but the tokens of `text` to say, so that there are spaces before marks to clean up."""
    kept = tokenizer.encode(text, add_special_tokens=False)
    return {"suppress_tokens": [i for i in range(len(tokenizer)) if i not in kept], "no_repeat_ngram_size": 2, "max_new_tokens": 16}


def cases(name, tokenizer):
    short = {"max_new_tokens": 8, "do_sample": False}
    if name in ("gpt", "bart-causal"):
        for text in TEXTS:
            yield "text-generation", text, {**short, "max_new_tokens": 16}
        yield "text-generation", TEXTS[:3], short
        yield "text-generation", TEXTS[1], {**short, "return_full_text": False, "clean_up_tokenization_spaces": False}
        yield "text-generation", TEXTS[1], {**short, "clean_up_tokenization_spaces": False, "max_new_tokens": 24}
        yield "text-generation", TEXTS[2], {**short, "num_beams": 4, "num_return_sequences": 3}
        yield "text-generation", TEXTS[3], {**short, "repetition_penalty": 1.5, "max_new_tokens": 24}
        yield "text-generation", TEXTS[0], {**short, "prefix": "Once. "}
        for stop in STOPS[name]:
            yield "text-generation", TEXTS[0], {**short, "stop_sequence": stop, "max_new_tokens": 24}
        return
    if name == "gpt2":
        for i, text in enumerate(TEXTS):
            yield "text-generation", text, short
        for stop in STOPS[name]:
            yield "text-generation", TEXTS[0], {**short, "stop_sequence": stop, "max_new_tokens": 24}
        for clean in (None, True, False):
            given = {} if clean is None else {"clean_up_tokenization_spaces": clean}
            yield "text-generation", TEXTS[0], {**short, **only(tokenizer, " the . , is ?"), **given}
        yield "text-generation", TEXTS[:3], short
        yield "text-generation", [TEXTS[0]], short
        yield "text-generation", TEXTS[1], {}
        yield "text-generation", TEXTS[1], {**short, "return_full_text": False}
        yield "text-generation", TEXTS[:2], {**short, "return_full_text": False}
        yield "text-generation", TEXTS[2], {**short, "num_beams": 4, "num_return_sequences": 3}
        yield "text-generation", TEXTS[2], {**short, "return_tensors": True}
        yield "text-generation", TEXTS[3], {**short, "repetition_penalty": 1.5, "max_new_tokens": 24}
        yield "text-generation", TEXTS[0], {**short, "prefix": "Once. "}
        yield "text-generation", CHAT, short
        yield "text-generation", [CHAT, CHAT[1:]], short
        yield "text-generation", CHAT, {**short, "return_full_text": False}
        yield "text-generation", CHAT + [{"role": "assistant", "content": "A tower"}], short
        yield "text-generation", TEXTS[0] * 4, {**short, "handle_long_generation": "hole"}
        return
    if name == "xlnet":
        for text in TEXTS:
            yield "text-generation", text, {**short, "prefix": ""}
        yield "text-generation", TEXTS[0], {**short, "prefix": "Once. "}
        yield "text-generation", TEXTS[1], {**short, "prefix": "", "num_beams": 3, "num_return_sequences": 2, "return_full_text": False}
        return
    if name in ("mt5", "byt5"):
        for text in TEXTS:
            yield "text2text-generation", text, {}
            yield "text2text-generation", text, {"max_new_tokens": 9, "num_beams": 1}
        yield "text2text-generation", TEXTS, {"max_new_tokens": 12}
        yield "text2text-generation", TEXTS[0], {"num_beams": 3, "num_return_sequences": 2, "max_new_tokens": 10}
        yield "text2text-generation", TEXTS[1], {"max_new_tokens": 12, "return_tensors": True}
        yield "text2text-generation", TEXTS[0] * 8, {"truncation": True, "max_new_tokens": 5}
        if name == "byt5":
            return
        for clean in (None, True, False):
            given = {} if clean is None else {"clean_up_tokenization_spaces": clean}
            yield "text2text-generation", TEXTS[0], {**only(tokenizer, "the . , is ?"), **given}
        return
    if name == "mbart":
        for text in TEXTS:
            yield "translation", text, {"src_lang": "en_XX", "tgt_lang": "de_DE"}
            yield "translation", text, {"src_lang": "de_DE", "tgt_lang": "ro_RO", "max_new_tokens": 7}
        yield "translation", TEXTS, {"src_lang": "fr_XX", "tgt_lang": "en_XX"}
        yield "translation", TEXTS[0] * 8, {"src_lang": "fr_XX", "tgt_lang": "en_XX", "truncation": True, "max_new_tokens": 5}
        return
    if name == "marian":
        for text in TEXTS:
            yield "translation", text, {}
            for word in (">>deu<<", ">>fra<<"):
                yield "translation", f"{word} {text}", {}
        yield "translation", [f">>fra<< {text}" for text in TEXTS], {"num_beams": 1, "max_new_tokens": 9}
        return
    for task in ("text2text-generation", "summarization", "translation_en_to_de", "translation"):
        for text in TEXTS:
            yield task, text, {}
        yield task, TEXTS, {}
        yield task, [TEXTS[0]], {"max_new_tokens": 6}
        yield task, TEXTS[0], {"max_new_tokens": 6, "num_beams": 1}
        yield task, TEXTS[0], {"num_beams": 3, "num_return_sequences": 2, "max_new_tokens": 10}
        yield task, TEXTS[:2], {"num_beams": 3, "num_return_sequences": 2, "max_new_tokens": 10}
        yield task, TEXTS[1], {"max_new_tokens": 12, "return_tensors": True}
        yield task, TEXTS[0] * 8, {"truncation": True, "max_new_tokens": 5}


def plain(x):
    if torch.is_tensor(x):
        return x.tolist()
    if isinstance(x, dict):
        return {k: plain(v) for k, v in x.items()}
    return [plain(v) for v in x] if isinstance(x, (list, tuple)) else x


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("out")
    parser.add_argument("--only", help="this model alone")
    args = parser.parse_args()
    out = args.out
    for name, model, tokenizer in models(out):
        if args.only not in (None, name):
            continue
        dir = os.path.join(out, name)
        shutil.rmtree(dir, ignore_errors=True)
        model.save_pretrained(dir)
        tokenizer.save_pretrained(dir)
        golden, lost = [], 0
        for task, inputs, parameters in cases(name, tokenizer):
            both = []
            for wide in (False, True):
                model = T.AutoModelForCausalLM.from_pretrained(dir) if name in ("gpt2", "xlnet", "gpt", "bart-causal") else T.AutoModelForSeq2SeqLM.from_pretrained(dir)
                model = model.double() if wide and name != "xlnet" else model  # XLNet makes its masks in f32
                # XLNet's would put an article before every text
                first = {"prefix": ""} if name == "xlnet" else {}
                pipe = T.pipeline(task, model=model, tokenizer=T.AutoTokenizer.from_pretrained(dir), **first)
                both.append(plain(pipe(copy.deepcopy(inputs), **parameters)))
            if both[0] != both[1]:
                lost += 1
                continue
            golden.append({"task": task, "inputs": inputs, "parameters": parameters, "output": both[0]})
        with open(os.path.join(dir, "pipelines.json"), "w", encoding="utf-8") as f:
            json.dump(golden, f, ensure_ascii=False, indent=1)
        for file in os.listdir(dir):
            os.chmod(os.path.join(dir, file), 0o644)
        print(f"{name}: {len(golden)} cases, {lost} lost to rounding, vocabulary {len(tokenizer)}")
        assert lost * 4 < len(golden)


if __name__ == "__main__":
    main()
