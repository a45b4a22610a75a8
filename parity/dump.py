"""Reference dumps from transformers: tiny random models, inputs, outputs, loss, every gradient, ten training losses.

usage: python dump.py OUT_DIR [--seed N] [--size small|spec] [case or pattern ...]    (README.md: environment, what is committed)

OUT_DIR/CASE/ holds the model as `save_pretrained` writes it and reference.safetensors with
  in.*      the inputs, named as the model's forward arguments (int64; float labels where the loss wants them)
  out.*     logits and the other float outputs, eval mode (dropout off)
  loss      shape [1]
  grad.*    the gradient of the loss for every trainable parameter that takes part, named as in `named_parameters`
  adamw     losses of ten AdamW steps (lr 1e-3, betas 0.9/0.999, eps 1e-8, decay 0.01 on everything, no warm-up, same batch)
and in its metadata {"kind", "class", "case", "seed", "size", "loss_sees_padding"}. Two of the three rows are padded (but see SPAN_PADDED); one is at full length.
"""
import argparse
import copy
import fnmatch
import importlib
import json
import os

import torch
import transformers as T
from safetensors.torch import save_file

SIZES = {
    "small": dict(V=64, H=16, L=2, A=4, F=32, P=16, E=8, B=3, S=11),
    "spec": dict(V=120, H=32, L=3, A=4, F=64, P=40, E=16, B=3, S=11),
}
WITH_SEGMENTS = ("bert", "ernie", "electra", "xlnet")


def configs(z):
    """One configuration a family; a case changes what it needs."""
    V, H, L, A, F, P = (z[k] for k in "VHLAFP")
    encoder = dict(vocab_size=V, hidden_size=H, num_hidden_layers=L, num_attention_heads=A, intermediate_size=F, max_position_embeddings=P)
    bart = dict(vocab_size=V, d_model=H, encoder_layers=2, decoder_layers=3, encoder_attention_heads=A, decoder_attention_heads=A // 2,
                encoder_ffn_dim=F, decoder_ffn_dim=F, max_position_embeddings=P)
    t5 = dict(vocab_size=V, d_model=H, d_kv=8, d_ff=F, num_layers=2, num_decoder_layers=3, num_heads=A, decoder_start_token_id=0)
    return {
        "bert": T.BertConfig(**encoder, num_labels=3),
        "roberta": T.RobertaConfig(**encoder, type_vocab_size=1, num_labels=3, pad_token_id=1),
        "xlmroberta": T.XLMRobertaConfig(**encoder, type_vocab_size=1, num_labels=3, pad_token_id=1, layer_norm_eps=1e-5),
        "electra": T.ElectraConfig(**encoder, embedding_size=z["E"], num_labels=5),
        "distilbert": T.DistilBertConfig(vocab_size=V, dim=H, n_layers=L, n_heads=A, hidden_dim=F, max_position_embeddings=P, num_labels=3),
        "ernie": T.ErnieConfig(**encoder, use_task_id=True, task_type_vocab_size=3, num_labels=3),
        "xlnet": T.XLNetConfig(vocab_size=V, d_model=H, n_layer=L, n_head=A, d_inner=F, num_labels=3),
        "gpt2": T.GPT2Config(vocab_size=V, n_embd=H, n_layer=L, n_head=A, n_positions=P, num_labels=3, pad_token_id=0),
        "gpt": T.OpenAIGPTConfig(vocab_size=V, n_embd=H, n_layer=L, n_head=A, n_positions=P),
        "bart": T.BartConfig(**bart, num_labels=3),
        "mbart": T.MBartConfig(**bart, num_labels=3, scale_embedding=True),
        "marian": T.MarianConfig(**bart, pad_token_id=1, decoder_start_token_id=1, eos_token_id=0, scale_embedding=True, activation_function="swish"),
        "t5": T.T5Config(**t5, num_labels=3),
        "t5v11": T.T5Config(**t5, num_labels=3, feed_forward_proj="gated-gelu", tie_word_embeddings=False),
        "byt5": T.T5Config(**t5 | dict(num_layers=3, num_decoder_layers=1), feed_forward_proj="gated-gelu", tie_word_embeddings=False, tokenizer_class="ByT5Tokenizer"),
        "mt5": T.MT5Config(**t5, num_labels=3),
    }


