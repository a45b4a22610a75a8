//! Labelled data from files of every format: what is read, what is refused, orders.

use std::io::Write;
use std::path::{Path, PathBuf};

use ptm_text::dataset::{
    Choice, Classified, Columns, Dataset, Error, Example, Format, Labels, MultiLabelled, Options, Order, Question,
    Rated, Tagged, Text, TextToText,
};
use serde_json::json;

fn file(dir: &Path, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
    let path = dir.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, content).unwrap();
    path
}

fn read_as<E: Example>(name: &str, content: impl AsRef<[u8]>, options: &Options) -> Result<Vec<E>, Error> {
    let dir = tempfile::tempdir().unwrap();
    let path = file(dir.path(), name, content);
    Dataset::<E>::open(&[path], options)?.rows(Order::AsIs, 0).collect()
}

fn read<E: Example>(name: &str, content: impl AsRef<[u8]>) -> Vec<E> {
    read_as(name, content, &Options::default()).unwrap()
}

fn refused<E: Example>(name: &str, content: impl AsRef<[u8]>, options: &Options) -> String {
    read_as::<E>(name, content, options).unwrap_err().to_string()
}

fn classified(text: &str, label: &str) -> Classified {
    Classified { text: text.into(), pair: None, label: Some(label.into()) }
}

#[test]
fn the_same_rows_from_every_format() {
    let wanted = [classified("one, \"two\"", "1"), classified("three", "0")];
    let jsonl = "{\"text\": \"one, \\\"two\\\"\", \"label\": 1}\n\n{\"label\": \"0\", \"text\": \"three\"}";
    assert_eq!(read::<Classified>("a.jsonl", jsonl), wanted);
    let json = "[\n{\"text\": \"one, \\\"two\\\"\",\n \"label\": 1.0}, {\"label\": 0, \"text\": \"three\"}]\n";
    assert_eq!(read::<Classified>("a.json", json), wanted);
    assert_eq!(read::<Classified>("a.csv", "\u{feff}text,label\r\n\"one, \"\"two\"\"\",1\r\nthree,0\r\n"), wanted);
    assert_eq!(read::<Classified>("a.tsv", "label\ttext\n1\tone, \"two\"\n\n0\tthree"), wanted);
    let bare = Options {
        header: false,
        columns: Columns { text: Some("1".into()), label: Some("0".into()), ..Columns::default() },
        ..Options::default()
    };
    assert_eq!(read_as::<Classified>("a.tsv", "1\tone, \"two\"\n0\tthree", &bare).unwrap(), wanted);
}

