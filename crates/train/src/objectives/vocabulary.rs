//! What objectives ask of a tokenizer: which ids are special, which begin a word, and the special tokens by role.

use ptm_text::Tokenizer;

use crate::error::{Error, Result};

/// A tokenizer's ids, looked through once.
#[derive(Clone, Debug, Default)]
pub struct Vocabulary {
    /// What spells; none where ids are all that is known.
    tokenizer: Option<Tokenizer>,
    /// By id: special, or without a token.
    special: Vec<bool>,
    /// By id.
    begins_word: Vec<bool>,
    /// By id.
    goes_on: Vec<bool>,
    /// What marks the ends of words, where no token says that it begins one.
    ends: Option<&'static str>,
    /// By id: whether its first letter is a capital, and its token in small letters.
    letters: Vec<Letters>,
    mask: Option<u32>,
    cls: Option<u32>,
    sep: Option<u32>,
    pad: Option<u32>,
    bos: Option<u32>,
    eos: Option<u32>,
    sentinels: Vec<u32>,
}

/// How a vocabulary marks where words begin or go on.
enum Words {
    /// This begins what goes on (`##`).
    GoesOn(String),
    /// This begins a word.
    Begins(char),
    /// Tokens don't say it.
    Unmarked,
    /// They say where words end or go on behind them, with this, so that what begins one depends on the token before it.
    Ends(&'static str),
}

/// What of a token is capitals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Letters {
    /// Whether the first letter is one; none where no letter is the first.
    capital: Option<bool>,
    /// The token in small letters, if there is one; itself where it has no capitals.
    small: Option<u32>,
}

/// Sentinels of T5.
const SENTINELS: u32 = 100;

impl Vocabulary {
    /// Looks through a tokenizer.
    pub fn new(tokenizer: &Tokenizer) -> Self {
        let special = tokenizer.special();
        let id = |role: &Option<ptm_text::Special>| role.as_ref().map(|special| special.id);
        let tokens: Vec<Option<String>> = (0..=tokenizer.max_id()).map(|id| tokenizer.token(id)).collect();
        let mut is_special: Vec<bool> = tokens.iter().map(Option::is_none).collect();
        let sentinels: Vec<u32> = (0..).map_while(|k| tokenizer.id(&sentinel(k))).collect();
        for id in special.all().iter().map(|special| special.id).chain(sentinels.iter().copied()) {
            if let Some(flag) = is_special.get_mut(id as usize) {
                *flag = true;
            }
        }
        let words = words(tokenizer, &tokens);
        let begins = |token: &str| match &words {
            Words::GoesOn(mark) => !token.starts_with(mark.as_str()),
            Words::Begins(mark) => token.starts_with(*mark),
            Words::Unmarked | Words::Ends(_) => true,
        };
        let begins_word: Vec<bool> = tokens
            .iter()
            .zip(&is_special)
            .map(|(token, special)| *special || token.as_deref().is_none_or(begins))
            .collect();
        let goes_on = tokens.iter().zip(&begins_word).map(|(token, begins)| {
            let token = token.as_deref().unwrap_or_default();
            let own = if let Words::GoesOn(mark) = &words { token.strip_prefix(mark.as_str()) } else { Some(token) };
            !begins && own.unwrap_or(token).starts_with(char::is_alphanumeric)
        });
        Self {
            letters: letters(tokenizer, &tokens, &words),
            ends: if let Words::Ends(mark) = words { Some(mark) } else { None },
            tokenizer: Some(tokenizer.clone()),
            special: is_special,
            goes_on: goes_on.collect(),
            begins_word,
            mask: id(&special.mask),
            cls: id(&special.cls),
            sep: id(&special.sep),
            pad: id(&special.pad),
            bos: id(&special.bos),
            eos: id(&special.eos),
            sentinels,
        }
    }

    /// The number of ids.
    pub fn size(&self) -> usize {
        self.special.len()
    }

    /// Whether an id is of a special token, or of none.
    pub fn is_special(&self, id: u32) -> bool {
        self.special.get(id as usize).copied().unwrap_or(true)
    }

    /// Whether a token begins a word; one that the vocabulary doesn't mark does.
    pub fn begins_word(&self, id: u32) -> bool {
        self.begins_word.get(id as usize).copied().unwrap_or(true)
    }

    /// Whether a token goes on with the word that is before it: none that the vocabulary doesn't mark does, and no
    /// punctuation.
    pub fn goes_on(&self, id: u32) -> bool {
        self.goes_on.get(id as usize).copied().unwrap_or(false)
    }