# case: (class, configuration, kind of batch and loss, changes to the configuration)
CASES = {
    # BERT
    "bert-mlm": ("BertForMaskedLM", "bert", "mlm", {}),
    "bert-mlm-untied": ("BertForMaskedLM", "bert", "mlm", dict(tie_word_embeddings=False)),
    "bert-mlm-gelunew": ("BertForMaskedLM", "bert", "mlm", dict(hidden_act="gelu_new", initializer_range=0.5)),
    "bert-mlm-relu": ("BertForMaskedLM", "bert", "mlm", dict(hidden_act="relu", layer_norm_eps=1e-5)),
    "bert-pretraining": ("BertForPreTraining", "bert", "mlm+nsp", {}),
    "bert-nsp": ("BertForNextSentencePrediction", "bert", "nsp", {}),
    "bert-sequence": ("BertForSequenceClassification", "bert", "sequence", {}),
    "bert-sequence-oldconfig": ("BertForSequenceClassification", "bert", "sequence", {}),
    "bert-multilabel": ("BertForSequenceClassification", "bert", "multilabel", dict(num_labels=4, problem_type="multi_label_classification")),
    "bert-regression": ("BertForSequenceClassification", "bert", "regression", dict(num_labels=1, problem_type="regression")),
    "bert-token": ("BertForTokenClassification", "bert", "token", {}),
    "bert-qa": ("BertForQuestionAnswering", "bert", "span", dict(num_labels=2)),
    "bert-qa-full": ("BertForQuestionAnswering", "bert", "span", dict(num_labels=2)),
    "bert-choice": ("BertForMultipleChoice", "bert", "choice", {}),
    "bert-hidden": ("BertModel", "bert", "hidden", {}),
    "bert-pretraining-oldconfig": ("BertForPreTraining", "bert", "mlm+nsp", {}),
    "bert-qa-spanbert": ("BertForQuestionAnswering", "bert", "span", dict(num_labels=2)),
    # RoBERTa, XLM-R
    "roberta-mlm": ("RobertaForMaskedLM", "roberta", "mlm", {}),
    "roberta-mlm-untied": ("RobertaForMaskedLM", "roberta", "mlm", dict(tie_word_embeddings=False)),
    "roberta-mlm-oldconfig": ("RobertaForMaskedLM", "roberta", "mlm", {}),
    "roberta-sequence": ("RobertaForSequenceClassification", "roberta", "sequence", {}),
    "roberta-token": ("RobertaForTokenClassification", "roberta", "token", {}),
    "roberta-qa": ("RobertaForQuestionAnswering", "roberta", "span", dict(num_labels=2)),
    "roberta-choice": ("RobertaForMultipleChoice", "roberta", "choice", {}),
    "roberta-hidden": ("RobertaModel", "roberta", "hidden", {}),
    "xlmroberta-mlm": ("XLMRobertaForMaskedLM", "xlmroberta", "mlm", {}),
    "xlmroberta-sequence": ("XLMRobertaForSequenceClassification", "xlmroberta", "sequence", {}),
    "xlmroberta-token": ("XLMRobertaForTokenClassification", "xlmroberta", "token", {}),
    "xlmroberta-qa": ("XLMRobertaForQuestionAnswering", "xlmroberta", "span", dict(num_labels=2)),
    "xlmroberta-choice": ("XLMRobertaForMultipleChoice", "xlmroberta", "choice", {}),
    "xlmroberta-hidden": ("XLMRobertaModel", "xlmroberta", "hidden", {}),
    # DistilBERT
    "distilbert-mlm": ("DistilBertForMaskedLM", "distilbert", "mlm", {}),
    "distilbert-qa": ("DistilBertForQuestionAnswering", "distilbert", "span", dict(num_labels=2)),
    "distilbert-qa-full": ("DistilBertForQuestionAnswering", "distilbert", "span", dict(num_labels=2)),
    "distilbert-sequence": ("DistilBertForSequenceClassification", "distilbert", "sequence", {}),
    "distilbert-token": ("DistilBertForTokenClassification", "distilbert", "token", {}),
    "distilbert-choice": ("DistilBertForMultipleChoice", "distilbert", "choice", {}),
    "distilbert-hidden": ("DistilBertModel", "distilbert", "hidden", {}),
    # ELECTRA
    "electra-mlm": ("ElectraForMaskedLM", "electra", "mlm", {}),
    "electra-mlm-samewidth": ("ElectraForMaskedLM", "electra", "mlm", dict(embedding_size="H")),
    "electra-rtd": ("ElectraForPreTraining", "electra", "rtd", {}),
    "electra-token": ("ElectraForTokenClassification", "electra", "token", {}),
    "electra-sequence": ("ElectraForSequenceClassification", "electra", "sequence", {}),
    "electra-qa": ("ElectraForQuestionAnswering", "electra", "span", dict(num_labels=2)),
    "electra-choice": ("ElectraForMultipleChoice", "electra", "choice", {}),
    "electra-hidden": ("ElectraModel", "electra", "hidden", {}),
    # ERNIE
    "ernie-mlm": ("ErnieForMaskedLM", "ernie", "mlm", {}),
    "ernie-mlm-notask": ("ErnieForMaskedLM", "ernie", "mlm", dict(use_task_id=False)),
    "ernie-pretraining": ("ErnieForPreTraining", "ernie", "mlm+nsp", {}),
    "ernie-nsp": ("ErnieForNextSentencePrediction", "ernie", "nsp", {}),
    "ernie-sequence": ("ErnieForSequenceClassification", "ernie", "sequence", {}),
    "ernie-token": ("ErnieForTokenClassification", "ernie", "token", {}),
    "ernie-qa": ("ErnieForQuestionAnswering", "ernie", "span", dict(num_labels=2)),
    "ernie-choice": ("ErnieForMultipleChoice", "ernie", "choice", {}),
    "ernie-hidden": ("ErnieModel", "ernie", "hidden", {}),
    # the other families
    "xlnet-lm": ("XLNetLMHeadModel", "xlnet", "permutation", {}),
    "xlnet-lm-uni": ("XLNetLMHeadModel", "xlnet", "permutation", dict(attn_type="uni", ff_activation="relu")),
    "xlnet-lm-clamp": ("XLNetLMHeadModel", "xlnet", "permutation", dict(clamp_len=3)),
    "xlnet-lm-bidata": ("XLNetLMHeadModel", "xlnet", "permutation", dict(bi_data=True)),
    "xlnet-lm-untied": ("XLNetLMHeadModel", "xlnet", "permutation", dict(tie_word_embeddings=False)),
    "xlnet-memory": ("XLNetLMHeadModel", "xlnet", "memory", dict(mem_len=9, reuse_len=7)),
    "xlnet-memory-uni": ("XLNetLMHeadModel", "xlnet", "memory", dict(attn_type="uni", same_length=True)),
    "xlnet-sequence": ("XLNetForSequenceClassification", "xlnet", "sequence", {}),
    "xlnet-sequence-first": ("XLNetForSequenceClassification", "xlnet", "sequence", dict(summary_type="first", summary_use_proj=False)),
    "xlnet-sequence-mean": ("XLNetForSequenceClassification", "xlnet", "sequence", dict(summary_type="mean", summary_activation=None)),
    "xlnet-multilabel": ("XLNetForSequenceClassification", "xlnet", "multilabel", dict(num_labels=4, problem_type="multi_label_classification")),
    "xlnet-regression": ("XLNetForSequenceClassification", "xlnet", "regression", dict(num_labels=1, problem_type="regression")),
    "xlnet-token": ("XLNetForTokenClassification", "xlnet", "token", {}),
    "xlnet-qa": ("XLNetForQuestionAnsweringSimple", "xlnet", "span", dict(num_labels=2)),
    "xlnet-hidden": ("XLNetModel", "xlnet", "hidden", {}),
    "gpt-lm": ("OpenAIGPTLMHeadModel", "gpt", "causal", {}),
    "gpt-lm-untied": ("OpenAIGPTLMHeadModel", "gpt", "causal", dict(tie_word_embeddings=False, afn="swish")),
    "gpt-sequence": ("OpenAIGPTForSequenceClassification", "gpt", "sequence", dict(pad_token_id=0)),
    "gpt-hidden": ("OpenAIGPTModel", "gpt", "hidden", {}),
    "gpt2-lm": ("GPT2LMHeadModel", "gpt2", "causal", {}),
    "gpt2-lm-untied": ("GPT2LMHeadModel", "gpt2", "causal", dict(tie_word_embeddings=False, activation_function="gelu")),
    "gpt2-lm-bylayer": ("GPT2LMHeadModel", "gpt2", "causal", dict(scale_attn_by_inverse_layer_idx=True, reorder_and_upcast_attn=True, activation_function="relu")),
    "gpt2-lm-unscaled": ("GPT2LMHeadModel", "gpt2", "causal", dict(scale_attn_weights=False, n_inner=24, activation_function="silu")),
    "gpt2-sequence": ("GPT2ForSequenceClassification", "gpt2", "sequence", {}),
    "gpt2-multilabel": ("GPT2ForSequenceClassification", "gpt2", "multilabel", dict(num_labels=4, problem_type="multi_label_classification")),
    "gpt2-regression": ("GPT2ForSequenceClassification", "gpt2", "regression", dict(num_labels=1, problem_type="regression")),
    "gpt2-token": ("GPT2ForTokenClassification", "gpt2", "token", {}),
    "gpt2-qa": ("GPT2ForQuestionAnswering", "gpt2", "span", dict(num_labels=2)),
    "gpt2-hidden": ("GPT2Model", "gpt2", "hidden", {}),
    "bart-lm": ("BartForConditionalGeneration", "bart", "seq2seq", {}),
    "bart-lm-scaled": ("BartForConditionalGeneration", "bart", "seq2seq", dict(scale_embedding=True, activation_function="relu")),
    "bart-lm-untied": ("BartForConditionalGeneration", "bart", "seq2seq", dict(tie_word_embeddings=False)),
    "bart-causal": ("BartForCausalLM", "bart", "aligned", {}),
    "bart-sequence": ("BartForSequenceClassification", "bart", "sequence", {}),
    "bart-multilabel": ("BartForSequenceClassification", "bart", "multilabel", dict(num_labels=4, problem_type="multi_label_classification")),
    "bart-regression": ("BartForSequenceClassification", "bart", "regression", dict(num_labels=1, problem_type="regression")),
    "bart-qa": ("BartForQuestionAnswering", "bart", "span", dict(num_labels=2)),
    "bart-hidden": ("BartModel", "bart", "hidden", {}),
    "bart-encoder": ("BartEncoder", "bart", "encoder", {}),
    "mbart-lm": ("MBartForConditionalGeneration", "mbart", "seq2seq", {}),
    "mbart-causal": ("MBartForCausalLM", "mbart", "aligned", {}),
    "mbart-sequence": ("MBartForSequenceClassification", "mbart", "sequence", {}),
    "mbart-qa": ("MBartForQuestionAnswering", "mbart", "span", dict(num_labels=2)),
    "mbart-hidden": ("MBartModel", "mbart", "hidden", {}),
    "mbart-encoder": ("MBartEncoder", "mbart", "encoder", {}),
    "marian-lm": ("MarianMTModel", "marian", "seq2seq", {}),
    "marian-lm-apart": ("MarianMTModel", "marian", "seq2seq", dict(share_encoder_decoder_embeddings=False)),
    "marian-lm-untied": ("MarianMTModel", "marian", "seq2seq", dict(tie_word_embeddings=False)),
    "marian-causal": ("MarianForCausalLM", "marian", "aligned", {}),
    "marian-hidden": ("MarianModel", "marian", "hidden", {}),
    "marian-encoder": ("MarianEncoder", "marian", "encoder", {}),
    "marian-encoder-apart": ("MarianEncoder", "marian", "encoder", dict(share_encoder_decoder_embeddings=False)),
    "t5-lm": ("T5ForConditionalGeneration", "t5", "seq2seq", {}),
    "t5-lm-far": ("T5ForConditionalGeneration", "t5", "seq2seq", dict(relative_attention_num_buckets=8, relative_attention_max_distance=6)),
    "t5-lm-untied": ("T5ForConditionalGeneration", "t5", "seq2seq", dict(tie_word_embeddings=False)),
    "t5-sequence": ("T5ForSequenceClassification", "t5", "sequence", {}),
    "t5-token": ("T5ForTokenClassification", "t5", "token", {}),
    "t5-qa": ("T5ForQuestionAnswering", "t5", "span", dict(num_labels=2)),
    "t5-hidden": ("T5Model", "t5", "hidden", {}),
    "t5-encoder": ("T5EncoderModel", "t5", "encoder", {}),
    "t5v11-lm": ("T5ForConditionalGeneration", "t5v11", "seq2seq", {}),
    "t5v11-sequence": ("T5ForSequenceClassification", "t5v11", "sequence", {}),
    "t5v11-token": ("T5ForTokenClassification", "t5v11", "token", {}),
    "t5v11-qa": ("T5ForQuestionAnswering", "t5v11", "span", dict(num_labels=2)),
    "t5v11-hidden": ("T5Model", "t5v11", "hidden", {}),
    "t5v11-encoder": ("T5EncoderModel", "t5v11", "encoder", {}),
    "byt5-lm": ("T5ForConditionalGeneration", "byt5", "seq2seq", {}),
    "byt5-sequence": ("T5ForSequenceClassification", "byt5", "sequence", dict(num_labels=3)),
    "byt5-token": ("T5ForTokenClassification", "byt5", "token", dict(num_labels=3)),
    "byt5-qa": ("T5ForQuestionAnswering", "byt5", "span", dict(num_labels=2)),
    "byt5-hidden": ("T5Model", "byt5", "hidden", {}),
    "byt5-encoder": ("T5EncoderModel", "byt5", "encoder", {}),
    "mt5-lm": ("MT5ForConditionalGeneration", "mt5", "seq2seq", {}),
    "mt5-sequence": ("MT5ForSequenceClassification", "mt5", "sequence", {}),
    "mt5-token": ("MT5ForTokenClassification", "mt5", "token", {}),
    "mt5-qa": ("MT5ForQuestionAnswering", "mt5", "span", dict(num_labels=2)),
    "mt5-hidden": ("MT5Model", "mt5", "hidden", {}),
    "mt5-encoder": ("MT5EncoderModel", "mt5", "encoder", {}),
}
# ERNIE's task ids are given in these cases and left out (= 0) in its others. (Its multiple choice cannot take them: they are not flattened there.)
TASK_IDS = ("ernie-mlm", "ernie-pretraining", "ernie-token", "ernie-hidden")
# The loss over answer positions is a softmax over the whole padded row: in these two cases it sees padding, as in real fine-tuning with
# transformers. In the other span cases no row is padded, so that a batch without padding gives the same loss and gradients.
SPAN_PADDED = ("bert-qa", "distilbert-qa")