#[test]
fn every_kind_of_example() {
    let one: Vec<MultiLabelled> = read("a.jsonl", r#"{"text": "t", "labels": ["x", "y", "x"]}"#);
    assert_eq!(one[0].labels.as_deref(), Some(&["x".to_owned(), "y".to_owned()][..]));
    let one: Vec<MultiLabelled> = read("a.csv", "text,labels\nt,x | y\nu,\n");
    assert_eq!((one[0].labels.as_ref().unwrap().len(), one[1].labels.as_ref().unwrap().len()), (2, 0));
    let one: Vec<Rated> = read("a.csv", "sentence1,sentence2,score\na,b,3.5\nc,d,\n");
    assert_eq!((one[0].pair.as_deref(), one[0].value, one[1].value), (Some("b"), Some(3.5), None));
    let one: Vec<Tagged> = read("a.conll", "-DOCSTART- -X- O\n\nEU NNP B-ORG\nrejects VBZ O\n\n\nPeter NNP B-PER\n");
    assert_eq!(one.len(), 2);
    assert_eq!((one[0].words[0].as_str(), one[0].tags.as_ref().unwrap()[1].as_str()), ("EU", "O"));
    let options = Options { columns: Columns { tags: Some("1".into()), ..Columns::default() }, ..Options::default() };
    let one: Vec<Tagged> = read_as("a.conll", "EU NNP B-ORG\n", &options).unwrap();
    assert_eq!(one[0].tags.as_ref().unwrap(), &["NNP"]);
    let one: Vec<Choice> = read("a.jsonl", r#"{"context": "c", "question": "q", "choices": ["a", "b"], "label": "B"}"#);
    assert_eq!((one[0].choices.len(), one[0].label), (2, Some(1)));
    let options =
        Options { columns: Columns { choices: Some("e0, e1".into()), ..Columns::default() }, ..Options::default() };
    let one: Vec<Choice> = read_as("a.csv", "text,e0,e1,label\nc,x,y,0\n", &options).unwrap();
    assert_eq!((one[0].context.as_str(), one[0].label), ("c", Some(0)));
    let one: Vec<TextToText> = read("a.jsonl", r#"{"document": "long", "summary": "short"}"#);
    assert_eq!(one[0], TextToText { source: "long".into(), target: Some("short".into()) });
    let one: Vec<Text> = read("a.txt", "first\r\n\nsecond, \"quoted\n");
    assert_eq!(one.iter().map(|t| t.text.as_str()).collect::<Vec<_>>(), ["first", "second, \"quoted"]);
}

const SQUAD: &str = r#"{"version": "v2.0", "data": [{"title": "T", "paragraphs": [{"context": "Ünder the sea lives a fish.",
  "qas": [{"id": "q1", "question": "Who?", "answers": [{"text": "a fish", "answer_start": 20}], "is_impossible": false},
          {"id": "q2", "question": "When?", "answers": [], "is_impossible": true}]}]}]}"#;

