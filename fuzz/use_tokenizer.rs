//! Makes a tokenizer and uses it, shared by the targets.

use std::sync::Once;

use ptm_text::{EncodeOptions, Tokenizer, TokenizerFiles, Truncation};

/// The file and the text after it.
#[allow(dead_code, reason = "a directory is divided in another way")]
pub fn split(input: &[u8]) -> (&[u8], &str) {
    const BETWEEN: &[u8] = b"\n--\n";
    let at = input.windows(BETWEEN.len()).position(|part| part == BETWEEN);
    let (file, text) = at.map_or((input, &b""[..]), |at| (&input[..at], &input[at + BETWEEN.len()..]));
    (file, std::str::from_utf8(text).unwrap_or(""))
}

pub fn encode(files: &TokenizerFiles<'_>, text: &str) {
    // ptm catches the panics of the tokenizers library; libFuzzer's hook would stop at them. Those that get out are
    // found without the hook too.
    static QUIET: Once = Once::new();
    QUIET.call_once(|| std::panic::set_hook(Box::new(|_| ())));
    let Ok(tokenizer) = Tokenizer::from_files(files) else { return };
    let options = EncodeOptions { truncation: Truncation::Longest { max: 16 }, ..EncodeOptions::default() };
    for text in [text, "Ein wenig text, 中文 e\u{301} [MASK]\n"] {
        let Ok(encoding) = tokenizer.encode(text, &options) else { continue };
        let _ = tokenizer.decode(&encoding.ids, true);
    }
}