# config.json as files of 2019 and 2020 spell it: keys of today that were absent go, keys of then that today's readers must pass over come.
OLD_GONE = ("transformers_version", "dtype", "torch_dtype", "use_cache", "position_embedding_type", "classifier_dropout", "id2label", "label2id")
OLD_COME = {
    "bert": dict(num_labels=3, finetuning_task="mrpc", output_attentions=False, output_hidden_states=False, pruned_heads={}, torchscript=False,
                 use_bfloat16=False, is_decoder=False, pooler_fc_size=768, pooler_num_attention_heads=12, pooler_num_fc_layers=3,
                 pooler_size_per_head=128, pooler_type="first_token_transform", directionality="bidi", gradient_checkpointing=False),
    "roberta": dict(_num_labels=3, id2label={"0": "LABEL_0", "1": "LABEL_1", "2": "LABEL_2"}, label2id={"LABEL_0": 0, "LABEL_1": 1, "LABEL_2": 2},
                    output_past=True, bad_words_ids=None, do_sample=False, early_stopping=False, length_penalty=1.0, max_length=20,
                    num_beams=1, num_return_sequences=1, repetition_penalty=1.0, temperature=1.0, top_k=50, top_p=1.0, xla_device=None),
    "spanbert": dict(directionality="bidi", model_type="bert"),
}


