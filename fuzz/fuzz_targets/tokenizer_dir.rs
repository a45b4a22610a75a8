//! The tokenizer files of a model directory together: the input is split at lines `=== NAME`, each followed by that
//! file's contents.
#![no_main]

#[path = "../use_tokenizer.rs"]
mod use_tokenizer;

use libfuzzer_sys::fuzz_target;
use ptm_text::TokenizerFiles;

/// Everything that tokenizers have stumbled over, and the marks of special tokens among it.
const NASTY: &str = "Hello  world!\t\r\n[MASK]<mask> <extra_id_0>\u{0}\u{1b}e\u{301}\u{323}ﬁ İıẞ 中文かな한국어 \
    👩\u{200d}👩\u{200d}👧🏽 \u{200b}\u{feff}\u{202e}עברית ##ing ▁x Ġ can't 1,000.50 \u{fffd}\u{10ffff}";

fuzz_target!(|input: &[u8]| {
    let mut files = TokenizerFiles::default();
    for part in split(input, b"=== ") {
        let end = part.iter().position(|&byte| byte == b'\n').unwrap_or(part.len());
        let contents = Some(part.get(end + 1..).unwrap_or_default().into());
        match &part[..end] {
            b"config" => files.config = contents,
            b"tokenizer_config" => files.tokenizer_config = contents,
            b"special_tokens_map" => files.special_tokens_map = contents,
            b"added_tokens" => files.added_tokens = contents,
            b"tokenizer.json" => files.tokenizer_json = contents,
            b"vocab.txt" => files.vocab_txt = contents,
            b"vocab.json" => files.vocab_json = contents,
            b"merges.txt" => files.merges_txt = contents,
            name @ (b"spiece.model" | b"source.spm" | b"sentencepiece.bpe.model") => {
                files.sentencepiece = contents;
                files.sentencepiece_name = Some(String::from_utf8_lossy(name).into_owned());
            }
            _ => {}
        }
    }
    use_tokenizer::encode(&files, NASTY);
});

/// The parts of `input` that follow a mark at the beginning of a line.
fn split<'a>(input: &'a [u8], mark: &[u8]) -> Vec<&'a [u8]> {
    let starts = |at: usize| input[at..].starts_with(mark) && (at == 0 || input[at - 1] == b'\n');
    let starts: Vec<usize> = (0..input.len()).filter(|&at| starts(at)).collect();
    let ends = starts.iter().skip(1).copied().chain([input.len()]);
    starts.iter().zip(ends).map(|(&start, end)| &input[start + mark.len()..end]).collect()
}