    /// Whether a token's first letter is a capital; none where it doesn't begin with a letter.
    pub fn capital(&self, id: u32) -> Option<bool> {
        self.letters.get(id as usize).and_then(|letters| letters.capital)
    }

    /// The token in small letters, itself where it has no capitals; none where the vocabulary lacks it.
    pub fn in_small_letters(&self, id: u32) -> Option<u32> {
        self.letters.get(id as usize).and_then(|letters| letters.small)
    }

    /// Whether there are words with a capital that are there in small letters too.
    pub fn has_capitals(&self) -> bool {
        self.letters.iter().any(|letters| letters.capital == Some(true) && letters.small.is_some())
    }

    /// The tokens of a phrase as texts can have them, at their beginning and after a space; none that is unknown.
    ///
    /// # Errors
    /// When there is no tokenizer, or it fails.
    pub fn spellings(&self, phrase: &str) -> Result<Vec<Vec<u32>>> {
        let Some(tokenizer) = &self.tokenizer else {
            return Err(Error::Input(format!("there is no tokenizer to spell {phrase:?}")));
        };
        let mut all = Vec::new();
        for text in [phrase.to_owned(), format!(" {phrase}")] {
            let (ids, _) = tokenizer.encode_literally(&text)?;
            if !ids.is_empty() && !ids.iter().any(|&id| self.is_special(id)) && !all.contains(&ids) {
                all.push(ids);
            }
        }
        Ok(all)
    }

    /// Says whether whole words can be told: not where tokens mark the ends of words.
    ///
    /// # Errors
    /// When they cannot.
    pub fn tells_words(&self) -> Result<()> {
        match self.ends {
            None => Ok(()),
            Some(mark) => Err(Error::Input(format!(
                "the tokenizer marks where words end ({mark}), by which objectives cannot tell whole words: take one that \
                 marks where they begin, or an objective that hides tokens"
            ))),
        }
    }

    /// [`Self::begins_word`] by id.
    pub(crate) fn begins_words(&self) -> &[bool] {
        &self.begins_word
    }

    /// The ids that are of no special token: what a random token is one of.
    pub fn words(&self) -> Vec<u32> {
        (0..self.special.len() as u32).filter(|&id| !self.is_special(id)).collect()
    }

    /// The token that stands for a hidden one.
    ///
    /// # Errors
    /// When there is none; the same for every role.
    pub fn mask(&self) -> Result<u32> {
        needed(self.mask, "mask")
    }

    /// The token that begins a sequence of encoders, or ends XLNet's.
    ///
    /// # Errors
    /// As [`Self::mask`].
    pub fn cls(&self) -> Result<u32> {
        needed(self.cls, "cls")
    }

    /// The token between two texts.
    ///
    /// # Errors
    /// As [`Self::mask`].
    pub fn sep(&self) -> Result<u32> {
        needed(self.sep, "sep")
    }

    /// The token that fills up batches.
    ///
    /// # Errors
    /// As [`Self::mask`].
    pub fn pad(&self) -> Result<u32> {
        needed(self.pad, "pad")
    }

    /// The token that begins a text.
    ///
    /// # Errors
    /// As [`Self::mask`].
    pub fn bos(&self) -> Result<u32> {
        needed(self.bos, "bos")
    }

    /// The token that ends a text.
    ///
    /// # Errors
    /// As [`Self::mask`].
    pub fn eos(&self) -> Result<u32> {
        needed(self.eos, "eos")
    }

    /// T5's sentinels, `<extra_id_0>` first.
    ///
    /// # Errors
    /// When there is none.
    pub fn sentinels(&self) -> Result<&[u32]> {
        if self.sentinels.is_empty() {
            let problem =
                "the tokenizer has no sentinels (<extra_id_0>, <extra_id_1>, …), which stand for what drops out";
            return Err(Error::Input(format!("{problem}: take T5's, or one that was made with them")));
        }
        Ok(&self.sentinels)
    }

    /// The same with what it lacks under ids of its own, beyond all others, and how those are called: enough to show an
    /// objective, not to train a model.
    pub fn completed(&self) -> (Self, Vec<(u32, String)>) {
        let mut whole = self.clone();
        let mut names = Vec::new();
        let mut next = self.special.len() as u32;
        let mut add = |name: String| {
            names.push((next, name));
            next += 1;
            next - 1
        };
        let roles = [
            (&mut whole.mask, "[MASK]"),
            (&mut whole.cls, "[CLS]"),
            (&mut whole.sep, "[SEP]"),
            (&mut whole.pad, "[PAD]"),
            (&mut whole.bos, "<s>"),
            (&mut whole.eos, "</s>"),
        ];
        for (role, name) in roles {
            role.get_or_insert_with(|| add(name.to_owned()));
        }
        if whole.sentinels.is_empty() {
            whole.sentinels = (0..SENTINELS).map(|k| add(sentinel(k))).collect();
        }
        whole.special.resize(next as usize, true);
        whole.begins_word.resize(next as usize, true);
        whole.goes_on.resize(next as usize, false);
        whole.letters.resize(next as usize, Letters::default());
        (whole, names)
    }
}