def batch(case, kind, cfg, z, g):
    V, B, S = z["V"], z["B"], z["S"]
    if case == "xlnet-lm-bidata":  # half of the batch is read backwards
        B += 1
    rand = lambda *s, hi=V, lo=5: torch.randint(lo, hi, s, generator=g)
    ids = rand(B, S)
    mask = torch.ones(B, S, dtype=torch.long)
    if (kind != "span" or case in SPAN_PADDED) and kind != "memory" and not case.endswith(("-first", "-mean", "-uni")):
        mask[1, 8:] = 0
        mask[2, 5:] = 0
    if cfg.model_type == "xlnet" and kind != "permutation":  # padded on the left, as its tokenizer does: the class token comes last
        mask = mask.flip(1).contiguous()
    pad = getattr(cfg, "pad_token_id", 0) or 0
    ids = torch.where(mask.bool(), ids, torch.full_like(ids, pad))
    x = dict(input_ids=ids, attention_mask=mask)
    if kind in ("sequence", "multilabel", "regression") and cfg.model_type in ("bart", "mbart"):  # the classifier reads the last </s>
        ids[:, 0] = 0
        ids[torch.arange(B), mask.sum(1) - 1] = 2
    if kind in ("sequence", "multilabel", "regression") and cfg.model_type in ("t5", "mt5"):
        ids[torch.arange(B), mask.sum(1) - 1] = 1
    drop = lambda y: torch.where(mask.bool(), y, torch.full_like(y, -100))
    some = lambda: drop(torch.where(torch.rand(B, S, generator=g) < 0.4, ids, torch.full_like(ids, -100)))
    if cfg.model_type in WITH_SEGMENTS:
        x["token_type_ids"] = (torch.arange(S) > 4).long().expand(B, S).contiguous()
    if case in TASK_IDS:
        x["task_type_ids"] = (torch.arange(B) % 3).unsqueeze(1).expand(B, S).contiguous()
    if kind in ("mlm", "mlm+nsp"):
        x["labels"] = some()
    if kind == "mlm+nsp":
        x["next_sentence_label"] = rand(B, hi=2, lo=0)
    if kind == "nsp":
        x["labels"] = rand(B, hi=2, lo=0)
    if kind == "sequence":
        x["labels"] = rand(B, hi=cfg.num_labels, lo=0)
    if kind == "multilabel":
        x["labels"] = rand(B, cfg.num_labels, hi=2, lo=0).float()
    if kind == "regression":
        x["labels"] = torch.randn(B, generator=g)
    if kind == "token":
        x["labels"] = drop(rand(B, S, hi=cfg.num_labels, lo=0))
    if kind == "span":
        x["start_positions"], x["end_positions"] = rand(B, hi=3, lo=1), rand(B, hi=5, lo=3)
    if kind == "rtd":
        x["labels"] = rand(B, S, hi=2, lo=0)
    if kind in ("causal", "aligned"):  # the latter's loss compares a row with its own label, not with the next
        x["labels"] = drop(ids.clone())
    if kind == "choice":
        x = {k: v.unsqueeze(1).repeat(1, 2, 1) for k, v in x.items()}
        x["input_ids"][:, 1] = torch.where(mask.bool(), rand(B, S), ids)
        x["labels"] = rand(B, hi=2, lo=0)
    if kind == "seq2seq":
        y = rand(B, 7)
        y[1, 5:] = -100
        x["labels"] = y
    if kind == "hidden" and cfg.is_encoder_decoder:  # the decoder reads the same text, moved right
        start = ids.gather(1, mask.sum(1, keepdim=True) - 1) if cfg.model_type == "mbart" else torch.full((B, 1), cfg.decoder_start_token_id)
        x["decoder_input_ids"] = torch.cat([start, ids[:, :-1]], 1)
    if kind == "memory":  # a segment before
        x["first_ids"], x["first_types"] = rand(B, S), (torch.arange(S) > 7).long().expand(B, S).contiguous()
    if kind in ("permutation", "memory"):
        # Predict the last 4 positions of a random factorization order; a position sees those before it in the order.
        perm, target, labels = torch.zeros(B, S, S), torch.zeros(B, 4, S), torch.full((B, 4), -100)
        for b in range(B):
            n = int(mask[b].sum())
            order = torch.randperm(n, generator=g)
            rank = torch.empty(n, dtype=torch.long)
            rank[order] = torch.arange(n)
            late = rank >= n - 4
            for i in range(n):
                for j in range(n):
                    if late[j] and rank[j] >= rank[i]:
                        perm[b, i, j] = 1.0
            for k, p in enumerate(order[-4:]):
                target[b, k, p] = 1.0
                labels[b, k] = ids[b, p]
        x.update(perm_mask=perm, target_mapping=target, labels=labels)
        if case.endswith("-uni"):  # transformers can't add another mask to that of one direction
            x.pop("perm_mask")
    return x


