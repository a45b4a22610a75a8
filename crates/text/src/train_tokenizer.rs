//! Training of tokenizers for the published families: WordPiece (Schuster and Nakajima 2012, trained by merges), BPE
//! within words (Sennrich et al. 2016, as GPT has it), byte-level BPE (Radford et al. 2019) and unigram (Kudo 2018). The arithmetic is the tokenizers library's; counting in
//! bounded memory, and that the same text always gives the same files, is done here.

mod assemble;
mod family;
mod words;

use std::panic::{AssertUnwindSafe, catch_unwind};

use tokenizers::AddedToken;
use tokenizers::models::bpe::{BPE, BpeTrainer};
use tokenizers::models::unigram::{Unigram, UnigramTrainer};
use tokenizers::models::wordpiece::WordPiece;

pub use family::{FAMILIES, Family, Kind};
pub use words::Words;

use crate::Tokenizer;
use crate::corpus::Error;
use crate::vocabulary::WORD_END;

/// How a tokenizer is made.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// For which models.
    pub family: Family,
    /// How many tokens there are at most, special ones included.
    pub vocab_size: usize,
    /// Pairs that occur less often are not merged (all but unigram).
    pub min_frequency: u64,
    /// Whether case is dropped; the family's habit where `None`. Not for byte-level BPE; GPT's has no capitals.
    pub lowercase: Option<bool>,
    /// How many characters are kept, the most frequent ones; words with others don't count. Not for byte-level BPE,
    /// which knows all.
    pub alphabet: usize,
    /// How many different words are counted; beyond that the rarest are forgotten now and then.
    pub most_words: usize,
}

impl Options {
    /// The usual: 30,000 tokens, 2 occurrences, 1,000 characters, 2 million words.
    pub fn new(family: Family) -> Self {
        let (vocab_size, min_frequency) = (30_000, 2);
        Self { family, vocab_size, min_frequency, lowercase: None, alphabet: 1000, most_words: 2_000_000 }
    }
}