fn sentinel(number: u32) -> String {
    format!("<extra_id_{number}>")
}

fn needed(id: Option<u32>, role: &str) -> Result<u32> {
    id.ok_or_else(|| {
        let file = "tokenizer_config.json";
        let problem = format!("the tokenizer has no {role} token, which this objective needs");
        Error::Input(format!("{problem}: name one in {file} ({role}_token), or take a tokenizer that has one"))
    })
}

/// What of each token is capitals.
fn letters(tokenizer: &Tokenizer, tokens: &[Option<String>], words: &Words) -> Vec<Letters> {
    // byte-level vocabularies spell bytes beyond ASCII as letters that they are not
    let is_bytes = matches!(words, Words::Begins('Ġ'));
    let letters = |(id, token): (u32, &Option<String>)| {
        let token = token.as_deref().unwrap_or_default();
        let own = match words {
            Words::GoesOn(mark) => token.strip_prefix(mark.as_str()),
            Words::Begins(mark) => token.strip_prefix(*mark),
            Words::Unmarked | Words::Ends(_) => None,
        };
        let own = own.unwrap_or(token);
        let small = if is_bytes { own.to_ascii_lowercase() } else { own.to_lowercase() };
        let first = own.chars().next().filter(|c| if is_bytes { c.is_ascii_alphabetic() } else { c.is_alphabetic() });
        let mark = &token[..token.len() - own.len()];
        // some signs are capitals that have no small letter
        let capital = first.map(|first| first.is_uppercase() && small != own);
        let small = if small == own { Some(id) } else { tokenizer.id(&format!("{mark}{small}")) };
        Letters { capital, small }
    };
    (0..).zip(tokens).map(letters).collect()
}

/// How the tokens say where words begin.
fn words(tokenizer: &Tokenizer, tokens: &[Option<String>]) -> Words {
    if let Some(mark) = tokenizer.continuing_subword_prefix() {
        return Words::GoesOn(mark.to_owned());
    }
    // byte-level pairs write a space as Ġ, SentencePiece as ▁; a few tokens that text happened to have mark nothing
    let is_mark = |count: usize| count > 0 && 100 * count >= tokens.len();
    let count = |mark: char| tokens.iter().flatten().filter(|token| token.starts_with(mark)).count();
    let (bytes, pieces) = (count('Ġ'), count('▁'));
    if is_mark(bytes.max(pieces)) {
        return Words::Begins(if bytes > pieces { 'Ġ' } else { '▁' });
    }
    let ends = ["</w>", "@@"];
    let ends = ends.iter().find(|end| is_mark(tokens.iter().flatten().filter(|token| token.ends_with(*end)).count()));
    ends.map_or(Words::Unmarked, |end| Words::Ends(end))
}

#[cfg(test)]
pub(crate) mod tests {
    use ptm_text::TokenizerFiles;

    use super::*;

    /// Ids from 10 to 139 are words; 140 to 239 are sentinels, the last the first of them.
    pub(crate) fn vocabulary() -> Vocabulary {
        Vocabulary {
            ends: None,
            tokenizer: None,
            special: (0..240).map(|id| !(10..140).contains(&id)).collect(),
            begins_word: vec![true; 240],
            goes_on: vec![false; 240],
            // those of 100 to 119 are capitals of those of 20 to 39
            letters: (0..240)
                .map(|id| {
                    let capital = (100..120).contains(&id);
                    Letters { capital: Some(capital), small: Some(if capital { id - 80 } else { id }) }
                })
                .collect(),
            mask: Some(4),
            cls: Some(3),
            sep: Some(1),
            pad: Some(5),
            bos: Some(0),
            eos: Some(2),
            sentinels: (140..240).rev().collect(),
        }
    }

    /// The same where only some ids begin a word.
    pub(crate) fn with_words(begins: impl Fn(u32) -> bool) -> Vocabulary {
        let begins_word: Vec<bool> = (0..240).map(begins).collect();
        let goes_on = begins_word.iter().map(|begins| !begins).collect();
        Vocabulary { begins_word, goes_on, ..vocabulary() }
    }

    /// Five special tokens, then `play`, `##ing`, `chess`.
    pub(crate) fn playing() -> Vocabulary {
        Vocabulary::new(&wordpiece())
    }