def outputs(model, kind, x):
    """The float outputs by name, and the loss. Bodies have no loss of their own: the mean of squares of each output, summed, padding left out."""
    if getattr(model.config, "attn_type", "bi") == "uni":
        x = {k: v for k, v in x.items() if k != "attention_mask"}
    if kind == "memory":
        x = dict(x)
        first = dict(input_ids=x.pop("first_ids"), token_type_ids=x.pop("first_types"))
        x |= dict(mems=model(**first, use_mems=True).mems, use_mems=True)
    # transformers sizes BART's cache by its encoder: a decoder with more layers fails with one
    o = model(**x, **({"use_cache": False} if hasattr(model.config, "decoder_layers") and kind != "encoder" else {}))
    outs = {k: v for k, v in o.items() if torch.is_tensor(v) and k != "loss"}
    if kind not in ("hidden", "encoder"):
        return outs, o.loss
    real = x["attention_mask"].bool()
    return outs, sum((v[real] if v.dim() == 3 else v).square().mean() for v in outs.values())


def age(directory, family):
    """Rewrites config.json in the spelling of an old file."""
    path = os.path.join(directory, "config.json")
    with open(path) as f:
        c = json.load(f)
    gone = OLD_GONE + (("architectures",) if family == "spanbert" else ())  # SpanBERT's authors name no class
    c = {k: v for k, v in c.items() if k not in gone} | OLD_COME[family]
    with open(path, "w") as f:
        json.dump(dict(sorted(c.items())), f, indent=2)