/// A tokenizer, and the files that make it.
#[derive(Debug)]
pub struct Trained {
    /// Ready to use; read from the files.
    pub tokenizer: Tokenizer,
    /// Names and contents: `tokenizer.json`, `tokenizer_config.json`, `special_tokens_map.json`, and the vocabulary in
    /// the older form (`vocab.txt`, or `vocab.json` with `merges.txt`) where there is one.
    pub files: Vec<(&'static str, Vec<u8>)>,
}

/// Learns a vocabulary from counted words. The same words and options give the same files on every machine.
///
/// # Errors
/// When the vocabulary is too small for the characters that are kept.
pub fn train(words: Words, options: &Options) -> Result<Trained, Error> {
    let special = options.family.vocabulary().len();
    let words = words.usable(options)?;
    let alphabet = words::alphabet(&words);
    let least = special
        + match options.family.kind() {
            Kind::WordPiece => alphabet.len() + words::inner(&words).len(),
            Kind::ByteLevel => 256,
            Kind::WordEnds => alphabet.len() + words::last(&words).len(),
            Kind::Unigram => alphabet.len() + 1,
        };
    if options.vocab_size <= least {
        return Err(Error::Options(format!(
            "a vocabulary of {} is too small: {special} special tokens and the characters alone are {least}; ask for a \
             larger one, or keep fewer characters",
            options.vocab_size
        )));
    }
    // the library checks what it does with assertions in places
    let model = catch_unwind(AssertUnwindSafe(|| match options.family.kind() {
        Kind::WordPiece => word_piece(&words, &alphabet, options),
        Kind::ByteLevel => byte_level(&words, options),
        Kind::WordEnds => word_ends(&words, &alphabet, options),
        Kind::Unigram => unigram(words, options),
    }));
    let gave_up = || Error::Options("the tokenizers library gave up on these words: is it text?".to_owned());
    assemble::assemble(&model.map_err(|_| gave_up())??, options)
}

fn failed(error: impl std::fmt::Display) -> Error {
    Error::Options(format!("the vocabulary cannot be learnt: {error}"))
}

fn plain(tokens: impl IntoIterator<Item = String>) -> Vec<AddedToken> {
    tokens.into_iter().map(|token| AddedToken::from(token, true)).collect()
}

/// What a vocabulary shows of where in a word a piece stands.
enum Marks {
    /// Nothing.
    None,
    /// This, where it is not the first.
    Inside(&'static str),
    /// This, where it is the last.
    Ends(&'static str),
}

fn merged(words: &[(String, u64)], first: Vec<AddedToken>, marks: Marks, options: &Options) -> Result<BPE, Error> {
    let mut builder = BpeTrainer::builder()
        .vocab_size(options.vocab_size)
        .min_frequency(options.min_frequency)
        .show_progress(false)
        .special_tokens(first);
    builder = match marks {
        Marks::None => builder,
        Marks::Inside(prefix) => builder.continuing_subword_prefix(prefix.to_owned()),
        Marks::Ends(suffix) => builder.end_of_word_suffix(suffix.to_owned()),
    };
    let counts = words.iter().map(|(word, count)| (word.as_str().into(), *count)).collect();
    let mut bpe = BPE::default();
    builder.build().do_train(&counts, &mut bpe).map_err(failed)?;
    Ok(bpe)
}

fn word_piece(words: &[(String, u64)], alphabet: &[char], options: &Options) -> Result<serde_json::Value, Error> {
    // the library numbers pieces inside of words in the order in which a hash table has the words: they are put first
    let special = options.family.vocabulary().into_iter();
    let first = special
        .chain(alphabet.iter().map(ToString::to_string))
        .chain(words::inner(words).into_iter().map(|c| format!("##{c}")));
    let bpe = merged(words, plain(first), Marks::Inside("##"), options)?;
    serde_json::to_value(WordPiece::from_bpe(&bpe)).map_err(failed)
}

fn byte_level(words: &[(String, u64)], options: &Options) -> Result<serde_json::Value, Error> {
    let mut alphabet: Vec<char> = tokenizers::pre_tokenizers::byte_level::ByteLevel::alphabet().into_iter().collect();
    alphabet.sort_unstable();
    let special = options.family.vocabulary().into_iter();
    let first = plain(special.chain(alphabet.iter().map(ToString::to_string)));
    serde_json::to_value(merged(words, first, Marks::None, options)?).map_err(failed)
}

fn word_ends(words: &[(String, u64)], alphabet: &[char], options: &Options) -> Result<serde_json::Value, Error> {
    // as for WordPiece
    let special = options.family.vocabulary();
    let unknown = special.first().cloned();
    let first = special.into_iter().chain(alphabet.iter().map(ToString::to_string));
    let first = first.chain(words::last(words).into_iter().map(|c| format!("{c}{WORD_END}")));
    let mut bpe = merged(words, plain(first), Marks::Ends(WORD_END), options)?;
    bpe.unk_token = unknown;
    serde_json::to_value(bpe).map_err(failed)
}

fn unigram(words: Vec<(String, u64)>, options: &Options) -> Result<serde_json::Value, Error> {
    let (special, last) = (options.family.vocabulary(), options.family.sentinels());
    let size = options.vocab_size - special.len();
    let mut trainer = UnigramTrainer::default();
    trainer.show_progress = false;
    trainer.vocab_size = size as u32;
    let words: Vec<(String, u32)> = words.into_iter().map(|(word, count)| (word, count as u32)).collect();
    let mut model = Unigram::default();
    // sums of floating-point numbers depend on who adds what: one thread adds them all
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().map_err(failed)?;
    pool.install(|| trainer.do_train(words, &mut model)).map_err(failed)?;
    let pieces = settled(model.iter().cloned().collect(), size);
    let first = &special[..special.len() - last.len()];
    let given = |token: &String| (token.clone(), 0.0);
    let vocabulary: Vec<(String, f64)> = first.iter().map(given).chain(pieces).chain(last.iter().map(given)).collect();
    let unknown = first.iter().position(|token| *token == "<unk>");
    serde_json::to_value(Unigram::from(vocabulary, unknown, false).map_err(failed)?).map_err(failed)
}

/// Pieces by score. Characters that no word needed by themselves get scores just above the least in the order of a
/// hash table: they are dealt out again, in the characters' own order.
fn settled(mut pieces: Vec<(String, f64)>, size: usize) -> Vec<(String, f64)> {
    let single = |piece: &str| piece.chars().nth(1).is_none();
    let least = pieces.iter().map(|(_, score)| *score).fold(f64::INFINITY, f64::min);
    let band = least + 1e-4 * pieces.iter().filter(|(piece, _)| single(piece)).count() as f64;
    let (mut low, mut others): (Vec<_>, Vec<_>) =
        pieces.drain(..).partition(|(piece, score)| single(piece) && *score <= band);
    let mut scores: Vec<f64> = low.iter().map(|(_, score)| *score).collect();
    scores.sort_by(|a, b| b.total_cmp(a));
    low.sort_by(|a, b| a.0.cmp(&b.0));
    for (piece, score) in low.iter_mut().zip(scores) {
        piece.1 = score;
    }
    others.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    // the characters stay
    let room = size.saturating_sub(low.len());
    let mut left = others.len().saturating_sub(room);
    while left > 0 {
        let Some(at) = others.iter().rposition(|(piece, _)| !single(piece)) else { break };
        others.remove(at);
        left -= 1;
    }
    others.extend(low);
    others.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    others
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::corpus::{Layout, Texts};
    use crate::{EncodeOptions, TokenizerFiles};

    /// Enough text for a small vocabulary, with two characters too rare to be kept.
    fn text() -> String {
        let subjects = ["The cat", "A small dog", "My neighbour's house", "Nobody", "The old river", "Ünal"];
        let verbs = ["sleeps near", "is running towards", "was looking at", "isn't", "remembers"];
        let objects = ["the garden.", "a red door!", "12 apples", "the unhappiness of cats", "running water?"];
        let mut text = String::from("rare ☃ and ♞\n\n");
        for a in subjects {
            for b in verbs {
                for c in objects {
                    text.extend([a, " ", b, " ", c, "\n\n"]);
                }
            }
        }
        text
    }

    fn trained(name: &str, threads: usize, change: impl Fn(&mut Options)) -> Result<Trained, Error> {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a.txt");
        std::fs::write(&file, text()).unwrap();
        let mut options = Options::new(Family::by_name(name).unwrap());
        (options.vocab_size, options.alphabet) = (400, 60);
        change(&mut options);
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let texts = Texts::open(&[file], Layout::BlankLines, None).unwrap();
            let words = Words::count(texts, &options, &mut |_| true)?.unwrap();
            train(words, &options)
        })
    }