    /// Five special tokens, then `paris`, `Paris`, `in`, `Mc`, `mc`, `##Don`, `##don`, `Rome`, `.`.
    pub(crate) fn cased() -> Vocabulary {
        Vocabulary::new(&tokenizer("paris\nParis\nin\nMc\nmc\n##Don\n##don\nRome\n.\n"))
    }

    /// Five special tokens, then these, a line each.
    pub(crate) fn of_pieces(words: &str) -> Vocabulary {
        Vocabulary::new(&tokenizer(words))
    }

    fn wordpiece() -> Tokenizer {
        tokenizer("play\n##ing\nchess\n")
    }

    pub(crate) fn tokenizer(words: &str) -> Tokenizer {
        let words = format!("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n{words}").into_bytes();
        let files = TokenizerFiles {
            vocab_txt: Some(words.into()),
            config: Some(br#"{"model_type":"bert"}"#.as_slice().into()),
            ..TokenizerFiles::default()
        };
        Tokenizer::from_files(&files).unwrap()
    }

    #[test]
    fn ids_are_looked_through() {
        let found = Vocabulary::new(&wordpiece());
        assert_eq!((found.size(), found.words()), (8, vec![5, 6, 7]));
        assert_eq!([5, 6, 7].map(|id| found.begins_word(id)), [true, false, true]);
        assert_eq!([5, 6, 7, 99].map(|id| found.goes_on(id)), [false, true, false, false]);
        assert_eq!(
            [5, 6].map(|id| (found.capital(id), found.in_small_letters(id))),
            [(Some(false), Some(5)), (Some(false), Some(6))]
        );
        let cased = cased();
        assert_eq!([6, 10, 12, 13].map(|id| cased.in_small_letters(id)), [Some(5), Some(11), None, Some(13)]);
        assert_eq!([6, 7, 10, 13].map(|id| cased.capital(id)), [Some(true), Some(false), Some(true), None]);
        assert!(cased.has_capitals() && !found.has_capitals());
        assert_eq!((found.mask().unwrap(), found.cls().unwrap(), found.sep().unwrap()), (4, 2, 3));
        assert!(found.is_special(0) && found.is_special(4) && !found.is_special(6) && found.is_special(99));
        let message = found.sentinels().unwrap_err().to_string();
        assert!(message.contains("<extra_id_0>"), "{message}");
        let message = found.eos().unwrap_err().to_string();
        assert!(message.contains("no eos token"), "{message}");
    }

    /// A vocabulary that marks the ends of words tells none as a whole; a token that begins with a mark by chance says
    /// nothing of the others.
    #[test]
    fn ends_of_words_tell_no_words() {
        let of = |tokens: &[String]| {
            let ids: serde_json::Map<String, serde_json::Value> =
                (0..).zip(tokens).map(|(id, token): (u32, _)| (token.clone(), id.into())).collect();
            let json = serde_json::json!({
                "version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
                "pre_tokenizer": null, "post_processor": null, "decoder": null,
                "model": {"type": "WordLevel", "vocab": ids, "unk_token": "a0"},
            });
            let files = TokenizerFiles {
                tokenizer_json: Some(json.to_string().into_bytes().into()),
                config: Some(br#"{"model_type":"bert"}"#.as_slice().into()),
                ..TokenizerFiles::default()
            };
            Vocabulary::new(&Tokenizer::from_files(&files).unwrap())
        };
        let mut tokens: Vec<String> = (0..200).map(|number| format!("a{number}")).collect();
        tokens.push("▁a".into());
        assert!(of(&tokens).tells_words().is_ok() && of(&tokens).begins_word(7));
        for mark in ["</w>", "@@"] {
            tokens.extend((0..20).map(|number| format!("a{number}{mark}")));
            let error = of(&tokens).tells_words().unwrap_err().to_string();
            assert!(error.contains(mark), "{error}");
            tokens.truncate(201);
        }
        tokens.extend((0..20).map(|number| format!("▁a{number}")));
        assert!(of(&tokens).tells_words().is_ok() && !of(&tokens).begins_word(7));
    }

    #[test]
    fn what_is_lacking_has_a_name() {
        let found = Vocabulary::new(&wordpiece());
        let (whole, names) = found.completed();
        assert_eq!(names[..2], [(8, "<s>".to_owned()), (9, "</s>".to_owned())]);
        assert_eq!((whole.bos().unwrap(), whole.eos().unwrap(), whole.mask().unwrap()), (8, 9, 4));
        assert_eq!(whole.sentinels().unwrap()[..2], [10, 11]);
        assert_eq!((names.len(), whole.size(), whole.words()), (102, 110, found.words()));
    }
}