def class_of(name):
    """A class by its name; the encoders of BART's kin are no models of transformers' front page."""
    family = name.removesuffix("Encoder")
    if family in ("Bart", "MBart", "Marian"):
        return getattr(importlib.import_module(f"transformers.models.{family.lower()}.modeling_{family.lower()}"), name)
    return getattr(T, name)


def build(case, z, seed):
    """The model in eval mode and the generator to draw its batch from."""
    cls, family, kind, change = CASES[case]
    cls = class_of(cls)
    cfg = copy.deepcopy(configs(z)[family])
    for k, v in change.items():
        setattr(cfg, k, z[v] if isinstance(v, str) and v in z else v)
    cfg._attn_implementation = "eager"
    torch.manual_seed(seed + 1)
    g = torch.Generator().manual_seed(seed + 2)
    m = cls(cfg).eval()
    if cls is T.BartForConditionalGeneration and not cfg.tie_word_embeddings:
        # a new model has one embedding for both sides, one that was opened has three: two are used
        for side in (m.model.encoder, m.model.decoder):
            side.embed_tokens.weight = torch.nn.Parameter(side.embed_tokens.weight.detach().clone())
    with torch.no_grad():  # biases and norms away from their trivial start values
        for p in m.parameters():
            if p.requires_grad:
                p.add_(0.1 * torch.randn(p.shape, generator=g))
        if hasattr(m, "final_logits_bias"):
            m.final_logits_bias.copy_(torch.randn(m.final_logits_bias.shape, generator=g))
    return m, kind, cfg, g


