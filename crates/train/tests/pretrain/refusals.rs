//! What cannot be learnt is said before the first step.

use std::fs;

use ptm_text::Tokenizer;
use ptm_text::corpus::{Corpus, Document, Part, Split, TokenizedBy, Writer};
use ptm_train::pretrain::{Sources, pretrain};
use serde_json::json;

use crate::workplace::{
    BART, BERT, CONTINUAL, DISTILBERT, ELECTRA, ERNIE, FIRST_WORD, GPT2, ROBERTA, SENTENCES, T5, Until, WORDS,
    Workplace, XLNET, tokenizer,
};

#[test]
fn tasks_that_cannot_be_read_are_named() {
    let place = Workplace::new();
    let task = |more: &str| {
        let rows = place.rows("rows.jsonl", 30, 1).display().to_string();
        format!("objective={{name='mixture',tasks=[{{name='a',source='{{from}}',train='{rows}',{more}}}]}}")
    };
    fs::write(place.path("bad.jsonl"), "{\"from\": \"word1\"}\nword2\n").unwrap();
    let bad = format!("target='{{from}}',validation='{}'", place.path("bad.jsonl").display());
    for (model, set, said) in [
        (T5, task("target='{to}',validation='nowhere.jsonl'"), &["nowhere.jsonl"][..]),
        (T5, task("target='{other}'"), &["rows.jsonl, line 1", "task a", "\"other\"", "from, to"]),
        (T5, task(&bad), &["bad.jsonl", "line 2"]),
        (T5, task("target='{to}',max_target=1"), &["objective.tasks.max_target"]),
        (BERT, task("target='{to}'"), &["bert models learn by"]),
        (T5, "objective={name='mixture',tasks=[]}".into(), &["objective.tasks"]),
        (T5, task("target='{to}'").replace("tasks=", "text={name='masked_lm'},tasks="), &["t5 models learn by"]),
        (
            T5,
            task("target='{to}'").replace("tasks=", "rates={name='temperature',temperature=0.01},tasks="),
            &["objective.rates", "task a"],
        ),
    ] {
        let error = place.fails(&place.recipe("none", model, 5, &[&set]));
        assert!(said.iter().all(|said| error.contains(said)), "{set}: {error}");
        fs::remove_dir_all(place.path("none")).unwrap_or_default();
    }
    let recipe = place.recipe("none", T5, 5, &[&task("target='{to}'"), "evaluate.metric=a_loss"]);
    assert!(place.fails(&recipe).contains("evaluate.metric"), "a task without held-out rows is not judged");
}

/// Without another document no second segment is from elsewhere, and without a second sentence none follows.
#[test]
fn classes_that_would_not_come_are_named() {
    let place = Workplace::new();
    let held_out = Part::Validation(Split::new(0.2, 0).unwrap());
    let write = |name: &str, hash: fn(u64) -> u64, sentences: &[usize]| {
        let by = TokenizedBy::of(&Tokenizer::from_dir(&place.path("tokenizer")).unwrap()).unwrap();
        let mut writer = Writer::create(&place.path(name), by).unwrap();
        for number in 0..40 {
            // of the last corpus those that are learnt from have several windows
            let length = if name == "longer" && !held_out.holds(hash(number)) { 60 } else { 25 };
            let ids = (0..length).map(|i| FIRST_WORD + ((number + i) % u64::from(WORDS)) as u32).collect();
            let document = Document { number, ids, sentences: sentences.to_vec(), spans: Vec::new() };
            writer.add(&document, hash(number), 1).unwrap();
        }
        writer.finish().unwrap();
        format!("corpus={{packed='{}',validation=0.2}}", place.path(name).display())
    };
    let alike = write("alike", |_| 7, &[0, 10, 20]).replace("0.2", "0.0");
    let single = write("single", |number| number, &[0]);
    let several = write("several", |number| number, &[0, 15]);
    let longer = write("longer", |number| number, &[0, 15]);
    let path = |name: &str| place.path(name).display().to_string();
    let continual = |task: &str| {
        format!(
            "objective={{name='continual',tasks=[{{objective={{name='knowledge_masking'}},steps=[2]}},\
             {{objective={{name='{task}'}},steps=[2]}}]}}"
        )
    };
    let distance = continual("sentence_distance");
    let document = continual("token_document");
    let model = format!("{ERNIE}, type_vocab_size = 4");
    for (model, objective, packed, said) in [
        (BERT, "objective.name=next_sentence", &alike, "no two different documents"),
        (BERT, SENTENCES, &single, "fewer than 2 sentences"),
        (&model, &distance, &several, "fewer than 3 sentences"),
        (&model, &document, &longer, "nothing to judge token_document by"),
        (&model, &document, &several, "nothing to learn token_document from"),
    ] {
        let error = place.fails(&place.recipe("none", model, 2, &[objective, packed]));
        assert!(error.starts_with("corpus.") && error.contains(said), "{objective}: {error}");
    }
    // of several corpora one is enough, unless sequences are to come again
    let both = format!("corpus={{packed=['{}','{}'],validation=0.2}}", path("single"), path("several"));
    place.run(&place.recipe("both", BERT, 2, &[SENTENCES, &both]));
    let again = "objective={name='masked_lm',format='full_sentences',patterns=2}";
    assert!(place.fails(&place.recipe("none", BERT, 2, &[again, &both])).starts_with("objective.patterns"));
    place.run(&place.recipe("again", BERT, 2, &[again, &several]));
    for (name, objective, packed) in [
        ("all-follow", "objective={name='next_sentence',negatives=0.0}", &alike),
        ("none-elsewhere", "objective={name='next_sentence',negatives=0.0}", &several),
        ("order", "objective.name=sentence_order", &single),
        ("two", SENTENCES, &several),
    ] {
        place.run(&place.recipe(name, BERT, 2, &[objective, packed]));
    }
    let mut epochs = place.recipe("none", &model, 2, &[&continual("sentence_reordering"), "run.epochs=2.0"]);
    epochs.run.steps = None;
    assert!(place.fails(&epochs).starts_with("run.epochs"));
}

