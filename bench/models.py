"""Makes what the benches run on: random models of real size, and the ONNX files of the peer at its best.

usage: python models.py DIR        (run.py calls it; what is there already is kept)

DIR/base        BERT-base (12 layers, 768 wide, vocabulary 30522), model.safetensors of 438 MB
DIR/small       BERT-small with its MLM head (4 layers, 512 wide, 8 heads, 2048 inner)
DIR/base.onnx, DIR/base-fused.onnx   the first as exported, and after ONNX Runtime's own transformer optimizer (fused attention, norms, GELU)
"""
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


if __name__ == "__main__":
    main(sys.argv[1])
