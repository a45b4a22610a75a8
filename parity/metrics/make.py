"""Golden values of the metrics, by the packages that define them.

usage: python make.py OUT_DIR
needs: scikit-learn, scipy, seqeval, rouge-score, sacrebleu, transformers==4.57.6 (SQuAD's script), torch, torchmetrics

OUT_DIR/NAME.json is a list of cases with inputs and what the package answers: classification (scikit-learn), multi_label (scikit-learn),
correlation (SciPy; null where it says nan), entities (seqeval, default mode), squad (transformers' squad_evaluate), rouge (rouge-score),
stems (NLTK's PorterStemmer, as rouge-score uses it), bleu and chrf (sacreBLEU),
exact_match (scikit-learn's accuracy of whole texts, by the best of a text's references), calibration and perplexity (torchmetrics),
permutation (SciPy's exact paired test).
"""
import json
import math
import os
import random
import sys
import unicodedata
import warnings

import numpy as np
import scipy.stats
import torch
from nltk.stem.porter import PorterStemmer
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu.metrics import BLEU, CHRF
from seqeval.metrics import accuracy_score as seq_accuracy
from seqeval.metrics import classification_report
from sklearn import metrics as sk
from torchmetrics.classification import MulticlassCalibrationError
from torchmetrics.text import Perplexity
from transformers.data.metrics.squad_metrics import squad_evaluate

warnings.filterwarnings("ignore")
OUT = sys.argv[1]
HERE = os.path.dirname(os.path.abspath(__file__))
R = random.Random(20240607)


