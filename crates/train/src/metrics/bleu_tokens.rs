//! The tokenizers of sacreBLEU that need no further data: `13a` (mteval-v13a), `intl` (mteval-v14), `zh`, `char`, and
//! none. What they do is part of the number, so each is followed to the letter, oddities included.

use std::sync::LazyLock;

use regex::{Captures, Regex};
use serde::{Deserialize, Serialize};

use super::words;

/// How a text is divided into the words that BLEU counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BleuTokens {
    /// At blanks alone.
    None,
    /// The default, for European languages.
    #[default]
    #[serde(rename = "13a")]
    Mteval13a,
    /// By Unicode's classes of punctuation and symbols.
    Intl,
    /// Chinese characters apart, the rest as with `13a`.
    Zh,
    /// Every character apart.
    Char,
}

/// A pattern and how its groups are set apart.
type Rule = (LazyLock<Regex>, &'static str);

macro_rules! rule {
    ($pattern:literal, $by:literal) => {
        (
            // every pattern is this file's own, and the tests run it
            LazyLock::new(|| Regex::new($pattern).expect("a valid pattern")),
            $by,
        )
    };
}

static MTEVAL: [Rule; 4] = [
    rule!(r"([\{-~\[-` -&\(-\+:-@/])", " ${1} "),
    rule!(r"([^0-9])([\.,])", "${1} ${2} "),
    rule!(r"([\.,])([^0-9])", " ${1} ${2}"),
    rule!(r"([0-9])(-)", "${1} ${2} "),
];

static INTL: [Rule; 3] =
    [rule!(r"(\P{N})(\p{P})", "${1} ${2} "), rule!(r"(\p{P})(\P{N})", " ${1} ${2}"), rule!(r"(\p{S})", " ${1} ")];

impl BleuTokens {
    /// The text with blanks between its tokens.
    pub fn apply(self, text: &str) -> String {
        match self {
            Self::None => text.to_owned(),
            Self::Mteval13a => {
                let mut text = text.replace("<skipped>", "").replace("-\n", "").replace('\n', " ");
                for (entity, character) in [("&quot;", "\""), ("&amp;", "&"), ("&lt;", "<"), ("&gt;", ">")] {
                    text = text.replace(entity, character);
                }
                replace(format!(" {text} "), &MTEVAL)
            }
            Self::Intl => replace(text.to_owned(), &INTL),
            Self::Zh => {
                let mut apart = String::new();
                for c in text.trim_matches(super::is_blank).chars() {
                    if is_chinese(c) {
                        apart.extend([' ', c, ' ']);
                    } else {
                        apart.push(c);
                    }
                }
                replace(apart, &MTEVAL)
            }
            Self::Char => text.chars().flat_map(|c| [c, ' ']).collect(),
        }
    }
}

fn replace(text: String, rules: &[Rule]) -> String {
    let text = rules.iter().fold(text, |text, (pattern, by)| {
        pattern
            .replace_all(&text, |groups: &Captures<'_>| {
                let mut out = String::new();
                groups.expand(by, &mut out);
                out
            })
            .into_owned()
    });
    words(&text).collect::<Vec<_>>().join(" ")
}

/// The ranges of sacreBLEU. Two of them were meant to lie beyond 16 bits and, by the way they are written there, start
/// at U+2001 and U+2F81.
fn is_chinese(c: char) -> bool {
    matches!(c,
        '\u{3400}'..='\u{4db5}'
            | '\u{4e00}'..='\u{9fbb}'
            | '\u{f900}'..='\u{fa2d}'
            | '\u{fa30}'..='\u{fa6a}'
            | '\u{fa70}'..='\u{fad9}'
            | '\u{2001}'..='\u{2a6d}'
            | '\u{2f81}'..='\u{2fa1}'
            | '\u{ff00}'..='\u{ffef}'
            | '\u{2e80}'..='\u{2eff}'
            | '\u{3000}'..='\u{303f}'
            | '\u{31c0}'..='\u{31ef}'
            | '\u{2f00}'..='\u{2fdf}'
            | '\u{2ff0}'..='\u{2fff}'
            | '\u{3100}'..='\u{312f}'
            | '\u{31a0}'..='\u{31bf}'
            | '\u{fe10}'..='\u{fe1f}'
            | '\u{fe30}'..='\u{fe4f}'
            | '\u{3200}'..='\u{33ff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn punctuation_and_numbers() {
        assert_eq!(BleuTokens::Mteval13a.apply("It's 3.5, &quot;ok&quot; a-b 1-2."), "It's 3.5 , \" ok \" a-b 1 - 2 .");
        assert_eq!(BleuTokens::Intl.apply("It's 3.5 €."), "It ' s 3.5 € .");
        assert_eq!(BleuTokens::Zh.apply("你好ab。"), "你 好 ab 。");
        assert_eq!(BleuTokens::Char.apply("ab"), "a b ");
    }
}