/// Micro-batches by tokens have room for the longest row of a task too.
#[test]
fn rows_fit_a_micro_batch() {
    let place = Workplace::new();
    let rows = place.path("long.jsonl");
    let row = json!({"from": vec!["word1"; 90].join(" "), "to": "word2"}).to_string();
    fs::write(&rows, row).unwrap();
    let mixture = format!(
        "objective={{name='mixture',text_share=0.5,tasks=[{{name='long',source='{{from}}',target='{{to}}',train='{}'}}]}}",
        rows.display()
    );
    let recipe = |tokens: usize| {
        place.recipe("rows", T5, 4, &[&mixture, &format!("batch={{tokens={tokens},length=20,accumulate=2}}")])
    };
    let error = place.fails(&recipe(90));
    assert!(error.starts_with("batch.tokens") && error.contains("91"), "{error}");
    place.run(&recipe(91));
}

#[test]
fn what_does_not_fit_is_said() {
    let place = Workplace::new();
    let recipe = |model: &str, more: &[&str]| place.recipe("none", model, 5, more);
    for (model, set, said) in [
        (GPT2, "batch.length=65", "batch.length"),
        (GPT2, "objective.name=span_corruption", "gpt2 models learn by causal_lm"),
        (T5, "objective.name=causal_lm", "span_corruption"),
        (XLNET, "objective.name=denoising", "permutation_lm"),
        (BERT, "objective.name=causal_lm", "bert models learn by masked_lm"),
        (BERT, "objective.name=replaced_token_detection", "next_sentence, sentence_order, span_masking"),
        (ELECTRA, "objective.name=denoising", "sentence_order, replaced_token_detection"),
        (ELECTRA, "objective={name='replaced_token_detection',generator=0.0}", "generator"),
        (BART, "objective.name=next_sentence", "bart models learn by denoising"),
        (DISTILBERT, "objective.name=next_sentence", "distilbert"),
        (ROBERTA, "objective.name=span_masking", "roberta models learn by masked_lm"),
        (BERT, "objective={name='span_masking',longest=0}", "objective.longest"),
        (ROBERTA, "batch.length=64", "batch.length"),
        (ERNIE, "objective.name=knowledge_masking", "objective.phrases"),
        (ERNIE, "objective={name='knowledge_masking',phrases='no.txt'}", "no.txt"),
        (
            ERNIE,
            "objective={name='knowledge_masking',phrases=['word1'],stages=[{hide='entities'}]}",
            "objective.stages",
        ),
        (ERNIE, "objective={name='knowledge_masking',spans=['entity']}", "objective.spans"),
        (ERNIE, CONTINUAL, "model.config.type_vocab_size"),
        (BERT, CONTINUAL, "bert models learn by"),
        (ERNIE, "objective={name='continual',tasks=[]}", "objective.tasks"),
        (ERNIE, "objective={name='continual',tasks=[{objective={name='sentence_distance'},steps=[1]}]}", "the first"),
        (ERNIE, "objective={name='continual',tasks=[{objective={name='masked_lm'},steps=[1]}]}", "tasks are"),
        (ERNIE, "objective={name='continual',tasks=[{objective={name='capitalization'},steps=[1]}]}", "no capitals"),
        (ERNIE, "objective.name=sentence_distance", "ernie models learn by"),
        (T5, "objective.name=knowledge_masking", "t5 models learn by"),
        (GPT2, "model.config.vocab_size=30", "model.tokenizer"),
        (GPT2, "model.config.model_type=gpt5", "gpt5"),
        (GPT2, "batch={tokens=16,length=32}", "batch.tokens"),
        (GPT2, "corpus.packed=nowhere", "nowhere"),
        (GPT2, "corpus.validation=0.0001", "corpus.validation: 0.0001 of 160 documents holds none out"),
        (GPT2, "evaluate.metric=bleu", "evaluate.metric"),
        (T5, "batch={tokens=32,length=32}", "batch.tokens"),
        (XLNET, "batch.length=5000", "batch.length: 5000 tokens are more than the 4096"),
        (BART, "objective={name='denoising',noises=[{text_infilling={mean_span=0.1}}]}", "mean span"),
    ] {
        let error = place.fails(&recipe(model, &[set]));
        assert!(error.contains(said), "{set}: {error}");
        fs::remove_dir_all(place.path("none")).unwrap_or_default();
    }
    let error = place.fails(&recipe(BERT, &["objective.name=next_sentence", "batch.length=4"]));
    assert!(error.contains("batch.length: an example has 5 tokens at least, not 4"), "{error}");
    tokenizer(&place.path("other"), WORDS + 1);
    let sources = Sources { tokenizer: Some(place.path("other")), ..Sources::default() };
    let error = pretrain(&recipe(GPT2, &[]), &sources, false, &mut Until(0, 1)).unwrap_err().to_string();
    assert!(error.contains("packed with another tokenizer"), "{error}");
    assert!(Corpus::open(&place.path("one")).unwrap().len() == 160);
    // a token has become another: nothing about the shard's form is wrong
    let shard = place.path("one").join("shard-00000.bin");
    let mut bytes = fs::read(&shard).unwrap();
    let last = bytes.len() - 2;
    bytes[last] ^= 1;
    fs::write(&shard, bytes).unwrap();
    assert!(place.fails(&recipe(GPT2, &[])).contains("its checksum is not the one in corpus.json"));
}