def save(name, cases):
    with open(os.path.join(OUT, name + ".json"), "w") as file:
        json.dump(cases, file, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        file.write("\n")
    print(name, len(cases))


def prf(gold, predicted, average, **more):
    return [float(x) for x in sk.precision_recall_fscore_support(gold, predicted, average=average, zero_division=0, **more)[:3]]


def classification():
    for i in range(300):
        labels, n = R.randint(1, 6), R.randint(1, 40)
        gold = [R.randrange(labels) for _ in range(n)]
        predicted = [g if R.random() < 0.6 else R.randrange(labels) for g in gold]
        if i % 10 == 0:
            predicted = [0] * n
        per = sk.precision_recall_fscore_support(gold, predicted, labels=list(range(labels)), zero_division=0)
        yield {
            "labels": labels, "gold": gold, "predicted": predicted, "accuracy": float(sk.accuracy_score(gold, predicted)),
            "micro": prf(gold, predicted, "micro"), "macro": prf(gold, predicted, "macro"), "weighted": prf(gold, predicted, "weighted"),
            "per_label": [[float(x) for x in row] for row in zip(*per[:3])],
            "matthews": float(sk.matthews_corrcoef(gold, predicted)),
            "confusion": sk.confusion_matrix(gold, predicted, labels=list(range(labels))).tolist(),
        }


def multi_label():
    for _ in range(250):
        labels, n = R.randint(2, 5), R.randint(1, 25)
        gold = [[R.random() < 0.3 for _ in range(labels)] for _ in range(n)]
        predicted = [[g if R.random() < 0.7 else R.random() < 0.5 for g in row] for row in gold]
        g, p = np.array(gold).astype(int), np.array(predicted).astype(int)
        yield {"labels": labels, "gold": gold, "predicted": predicted, "micro": prf(g, p, "micro"), "macro": prf(g, p, "macro"),
               "weighted": prf(g, p, "weighted"), "accuracy": float(sk.accuracy_score(g, p))}


def correlation():
    number = lambda x: None if math.isnan(x) else float(x)
    for i in range(300):
        n = R.randint(2, 30)
        x = [round(R.gauss(0, 2), R.randint(0, 4)) for _ in range(n)]
        y = [round(v * R.choice([1, -1, 0]) + R.gauss(0, 1), R.randint(0, 2)) for v in x]
        if i % 12 == 0:
            y = [1.5] * n
        yield {"x": x, "y": y, "pearson": number(scipy.stats.pearsonr(x, y)[0]), "spearman": number(scipy.stats.spearmanr(x, y)[0])}


def entities():
    schemes = [["B-{}", "I-{}"], ["I-{}"], ["B-{}", "I-{}", "E-{}", "S-{}"], ["B-{}", "I-{}", "B", "I"]]
    for i in range(300):
        tags = ["O", "O"] + [p.format(k) for p in schemes[i % 4] for k in ("PER", "LOC", "MISC-X")]
        gold, predicted = [], []
        for _ in range(R.randint(1, 6)):
            row = [R.choice(tags) for _ in range(R.randint(1, 9))]
            gold.append(row)
            predicted.append([t if R.random() < 0.75 else R.choice(tags) for t in row])
        report = classification_report(gold, predicted, output_dict=True, zero_division=0)
        number = lambda x: 0.0 if math.isnan(x) else float(x)  # the mean over no kinds at all
        row = lambda name: [number(report[name][k]) for k in ("precision", "recall", "f1-score")] if name in report else [0.0] * 3
        kinds = sorted(k for k in report if not k.endswith(" avg"))
        yield {"gold": gold, "predicted": predicted, "micro": row("micro avg"), "macro": row("macro avg"), "weighted": row("weighted avg"),
               "kinds": [[k, *row(k), int(report[k]["support"])] for k in kinds], "accuracy": float(seq_accuracy(gold, predicted))}


WORDS = ("the a an of cat cats cat's dogs running runs ran quickly quick beautiful beauty Paris France 1,000 3.14 2024 e-mail state-of-the-art "
         "don't it's naïve café Müller İstanbul STRASSE straße generously national nationally relational operators happiness happily dying "
         "skies news analyses hopping hoped U.S. $5.00 50% (sic) [1] \"quoted\" 'single' & &amp; < > # @user http://x.y/z … — 你好 世界 北京 "
         "東京 テスト 한국어 🍕 😀 ½ x² Ⅳ ١٢٣ ‘curly’ “double” it,and this.that 5-10 a.m. -- - / \\ | ~ ^ { } theory_of anthology biology").split(" ")


def sentence(low, high):
    return " ".join(R.choice(WORDS) for _ in range(R.randint(low, high)))


def noisy(text):
    words = []
    for word in text.split(" "):
        r = R.random()
        if r < 0.12:
            continue
        words.append(R.choice(WORDS) if r < 0.25 else word.upper() if r < 0.3 else word + R.choice(".,;!?") if r < 0.38 else word)
        if R.random() < 0.05:
            words.append(word)
    if R.random() < 0.2:
        R.shuffle(words)
    return " ".join(words)


class Asked:
    def __init__(self, id, answers):
        self.qas_id, self.answers = id, [{"text": a} for a in answers]


def squad():
    for i in range(250):
        asked, given, none = [], {}, {}
        for q in range(R.randint(1, 12)):
            answers = [] if R.random() < 0.35 else [sentence(1, 4) for _ in range(R.randint(1, 3))]
            if answers and R.random() < 0.05:
                answers = ["the"]
            asked.append(Asked(str(q), answers))
            r = R.random()
            given[str(q)] = "" if r < 0.25 else noisy(R.choice(answers)) if answers and r < 0.85 else sentence(1, 4)
            none[str(q)] = round(R.random(), 1 if i % 3 == 0 else 4)
        threshold = R.choice([1.0, 0.5, 0.2])
        result = squad_evaluate(asked, given, no_answer_probs=none, no_answer_probability_threshold=threshold)
        yield {"questions": [{"gold": [a["text"] for a in q.answers], "given": given[q.qas_id], "no_answer": none[q.qas_id]} for q in asked],
               "threshold": threshold, "result": {k: float(v) for k, v in result.items()}}


def rouge():
    kinds = ["rouge1", "rouge2", "rougeL", "rougeLsum"]
    for i in range(300):
        lines = [sentence(0, 12) for _ in range(R.randint(1, 4))]
        reference = "\n".join(lines)
        if R.random() < 0.3:
            R.shuffle(lines)
        text = R.choice(["\n", " ", "\n\n"]).join(noisy(line) for line in lines) if i % 20 else R.choice(["", "...", "x"])
        stem = i % 2 == 0
        scores = RougeScorer(kinds, use_stemmer=stem).score(reference, text)
        yield {"reference": reference, "text": text, "stem": stem, **{k: [float(x) for x in scores[k]] for k in kinds}}


def stems():
    stemmer = PorterStemmer()
    vocabulary = open(os.path.join(HERE, "../../assets/all-MiniLM-L6-v2/vocab.txt"), encoding="utf-8").read().split("\n")
    words = [w for w in vocabulary if w.isascii() and w.isalpha() and len(w) > 3]
    R.shuffle(words)
    made = ["".join(R.choice("abcdeilnorstuyy") for _ in range(R.randint(1, 5))) + R.choice(["ational", "alli", "logi", "fulli", "ied", "ies", "ing", "eed",
            "ement", "ion", "sion", "ization", "y", "ll", "e", "ness", "icate", "bli", "ousli", "sses"]) for _ in range(800)]
    for word in words[:4000] + made:
        yield [word, stemmer.stem(word)]


def texts(n, references):
    refs = [[sentence(1, 14) for _ in range(references)] for _ in range(n)]
    hyps = [noisy(R.choice(r)) for r in refs]
    for i in range(n):
        if R.random() < 0.03:
            hyps[i] = ""
        if R.random() < 0.05:
            hyps[i] = hyps[i] + "\n"
    return refs, hyps


def bleu():
    for i in range(300):
        tokens = ["13a", "intl", "zh", "char", "none"][i % 5]
        method, value = R.choice([("exp", None), ("none", None), ("floor", 0.1), ("floor", 0.5), ("add-k", 1), ("add-k", 0.5)])
        lower, effective = R.random() < 0.3, R.random() < 0.4
        refs, hyps = texts(R.choice([1, 1, 3, 8]), R.randint(1, 3))
        metric = BLEU(tokenize=tokens, smooth_method=method, smooth_value=value, lowercase=lower, effective_order=effective, force=True)
        result = metric.corpus_score(hyps, list(zip(*refs)))
        yield {"tokens": tokens, "smoothing": method, "value": value, "lowercase": lower, "effective_order": effective, "references": refs,
               "hypotheses": hyps, "score": result.score, "precisions": [float(p) for p in result.precisions], "brevity_penalty": result.bp,
               "length": result.sys_len, "reference_length": result.ref_len}


def chrf():
    for i in range(300):
        word_order, lower = [0, 2, 1][i % 3], R.random() < 0.3
        char_order, beta = R.choice([6, 6, 6, 4]), R.choice([2, 2, 2, 1])
        refs, hyps = texts(R.choice([1, 1, 4]), R.randint(1, 3))
        metric = CHRF(char_order=char_order, word_order=word_order, beta=beta, lowercase=lower)
        yield {"char_order": char_order, "word_order": word_order, "beta": beta, "lowercase": lower, "references": refs, "hypotheses": hyps,
               "score": metric.corpus_score(hyps, list(zip(*refs))).score}


def exact_match():
    near = [str.upper, str.lower, lambda t: t + " ", lambda t: unicodedata.normalize("NFD", t), lambda t: t.replace(" ", "  "), lambda t: t + "."]
    for _ in range(300):
        refs, hyps = texts(R.randint(1, 8), R.randint(1, 3))
        hyps = [h if (r := R.random()) < 0.3 else R.choice(own) if r < 0.7 else R.choice(near)(R.choice(own)) for h, own in zip(hyps, refs)]
        best = [max(float(sk.accuracy_score([one], [h])) for one in own) for h, own in zip(hyps, refs)]
        yield {"references": refs, "hypotheses": hyps, "score": float(np.mean(best))}


def calibration():
    generator = torch.Generator().manual_seed(5)
    for i in range(250):
        n, labels, bins = R.randint(1, 60), R.randint(2, 5), R.choice([15, 10, 5])
        probabilities = torch.softmax(torch.randn(n, labels, generator=generator, dtype=torch.float64) * 2, -1)
        gold = torch.randint(labels, (n,), generator=generator)
        error = MulticlassCalibrationError(labels, n_bins=bins, norm="l1")(probabilities, gold)
        confidence, predicted = probabilities.max(-1)
        yield {"bins": bins, "confidences": confidence.tolist(), "right": (predicted == gold).tolist(), "error": float(error)}


def perplexity():
    generator = torch.Generator().manual_seed(6)
    for i in range(250):
        batches, metric = [], Perplexity(ignore_index=-100)
        for _ in range(R.randint(1, 4)):
            logits = torch.randn(2, R.randint(1, 7), 9, generator=generator)
            gold = torch.randint(9, logits.shape[:2], generator=generator)
            metric.update(logits, gold)
            loss = torch.nn.functional.cross_entropy(logits.double().flatten(0, 1), gold.flatten(), reduction="sum")
            batches.append([float(loss), gold.numel()])
        yield {"batches": batches, "perplexity": float(metric.compute())}


def permutation():
    for _ in range(200):
        n = R.randint(2, 12)
        # sums of such numbers are exact: with others rounding breaks some of the ties that the test is to count
        a = [round(64 * R.random()) / 64 for _ in range(n)]
        b = [round(64 * (x + R.gauss(0.1, 0.3))) / 64 for x in a]
        statistic = lambda x, y, axis: np.mean(y - x, axis=axis)
        result = scipy.stats.permutation_test((a, b), statistic, permutation_type="samples", n_resamples=10**6, vectorized=True)
        yield {"first": a, "second": b, "difference": float(result.statistic), "p": float(result.pvalue)}


os.makedirs(OUT, exist_ok=True)
for make in (classification, multi_label, correlation, entities, squad, rouge, stems, bleu, chrf, calibration, perplexity, permutation, exact_match):
    save(make.__name__, list(make()))