#[test]
fn questions_of_squad_and_of_rows() {
    let both: Vec<Question> = read("dev.json", SQUAD);
    assert_eq!((both[0].id.as_str(), both[0].answers[0].start, both[0].is_impossible()), ("q1", 20, false));
    assert!(both[1].is_impossible());
    let row =
        |answers: &str| format!("{{\"question\": \"Who?\", \"context\": \"Ünder a fish\", \"answers\": {answers}}}");
    for answers in
        [r#"{"text": ["a fish"], "answer_start": [6]}"#, r#"[{"text": "a fish", "answer_start": 6}]"#, r#"["a fish"]"#]
    {
        let one: Vec<Question> = read("a.jsonl", row(answers));
        assert_eq!((one[0].answers[0].start, one[0].id.as_str()), (6, "1"), "{answers}");
    }
    for (answers, wanted) in [
        (r#"{"text": ["a fish"], "answer_start": [7]}"#, "does not stand at 7"),
        (r#"{"text": ["a fish"], "answer_start": [99999999999]}"#, "does not stand at"),
        (r#"{"text": ["a fish"], "answer_start": [-1]}"#, "a place in the context"),
        (r#"{"text": ["a fish"], "answer_start": []}"#, "1 answers but 0 places"),
        (r#"["a bird"]"#, "does not stand in the context"),
    ] {
        let said = refused::<Question>("a.jsonl", row(answers), &Options::default());
        assert!(said.contains("a.jsonl, line 1") && said.contains(wanted), "{said}");
    }
    let said = refused::<Question>("a.json", "{\"data\": [{\"paragraphs\": 3}]}", &Options::default());
    assert!(said.contains("a.json") && said.contains("SQuAD"), "{said}");
}

#[test]
fn wrong_rows_are_named_by_file_and_line() {
    let plain = Options::default();
    for (name, content, wanted) in [
        ("a.jsonl", &b"{\"text\": \"x\"}\n\n{\"text\": "[..], "a.jsonl, line 3: not a JSON object"),
        ("a.jsonl", b"{\"text\": \"x\"}\n[1]\n", "a.jsonl, line 2: not a JSON object"),
        ("a.jsonl", b"{\"text\": \"x\"}\n{\"text\": \"\xff\"}\n", "a.jsonl, line 2: not UTF-8"),
        ("a.jsonl", b"{\"txt\": \"x\"}", "the columns are txt: say which it is, --column text=…"),
        ("a.jsonl", b"{\"text\": null}", "line 1: the column for text is empty here"),
        ("a.jsonl", b"{\"text\": [1]}", "line 1: text should be a text, found a list"),
        ("a.json", b"[{\"text\": \"x\"},\n\n {\"text\": x}]", "a.json, line 3: not a JSON object"),
        ("a.csv", b"text,label\n\"a\nb\",1\nc\n", "a.csv, line 4: 1 columns, but the first row has 2"),
        ("a.csv", b"text,label\na,1\n\"b,2\nc,3\n", "a.csv, line 3: a quotation mark opens a field"),
        ("a.csv", b"text,text\na,1\n", "a.csv, line 1: the header names the column \"text\" twice"),
        ("a.csv", b"text,label\n\xe9,1\n", "a.csv, line 2: not UTF-8"),
        ("a.txt", b"a\n\xe9\n", "a.txt, line 2: not UTF-8"),
        ("a.csv", b"text,label\n", "holds no rows"),
        ("a.jsonl", b"", "holds no rows"),
        ("a.xml", b"<a/>", "cannot tell its format"),
    ] {
        let said = refused::<Classified>(name, content, &plain);
        assert!(said.contains(wanted), "{said}");
    }
    let said = refused::<Tagged>("a.conll", "EU B-ORG\n\nx y\nz\n", &plain);
    assert!(said.contains("a.conll, line 4: 1 columns, but the words before have 2"), "{said}");
    let said = refused::<Tagged>("a.jsonl", r#"{"words": ["a", "b"], "tags": ["O"]}"#, &plain);
    assert!(said.contains("2 words but 1 tags"), "{said}");
    let said = refused::<Classified>(
        "a.jsonl",
        "{\"x\": 1}",
        &Options { columns: Columns { text: Some("body".into()), ..Columns::default() }, ..Options::default() },
    );
    assert!(said.contains("no column \"body\" for text; the columns are x"), "{said}");
}

#[test]
fn after_a_wrong_row_the_others_come() {
    let dir = tempfile::tempdir().unwrap();
    let path = file(dir.path(), "a.jsonl", "{\"text\": \"a\"}\n{\"text\": 1\n{\"text\": \"c\"}\n");
    let data = Dataset::<Text>::open(&[path], &Options::default()).unwrap();
    let rows: Vec<_> = data.rows(Order::AsIs, 0).collect();
    assert_eq!(rows.len(), 3);
    assert!(rows[0].is_ok() && rows[1].as_ref().unwrap_err().is_of_one_row() && rows[2].is_ok());
}

#[test]
fn hostile_files_end_with_an_error() {
    let plain = Options::default();
    let deep = "[".repeat(200_000);
    for content in [deep.clone(), format!("{{\"text\": {deep}"), "{".repeat(100_000)] {
        assert!(read_as::<Classified>("a.json", &content, &plain).is_err());
        assert!(read_as::<Classified>("a.jsonl", &content, &plain).is_err());
    }
    let long = "x".repeat((16 << 20) + 10);
    let said = refused::<Text>("a.txt", &long, &plain);
    assert!(said.contains("a.txt, line 1: the record that begins here is longer than 16 MiB"), "{said}");
    let said = refused::<Text>("a.csv", format!("text\n\"{long}"), &plain);
    assert!(said.contains("line 2"), "{said}");
    #[cfg(unix)]
    {
        let said = Dataset::<Text>::open(&["/dev/zero".into()], &plain).unwrap_err().to_string();
        assert!(said.contains("not a regular file"), "{said}");
    }
}

#[test]
fn labels_are_sorted_and_named() {
    let dir = tempfile::tempdir().unwrap();
    let open = |content: &str, options: &Options| {
        Dataset::<Classified>::open(&[file(dir.path(), "a.csv", content)], options).unwrap()
    };
    let labels = Labels::discover(&open("text,label\na,10\nb,9\nc,9\n", &Options::default())).unwrap();
    assert_eq!(labels.names(), ["9", "10"]);
    assert_eq!(labels.index("10").unwrap(), 1);
    assert!(labels.index("pos").unwrap_err().to_string().contains("9, 10"));
    let named = Options { label_names: vec!["neg".into(), "pos".into()], ..Options::default() };
    let data = open("text,label\na,1\nb,neg\nc,-1\n", &named);
    let rows: Vec<_> = data.rows(Order::AsIs, 0).map(|row| row.unwrap().label).collect();
    assert_eq!(rows, [Some("pos".to_owned()), Some("neg".to_owned()), None]);
    let skipping = Options { skip_unlabelled: true, ..named.clone() };
    assert_eq!(open("text,label\na,1\nc,-1\n", &skipping).rows(Order::AsIs, 0).count(), 1);
    let wrong = open("text,label\na,2\n", &named);
    assert!(wrong.rows(Order::AsIs, 0).next().unwrap().unwrap_err().to_string().contains("label 2"));
    assert!(Labels::discover(&open("text\na\n", &Options::default())).is_err());
}

/// A file of many blocks.
fn many(dir: &Path, rows: usize) -> PathBuf {
    let path = dir.join("many.jsonl");
    let mut to = std::io::BufWriter::new(std::fs::File::create(&path).unwrap());
    for row in 0..rows {
        let filler = "word ".repeat(row % 97);
        writeln!(to, "{{\"text\": \"{row} {filler}\"}}").unwrap();
        if row % 13 == 0 {
            writeln!(to).unwrap();
        }
    }
    to.flush().unwrap();
    path
}

fn numbers(rows: impl Iterator<Item = Result<Text, Error>>) -> Vec<usize> {
    rows.map(|row| row.unwrap().text.split(' ').next().unwrap().parse().unwrap()).collect()
}

#[test]
fn orders_are_complete_and_continue_anywhere() {
    const ROWS: usize = 20_000;
    let dir = tempfile::tempdir().unwrap();
    let path = many(dir.path(), ROWS);
    for window_mib in [1, 64, 0] {
        let options = Options { window_mib, ..Options::default() };
        let data = Dataset::<Text>::open(std::slice::from_ref(&path), &options).unwrap();
        assert_eq!(data.len(), ROWS as u64);
        assert_eq!(numbers(data.rows(Order::AsIs, 0)), (0..ROWS).collect::<Vec<_>>());
        let order = Order::Shuffled { seed: 7, epoch: 1 };
        let shuffled = numbers(data.rows(order, 0));
        assert_eq!(shuffled, numbers(data.rows(order, 0)));
        assert_ne!(shuffled, numbers(data.rows(Order::Shuffled { seed: 7, epoch: 2 }, 0)));
        let mut sorted = shuffled.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..ROWS).collect::<Vec<_>>());
        for from in [1, 137, 9_999, ROWS - 1, ROWS, ROWS + 5] {
            let rest = numbers(data.rows(order, from as u64));
            assert_eq!(rest, shuffled[from.min(ROWS)..], "from {from}");
            assert_eq!(numbers(data.rows(Order::AsIs, from as u64)).len(), ROWS.saturating_sub(from));
        }
        let mut rows = data.rows(order, 10);
        rows.by_ref().take(5).for_each(drop);
        assert_eq!(rows.position(), 15);
    }
}

#[test]
fn small_windows_still_mix_far_rows() {
    const ROWS: usize = 20_000;
    let dir = tempfile::tempdir().unwrap();
    let path = many(dir.path(), ROWS);
    let data = Dataset::<Text>::open(&[path], &Options { window_mib: 1, ..Options::default() }).unwrap();
    let shuffled = numbers(data.rows(Order::Shuffled { seed: 1, epoch: 0 }, 0));
    // neighbours in a uniform order are a third of the length apart on average
    let apart: usize = shuffled.windows(2).map(|w| w[0].abs_diff(w[1])).sum::<usize>() / ROWS;
    assert!(apart > ROWS / 8, "{apart}");
}

#[test]
fn splits_of_folders() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["data/train-00001-of-00002.csv", "data/train-00000-of-00002.csv", "data/validation-0.csv"] {
        file(dir.path(), name, format!("text,label\n{name},1\n"));
    }
    file(dir.path(), "README.txt", "about");
    file(dir.path(), "dataset_infos.json", "{}");
    let open = |split: Option<&str>| {
        let options = Options { split: split.map(str::to_owned), ..Options::default() };
        let data = Dataset::<Classified>::open(&[dir.path().to_owned()], &options)?;
        data.rows(Order::AsIs, 0).map(|row| Ok(row?.text)).collect::<Result<Vec<_>, Error>>()
    };
    let train = ["data/train-00000-of-00002.csv", "data/train-00001-of-00002.csv"];
    assert_eq!(open(Some("train")).unwrap(), train);
    assert_eq!(open(None).unwrap(), train);
    assert_eq!(open(Some("dev")).unwrap(), ["data/validation-0.csv"]);
    let said = open(Some("test")).unwrap_err().to_string();
    assert!(said.contains("it has train, validation"), "{said}");
    file(dir.path(), "other/train.csv", "text\nx\n");
    assert!(open(None).unwrap_err().to_string().contains("several folders"));
}

#[test]
fn a_file_that_changes_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let path = file(dir.path(), "a.txt", "one\ntwo\nthree\n");
    let data = Dataset::<Text>::open(std::slice::from_ref(&path), &Options::default()).unwrap();
    std::fs::write(&path, "one\n").unwrap();
    assert!(data.rows(Order::AsIs, 0).next().unwrap().is_err());
    std::fs::write(&path, "one two three\n").unwrap();
    let said = data.rows(Order::AsIs, 0).next().unwrap().unwrap_err().to_string();
    assert!(said.contains("changed while"), "{said}");
    let other = Dataset::<Text>::open(&[path], &Options { format: Some(Format::Lines), ..Options::default() }).unwrap();
    assert_ne!(other.fingerprint(), data.fingerprint());
}

#[test]
fn an_edit_of_equal_length_is_another_data_set() {
    let dir = tempfile::tempdir().unwrap();
    let squad = |answer: &str| {
        let asked = json!({"id": "1", "question": "who?", "answers": [{"text": answer, "answer_start": 0}]});
        json!({"data": [{"paragraphs": [{"context": "Ann saw Bob", "qas": [asked]}]}]}).to_string()
    };
    // the last is longer than what is read at once
    let long = |end: &str| format!("{}\n{end}\n", "a row of words\n".repeat(50_000));
    for (name, one, two) in [
        ("a.jsonl", r#"{"text": "x", "label": "yes"}"#.to_owned(), r#"{"text": "x", "label": "not"}"#.to_owned()),
        ("a.csv", "text,label\nx,1\n".to_owned(), "text,label\nx,0\n".to_owned()),
        ("squad.json", squad("Ann"), squad("Bob")),
        ("a.txt", long("one"), long("two")),
    ] {
        let fingerprint = |text: &str| {
            let path = file(dir.path(), name, text);
            let format = name.starts_with("squad").then_some(Format::Squad);
            Dataset::<Text>::open(&[path], &Options { format, ..Options::default() }).unwrap().fingerprint()
        };
        assert_eq!(one.len(), two.len());
        assert_ne!(fingerprint(&one), fingerprint(&two), "{name}");
        assert_eq!(fingerprint(&one), fingerprint(&one), "{name}");
    }
}
