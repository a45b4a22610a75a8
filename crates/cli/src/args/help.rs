//! What `--help` says after the flags of the commands that read texts with a classifier's head.

/// What holds for all of them.
macro_rules! with_many {
    ($before:literal, $after:literal) => {
        concat!(
            $before,
            "
Many inputs: they come from files or standard input, one a line (plain, JSON objects, or the columns of a .csv or .tsv \
file; --format says which where no ending does). A line that cannot be answered gets {\"error\": …} in its place, the rest goes on, and the exit code is 2. With \
--output FILE the answers go there; Ctrl-C keeps what is done, --resume goes on. FILE.run beside it says by which options \
and to which inputs they are: others are not gone on with.
",
            $after
        )
    };
}

pub const CLASSIFY: &str = with_many!(
    "\
No model for this task is built in: --model takes a directory or an id of the hub.
",
    "
--json prints what the transformers pipeline returns: [{\"label\", \"score\"}] for a text, a list of those for several; \
one value a line for files and standard input.

Examples:
  ptm classify --model distilbert/distilbert-base-uncased-finetuned-sst-2-english \"What a lovely day!\"
  ptm classify --model ./my-model --top-k all --file reviews.txt --output labels.jsonl"
);

pub const NLI: &str = with_many!(
    "\
No model for this task is built in: --model takes a directory or an id of the hub. Without --premise, pairs come from \
files or standard input, one a line: two columns with a tab between them, or {\"premise\": …, \"hypothesis\": …}.
",
    "
Examples:
  ptm nli --model FacebookAI/roberta-large-mnli --premise \"A man eats.\" --hypothesis \"Someone is eating.\"
  printf 'A man eats.\\tNobody eats.\\n' | ptm nli --model ./my-nli --json --top-k all"
);

pub const ZEROSHOT: &str = with_many!(
    "\
No model for this task is built in: --model takes a directory or an id of the hub, of a model of natural-language \
inference.
",
    "
--json prints {\"sequence\", \"labels\", \"scores\"} as the transformers pipeline does; a list of those for several texts.

Examples:
  ptm zero-shot --model facebook/bart-large-mnli --labels travel,cooking,dancing \"One day I will see the world\"
  ptm zero-shot --model ./my-nli --labels urgent,billing --multi-label --file mails.txt"
);

pub const NER: &str = with_many!(
    "\
No model for this task is built in: --model takes a directory or an id of the hub.
",
    "
--json prints what the transformers pipeline returns: [{\"entity\", \"score\", \"index\", \"word\", \"start\", \"end\"}, …], \
or {\"entity_group\", …} with another strategy than none; places count characters.

Examples:
  ptm ner --model dbmdz/bert-large-cased-finetuned-conll03-english \"Clara lives in Berkeley.\"
  ptm ner --model ./my-model --aggregation-strategy first --stride 32 --json --file letters.txt"
);

pub const QA: &str = with_many!(
    "\
No model for this task is built in: --model takes a directory or an id of the hub. Without --question, questions come \
from files or standard input, one a line: {\"question\": …, \"context\": …}, or two columns with a tab between them.
",
    "
--json prints {\"score\", \"start\", \"end\", \"answer\"}, or a list of those; places count characters of the context.

Examples:
  ptm qa --model distilbert/distilbert-base-cased-distilled-squad --question \"Who?\" --context \"Clara did it.\"
  ptm qa --model ./my-model --question \"When was it signed?\" --context-file contract.txt --top-k 3"
);

pub const RERANK: &str = "\
A model with one label reads query and text together; any other gives vectors, which are compared. Without --model the \
built-in all-MiniLM-L6-v2 answers.

--json prints [{\"index\", \"score\", \"text\"}, …], the best first; lines that cannot be read come last, as {\"index\", \
\"error\"}, and the exit code is 2. With --output FILE each text's score goes there, a line in the order of the inputs; \
Ctrl-C keeps what is done, --resume goes on.

Examples:
  ptm rerank --query \"how do I reset my password\" --file questions.txt --top-k 5
  ptm rerank --model cross-encoder/ms-marco-MiniLM-L6-v2 --query \"capital of France\" \"Paris\" \"Rome\"";

pub const RUN: &str = "\
What follows the model goes to the command of its task, which --help describes.

Examples:
  ptm run ./my-model \"Clara lives in Berkeley.\"
  ptm run distilbert/distilbert-base-uncased-finetuned-sst-2-english --json \"What a lovely day!\"";

pub const PRETRAIN: &str = "\
A recipe is a TOML file: the model (new, of the fields of a config.json, or one to go on with), the corpora that ptm corpus \
pack made, the objective (by default the family's own: causal, denoising, span corruption, permutation), the batch, the \
optimizer. Paths in it are relative to the working directory. The folder it names as output gets checkpoints, log.jsonl with \
all curves, event files for TensorBoard, report.html, and in model/ the model with its tokenizer, which every command here \
and transformers open. Judging is by documents that are held out, always corrupted alike; unigram_loss is what a model \
would lose that knew only how often each token occurs. A run that was stopped, by Ctrl-C or by anything else, goes on \
where its newest checkpoint stands when it is called again.

Examples:
  ptm pretrain recipes/pretrain/gpt2-tiny.toml
  ptm pretrain recipe.toml --set optimizer.lr=3e-4 --set run.steps=20000
  ptm pretrain recipe.toml --print-config";

pub const ADAPT: &str = "\
A recipe is a TOML file: the model, unlabelled text of a domain, how the task is learnt (a recipe of ptm finetune), the \
seeds, and in the keys of ptm pretrain how each way goes on with pretraining. Compared are none (the model as it is), dapt \
(the domain's text), tapt (the task's own text), knn-tapt (that with each row's nearest sentences of the domain, by an \
embedding model, the built-in one by default; 150nn-tapt names another number), and dapt+tapt, one after the other. Each \
learns the task with every seed and is judged by the test rows.

The folder that the recipe names as output gets a folder for each way, neighbours.jsonl, and table.md, table.html and \
table.json. A comparison that was stopped, by Ctrl-C or by anything else, goes on where it stood when it is called again; \
ways and seeds may be added.

Examples:
  ptm adapt recipes/adapt/names-tiny.toml
  ptm adapt recipe.toml --set dapt.run.steps=500 --set 'seeds=[0,1,2]'
  ptm adapt recipe.toml --set 'variants=[\"none\",\"tapt\",\"50nn-tapt\",\"150nn-tapt\"]'
  ptm adapt recipe.toml --print-config";

pub const EXPLAIN: &str = "\
The objectives are the ones that models are trained by: what is read, what is predicted where, and who sees whom. Tokens \
are the built-in model's unless --model names another; those that it lacks, sentinels for instance, are shown by name.

Objectives: masked_lm, next_sentence, sentence_order, span_masking, replaced_token_detection, causal_lm, permutation_lm, denoising, \
span_corruption; ERNIE's knowledge_masking, and with it the tasks of ERNIE 2.0, all of which are continual: capitalization, token_document, \
sentence_reordering, sentence_distance; BART's noises one by one: token_masking, token_deletion, text_infilling, sentence_permutation, \
document_rotation; the T5 paper's variants: prefix_lm, bert_style, mass_style, deshuffling, iid_spans, iid_dropped.

--json prints [{\"objective\", \"seed\", \"examples\": [{\"note\", \"rows\": [{\"name\", \"ids\", \"tokens\", \"segments\", \
\"corrupted\", \"loss_positions\", \"targets\", \"target_ids\", \"order\"}], \"attention\": [{\"name\", \"of\", \"queries\", \"visible\"}]}]}].

Examples:
  ptm explain span_corruption \"Thank you for inviting me to your party last week.\"
  ptm explain permutation_lm \"The cat sat down. It slept.\" --seed 7 --set longest_span=2
  ptm explain all \"The cat sat down. It slept.\" --html objectives.html";