def write(case, out, z, seed, size):
    m, kind, cfg, g = build(case, z, seed)
    d = os.path.join(out, case)
    m.save_pretrained(d)
    x = batch(case, kind, cfg, z, g)
    outs, loss = outputs(m, kind, x)
    loss.backward()
    t = {"in." + k: v.contiguous() for k, v in x.items()}
    t |= {"out." + k: v.detach().float().contiguous().clone() for k, v in outs.items()}
    t["loss"] = loss.detach().reshape(1)
    for k, p in m.named_parameters():
        if p.grad is not None:
            t["grad." + k] = p.grad.contiguous().clone()
    if case.endswith("-oldconfig"):
        age(d, CASES[case][1])
    if case.endswith("-spanbert"):
        age(d, "spanbert")
    again = type(m).from_pretrained(d, attn_implementation="eager").eval()
    with torch.no_grad():  # the directory says the same as the model it came from
        for k, v in outputs(again, kind, x)[0].items():
            assert torch.allclose(v, t["out." + k], rtol=1e-5, atol=1e-6), f"{case}: {k} differs after a round trip"
    opt = torch.optim.AdamW(m.parameters(), lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01)
    losses = []
    for _ in range(10):
        opt.zero_grad()
        step = outputs(m, kind, x)[1]
        step.backward()
        opt.step()
        losses.append(step.item())
    t["adamw"] = torch.tensor(losses)
    meta = {"kind": kind, "class": type(m).__name__, "case": case, "seed": str(seed), "size": size,
            "loss_sees_padding": "yes" if case in SPAN_PADDED else "no"}
    save_file(t, os.path.join(d, "reference.safetensors"), metadata=meta)
    no_grad = [k for k, p in m.named_parameters() if "grad." + k not in t]
    print(f"{case:24} loss {losses[0]:.4f} -> {losses[-1]:.4f}", "no gradient: " + ", ".join(no_grad) if no_grad else "", flush=True)


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("out")
    ap.add_argument("cases", nargs="*", help="names or patterns such as 'bert-*'; none = all")
    ap.add_argument("--seed", type=int, default=0)
    ap.add_argument("--size", choices=SIZES, default="small")
    a = ap.parse_intermixed_args()
    T.logging.set_verbosity_error()
    torch.set_num_threads(1)
    chosen = [c for c in CASES if not a.cases or any(fnmatch.fnmatch(c, p) for p in a.cases)]
    if not chosen:
        ap.error(f"no case matches {a.cases}; there are: {', '.join(CASES)}")
    for case in chosen:
        write(case, a.out, SIZES[a.size], a.seed, a.size)


if __name__ == "__main__":
    main()