    #[test]
    fn every_family_encodes_and_decodes() {
        for family in FAMILIES {
            let made = trained(family, 2, |_| {}).unwrap();
            let tokenizer = &made.tokenizer;
            assert!(
                tokenizer.vocab_size() <= 400 && tokenizer.vocab_size() >= 60,
                "{family} {}",
                tokenizer.vocab_size()
            );
            assert_eq!(tokenizer.max_id() as usize + 1, tokenizer.vocab_size(), "{family} has no holes");
            let text = "the cat is running towards water";
            let bare = EncodeOptions { add_special_tokens: false, ..EncodeOptions::default() };
            let encoding = tokenizer.encode(text, &bare).unwrap();
            assert!(encoding.len() < 25, "{family}: {:?}", encoding.tokens);
            assert_eq!(tokenizer.decode(&encoding.ids, true).trim(), text, "{family}");
            // literal text never becomes a special token
            for special in tokenizer.special().all() {
                let (ids, _) = tokenizer.encode_literally(&format!("a {} b {0}", special.text)).unwrap();
                assert!(
                    !ids.iter().any(|&id| id == special.id && special.text != "<unk>" && special.text != "[UNK]"),
                    "{family}: {} as text",
                    special.text
                );
            }
        }
    }

    #[test]
    fn frames_are_the_familys() {
        for (family, frame) in [
            ("bert", "[CLS] a [SEP] a [SEP]"),
            ("roberta", "<s> a </s> </s> a </s>"),
            ("gpt", "a</w> a</w>"),
            ("gpt2", "a a"),
            ("t5", "a </s> a </s>"),
            ("xlnet", "a <sep> a <sep> <cls>"),
            ("albert", "[CLS] a [SEP] a [SEP]"),
        ] {
            let tokenizer = trained(family, 2, |_| {}).unwrap().tokenizer;
            let tokens = tokenizer.encode_pair("a", "a", &EncodeOptions::default()).unwrap().tokens;
            let tokens: Vec<&str> = tokens.iter().map(|token| token.trim_start_matches('▁')).collect();
            let tokens: Vec<&str> = tokens.into_iter().filter(|token| !token.is_empty()).collect();
            assert_eq!(tokens.join(" "), frame, "{family}");
        }
    }

