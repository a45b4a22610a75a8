//! Texts that are longer than a model reads: what is cut off is said.

use ptm_text::Encoding;

/// Warns of what `encoding`, which may hold `max` tokens, leaves out of the texts that it was made of: one, or the two of a
/// pair.
pub(crate) fn warn_of_rest(texts: &[&str], encoding: &Encoding, max: usize) {
    // shorter ones are whole; a tokenizer may drop characters at their ends all the same
    if encoding.len() < max {
        return;
    }
    for (number, text) in texts.iter().enumerate() {
        if let Some((start, end, all)) = left(text, number as u8, encoding) {
            let beginning: String = text.chars().take(40).collect();
            tracing::warn!(
                "{beginning:?}…: characters {start} to {end} of {all} are read, the model takes {max} tokens: what is left is \
                 cut off"
            );
        }
    }
}

/// Whether `encoding`, which may hold `max` tokens, leaves out some of its text.
pub(crate) fn is_cut(text: &str, encoding: &Encoding, max: usize) -> bool {
    encoding.len() >= max && left(text, 0, encoding).is_some()
}

/// Where the part of a text that is read starts and ends, and how long the text is, in characters; none where all is read.
fn left(text: &str, number: u8, encoding: &Encoding) -> Option<(usize, usize, usize)> {
    let own = || (0..encoding.len()).filter(|&i| encoding.sequence[i] == Some(number) && !encoding.special[i]);
    let start = own().map(|i| encoding.offsets[i].0).min().unwrap_or(0);
    let end = own().map(|i| encoding.offsets[i].1).max().unwrap_or(0);
    let all = text.trim_end().chars().count();
    let blank = text.chars().take_while(|c| c.is_whitespace()).count();
    (start > blank || end < all).then_some((start, end, all))
}

#[cfg(test)]
mod tests {
    use ptm_text::{EncodeOptions, Input, Truncation};

    use super::*;

    #[test]
    fn what_is_left_out_is_known() {
        let tokenizer = crate::embedded_tokenizer().expect("it is built in");
        let of = |input: Input<'_>, truncation| {
            let options = EncodeOptions { truncation, ..EncodeOptions::default() };
            tokenizer.encode_input(input, &options).expect("a text")
        };
        let text = "a man is eating food ";
        let whole = of(Input::Text(text), Truncation::Longest { max: 7 });
        assert_eq!((whole.len(), left(text, 0, &whole)), (7, None));
        let cut = of(Input::Text(text), Truncation::Longest { max: 6 });
        assert_eq!(left(text, 0, &cut), Some((0, 15, 20)));
        let pair = of(Input::Pair(text, "he eats"), Truncation::OnlyFirst { max: 8 });
        assert_eq!((left(text, 0, &pair), left("he eats", 1, &pair)), (Some((0, 8, 20)), None));
        assert!(is_cut(text, &cut, 6) && !is_cut(text, &whole, 7) && !is_cut(text, &whole, 9));
    }
}
