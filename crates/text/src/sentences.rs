//! Sentences of a text, by the Unicode rules (UAX 29), without the breaks that these make after abbreviations such as
//! "Dr." and initials.

use unicode_segmentation::UnicodeSegmentation;

/// Words before a full stop that mostly don't end a sentence.
const ABBREVIATIONS: [&str; 24] = [
    "mr", "mrs", "ms", "dr", "prof", "st", "jr", "sr", "vs", "etc", "e.g", "i.e", "cf", "no", "vol", "fig", "inc",
    "ltd", "co", "gen", "col", "capt", "lt", "approx",
];

/// The sentences of `text`, which together are the text: each keeps the spaces that follow it.
pub fn sentences(text: &str) -> Vec<&str> {
    let mut all = Vec::new();
    let (mut from, mut to) = (0, 0);
    for part in text.split_sentence_bounds() {
        to += part.len();
        if !goes_on(&text[from..to], &text[to..]) {
            all.push(&text[from..to]);
            from = to;
        }
    }
    if from < text.len() {
        all.push(&text[from..]);
    }
    all
}

/// Whether the sentence `before` isn't over although the rules break it there.
fn goes_on(before: &str, after: &str) -> bool {
    if after.is_empty() || before.contains('\n') && before.trim_end_matches([' ', '\t']).ends_with('\n') {
        return false;
    }
    let Some(rest) = before.trim_end().strip_suffix('.') else { return false };
    let word = rest.rsplit(|c: char| c.is_whitespace() || c == '(').next().unwrap_or_default();
    let is_initial = word.chars().count() == 1 && word.chars().all(char::is_uppercase);
    is_initial || ABBREVIATIONS.contains(&word.to_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_are_the_text() {
        let text = "Dr. Smith met J. Doe at 3.14 p.m. yesterday. \"Why?\" she asked. Nobody knew!  北京很大。第二句。\nNew line";
        let all = sentences(text);
        assert_eq!(all.concat(), text);
        assert_eq!(all[0], "Dr. Smith met J. Doe at 3.14 p.m. yesterday. ");
        assert!(all.contains(&"Nobody knew!  ") && all.contains(&"北京很大。") && all.contains(&"New line"), "{all:?}");
        assert_eq!(sentences(""), Vec::<&str>::new());
        assert_eq!(sentences("  "), ["  "]);
    }
}