    /// As GPT's own: pieces at the ends of words are marked, the others not, and letters without a token are unknown.
    #[test]
    fn the_ends_of_words_are_marked() {
        let tokenizer = trained("gpt", 2, |_| {}).unwrap().tokenizer;
        let tokens = tokenizer.encode("Running waters ☀", &EncodeOptions::default()).unwrap().tokens;
        assert_eq!(tokens.last().map(String::as_str), Some("<unk>"));
        assert_eq!(tokens[..tokens.len() - 1].concat(), "running</w>waters</w>");
        assert_eq!((tokenizer.class(), tokenizer.id("<unk>")), (Some("OpenAIGPTTokenizer"), Some(0)));
        assert!(tokenizer.special().eos.is_none() && tokenizer.special().bos.is_none());
    }

    #[test]
    fn the_same_text_gives_the_same_files() {
        for family in ["bert", "gpt", "roberta", "t5"] {
            let one = trained(family, 1, |_| {}).unwrap().files;
            for _ in 0..3 {
                assert!(trained(family, 3, |_| {}).unwrap().files == one, "{family}");
            }
        }
    }

    #[test]
    fn older_files_say_the_same() {
        for family in ["bert", "gpt", "gpt2", "bart"] {
            let made = trained(family, 2, |_| {}).unwrap();
            let file =
                |name: &str| made.files.iter().find(|(n, _)| *n == name).map(|(_, bytes)| bytes.as_slice().into());
            let old = TokenizerFiles {
                vocab_txt: file("vocab.txt"),
                vocab_json: file("vocab.json"),
                merges_txt: file("merges.txt"),
                tokenizer_config: file("tokenizer_config.json"),
                ..TokenizerFiles::default()
            };
            let old = Tokenizer::from_files(&old).unwrap();
            for text in ["The cat isn't Ünal.  ☃", "<mask> [MASK] 12", ""] {
                let options = EncodeOptions::default();
                let (a, b) = (old.encode(text, &options).unwrap(), made.tokenizer.encode(text, &options).unwrap());
                assert_eq!(a, b, "{family} {text:?}");
            }
        }
    }

    #[test]
    fn options_count() {
        let cased = trained("bert", 2, |options| options.lowercase = Some(false)).unwrap().tokenizer;
        assert!(cased.id("T").is_some() && trained("bert", 2, |_| {}).unwrap().tokenizer.id("T").is_none());
        let few = trained("bert", 2, |options| options.alphabet = 20).unwrap().tokenizer;
        assert!(few.id("e").is_some() && few.id("☃").is_none());
        let rare = trained("gpt2", 2, |options| options.min_frequency = 1_000_000).unwrap().tokenizer;
        assert_eq!(rare.vocab_size(), 257);
        let error = trained("bert", 2, |options| options.vocab_size = 30).unwrap_err().to_string();
        assert!(error.contains("too small"), "{error}");
        let error = trained("gpt", 2, |options| options.lowercase = Some(false)).unwrap_err().to_string();
        assert!(error.contains("capitals"), "{error}");
        // forgetting rare words on the way changes little where frequent ones are enough
        let forgetful = trained("bert", 2, |options| options.most_words = 30).unwrap().tokenizer;
        assert!(forgetful.id("the").is_some());
        assert!(Family::by_name("none").is_none());
    }
}
