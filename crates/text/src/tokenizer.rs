//! A tokenizer as a model directory describes it, whatever files it has: text to token ids and back.
//! Which file counts, and what the configuration changes, follows the fast tokenizers of the transformers library.
//! The arithmetic of segmentation is the tokenizers library's. Training of tokenizers is elsewhere.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Arc, OnceLock};

use rayon::prelude::*;
use tokenizers::{Decoder as _, ModelWrapper};

use crate::encode::{EncodeOptions, Encoder, Input};
use crate::encoding::Encoding;
use crate::files::TokenizerFiles;
use crate::load::{self, Loaded, Target};
use crate::special::{Special, SpecialTokens};
use crate::token_bytes::TokenBytes;
use crate::{Error, Marian, frame};

/// A tokenizer. Cloning is cheap, and one can serve many threads.
#[derive(Clone)]
pub struct Tokenizer {
    inner: Arc<Inner>,
}

struct Inner {
    encoder: Encoder,
    target: Target,
    special: SpecialTokens,
    class: Option<String>,
    model_max_length: Option<usize>,
    clean_up: bool,
    max_id: OnceLock<u32>,
    bytes: OnceLock<TokenBytes>,
}

impl std::fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokenizer").field("class", &self.inner.class).field("vocab_size", &self.vocab_size()).finish()
    }
}

impl Tokenizer {
    /// Loads the tokenizer of a model directory: `tokenizer.json`, else `vocab.txt`, `vocab.json` with `merges.txt`,
    /// or a SentencePiece model, by the class that `tokenizer_config.json` or `config.json` names; then
    /// `special_tokens_map.json`, `added_tokens.json` and the options of `tokenizer_config.json`.
    ///
    /// # Errors
    /// When there is no tokenizer, a file cannot be read or is broken, or the class cannot be built without its
    /// `tokenizer.json`.
    pub fn from_dir(dir: &Path) -> Result<Self, Error> {
        Self::build(&TokenizerFiles::read(dir)?, &dir.display().to_string())
    }

    /// The same from files in memory.
    ///
    /// # Errors
    /// As [`Tokenizer::from_dir`].
    pub fn from_files(files: &TokenizerFiles<'_>) -> Result<Self, Error> {
        Self::build(files, "the given set of files")
    }

    fn build(files: &TokenizerFiles<'_>, place: &str) -> Result<Self, Error> {
        // The library underneath checks its input with assertions in places; a broken file must not end the program.
        let loaded = catch_unwind(AssertUnwindSafe(|| load::load(files, place))).unwrap_or_else(|_| {
            Err(Error::Model {
                file: place.to_owned(),
                reason: "its parts contradict each other (the tokenizers library gave up on them)".to_owned(),
            })
        })?;
        let Loaded { encoder, target, special, class, model_max_length, clean_up } = loaded;
        let inner = Inner {
            encoder,
            target,
            special,
            class,
            model_max_length,
            clean_up,
            max_id: OnceLock::new(),
            bytes: OnceLock::new(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Encodes one text.
    ///
    /// # Errors
    /// When the truncation asked for is impossible, or the windows would be too many.
    pub fn encode(&self, text: &str, options: &EncodeOptions) -> Result<Encoding, Error> {
        self.encode_input(Input::Text(text), options)
    }

    /// Encodes two texts as one sequence, as for a question with its context.
    ///
    /// # Errors
    /// As [`Tokenizer::encode`].
    pub fn encode_pair(&self, first: &str, second: &str, options: &EncodeOptions) -> Result<Encoding, Error> {
        self.encode_input(Input::Pair(first, second), options)
    }

    /// Encodes a text or a pair.
    ///
    /// # Errors
    /// As [`Tokenizer::encode`].
    pub fn encode_input(&self, input: Input<'_>, options: &EncodeOptions) -> Result<Encoding, Error> {
        // See `build`.
        catch_unwind(AssertUnwindSafe(|| self.inner.encoder.encode(input, options))).unwrap_or_else(|_| {
            Err(Error::Encode {
                reason: "the tokenizers library gave up on it; the tokenizer's files are suspect".to_owned(),
            })
        })
    }

    /// Encodes a text that a decoder is to say: Marian has another segmentation for it, mBART puts the target's language
    /// around it; as any other text elsewhere.
    ///
    /// # Errors
    /// As [`Tokenizer::encode`]; when the files don't say how such texts are encoded.
    pub fn encode_target(&self, text: &str, options: &EncodeOptions) -> Result<Encoding, Error> {
        let encoder = match &self.inner.target {
            Target::Same => &self.inner.encoder,
            Target::Other(encoder) => encoder,
            Target::Unknown(reason) => {
                return Err(Error::Encode { reason: format!("target texts cannot be encoded: {reason}") });
            }
        };
        // See `build`.
        catch_unwind(AssertUnwindSafe(|| encoder.encode(Input::Text(text), options))).unwrap_or_else(|_| {
            Err(Error::Encode {
                reason: "the tokenizers library gave up on it; the tokenizer's files are suspect".to_owned(),
            })
        })
    }

    /// The ids of running text without special tokens, and where in the text each of them ends, in bytes. Text that
    /// spells a special token (`[MASK]`) is text here.
    ///
    /// # Errors
    /// When the tokenizer fails on the text.
    pub fn encode_literally(&self, text: &str) -> Result<(Vec<u32>, Vec<usize>), Error> {
        let (ids, offsets) = self.encode_literally_at(text)?;
        Ok((ids, offsets.into_iter().map(|(_, end)| end).collect()))
    }

    /// The same with where each of them begins and ends.
    pub(crate) fn encode_literally_at(&self, text: &str) -> Result<(Vec<u32>, Vec<(usize, usize)>), Error> {
        // See `build`.
        catch_unwind(AssertUnwindSafe(|| self.inner.encoder.literally(text))).unwrap_or_else(|_| {
            Err(Error::Encode {
                reason: "the tokenizers library gave up on it; the tokenizer's files are suspect".to_owned(),
            })
        })
    }

    /// Encodes a batch on all cores; results in the order of the inputs.
    ///
    /// # Errors
    /// As [`Tokenizer::encode`], for the first input that fails.
    pub fn encode_batch(&self, inputs: &[Input<'_>], options: &EncodeOptions) -> Result<Vec<Encoding>, Error> {
        inputs.par_iter().map(|&input| self.encode_input(input, options)).collect()
    }

    /// The text of token ids. Ids without a token are left out, special tokens too where `skip_special` says so.
    pub fn decode(&self, ids: &[u32], skip_special: bool) -> String {
        self.decode_with(ids, skip_special, self.inner.clean_up)
    }

    /// The same; `clean` says whether English spaces before punctuation go, whatever the files say.
    pub fn decode_with(&self, ids: &[u32], skip_special: bool, clean: bool) -> String {
        let encoder = &self.inner.encoder;
        let added = encoder.tokenizer.get_added_vocabulary();
        let is_shown = |&id: &u32| self.token(id).is_some_and(|token| !skip_special || !added.is_special_token(&token));
        let text = if !ids.iter().any(is_shown) {
            // decoders expect a token
            String::new()
        } else if encoder.marian.is_some() {
            let special = self.inner.special.all();
            let skip = |id: u32| skip_special && special.iter().any(|s| s.id == id);
            let tokens: Vec<String> = ids.iter().filter(|&&id| !skip(id)).filter_map(|&id| self.token(id)).collect();
            self.convert_tokens_to_string(&tokens)
        } else if encoder.bytes_end.is_some() {
            self.text_of_bytes(ids, skip_special)
        } else {
            catch_unwind(AssertUnwindSafe(|| encoder.tokenizer.decode(ids, skip_special)))
                .ok()
                .and_then(Result::ok)
                .unwrap_or_else(|| ids.iter().filter_map(|&id| self.token(id)).collect::<Vec<_>>().join(" "))
        };
        if clean { clean_up(&text) } else { text }
    }

    /// Text of tokens that are bytes, without those that make no character; blanks around sentinels, as `transformers` has
    /// them.
    fn text_of_bytes(&self, ids: &[u32], skip_special: bool) -> String {
        let text = |bytes: &[u8]| bytes.utf8_chunks().map(|chunk| chunk.valid()).collect::<String>();
        let (mut parts, mut bytes) = (Vec::new(), Vec::new());
        for &id in ids {
            if !self.is_special(id) {
                bytes.extend(self.token_bytes(id));
            } else if !skip_special {
                let sentinel = self.inner.special.additional.iter().find(|special| special.id == id);
                match sentinel {
                    Some(sentinel) => parts.extend([text(&std::mem::take(&mut bytes)), sentinel.text.clone()]),
                    None => bytes.extend(self.token(id).unwrap_or_default().into_bytes()),
                }
            }
        }
        parts.push(text(&bytes));
        parts.retain(|part| !part.is_empty());
        parts.join(" ")
    }

    /// Joins tokens to text as the model's class does: WordPiece joins `##`, byte-level BPE decodes its bytes.
    pub fn convert_tokens_to_string(&self, tokens: &[String]) -> String {
        let encoder = &self.inner.encoder;
        if tokens.is_empty() {
            return String::new();
        }
        if encoder.marian.is_some() {
            let special = self.inner.special.all();
            let special: Vec<&str> = special.iter().map(|s| s.text.as_str()).collect();
            return Marian::join(tokens.iter().map(String::as_str), &special);
        }
        encoder
            .tokenizer
            .get_decoder()
            .and_then(|d| catch_unwind(AssertUnwindSafe(|| d.decode(tokens.to_vec()))).ok()?.ok())
            .unwrap_or_else(|| tokens.join(" "))
    }

    /// The token with this id, as the vocabulary spells it.
    pub fn token(&self, id: u32) -> Option<String> {
        match &self.inner.encoder.marian {
            Some(marian) => marian.token(id).map(str::to_owned),
            None => self.inner.encoder.tokenizer.id_to_token(id),
        }
    }

    /// The id of a token as the vocabulary spells it.
    pub fn id(&self, token: &str) -> Option<u32> {
        match &self.inner.encoder.marian {
            Some(marian) => marian.id(token),
            None => self.inner.encoder.tokenizer.token_to_id(token),
        }
    }

    /// Number of tokens, with those added. Where ids have holes, [`Tokenizer::max_id`] is larger than this says.
    pub fn vocab_size(&self) -> usize {
        match &self.inner.encoder.marian {
            Some(marian) => marian.size(),
            None => self.inner.encoder.tokenizer.get_vocab_size(true),
        }
    }

    /// The largest id that encoding can give: a model's embedding needs one row more.
    pub fn max_id(&self) -> u32 {
        *self.inner.max_id.get_or_init(|| {
            let encoder = &self.inner.encoder;
            let around = encoder
                .frame
                .as_ref()
                .and_then(|f| serde_json::to_value(f).ok())
                .map_or(0, |value| frame::max_id(&value));
            let inside = match &encoder.marian {
                Some(marian) => marian.max_id(),
                None => encoder.tokenizer.get_vocab(true).into_values().max().unwrap_or(0),
            };
            around.max(inside)
        })
    }

    /// The bytes that a token stands for within a text; none for special tokens and ids without a token. At a text's
    /// very beginning or end decoding leaves out a space.
    pub fn token_bytes(&self, id: u32) -> Vec<u8> {
        if self.is_special(id) {
            return Vec::new();
        }
        let bytes = self.inner.bytes.get_or_init(|| match &self.inner.encoder.marian {
            Some(_) => TokenBytes::sentencepiece(),
            None => TokenBytes::of(&self.inner.encoder.tokenizer),
        });
        self.token(id).map(|token| bytes.bytes(&token)).unwrap_or_default()
    }

    /// The special tokens by role.
    pub fn special(&self) -> &SpecialTokens {
        &self.inner.special
    }

    /// Whether an id is that of a special token, with or without a role.
    pub fn is_special(&self, id: u32) -> bool {
        self.inner.special.all().iter().any(|s: &&Special| s.id == id)
    }

    /// The tokenizer class that the files name, or that was inferred from the model type.
    pub fn class(&self) -> Option<&str> {
        self.inner.class.as_deref()
    }

    /// The most tokens that the model takes; `None` where the files set no real limit.
    pub fn model_max_length(&self) -> Option<usize> {
        self.inner.model_max_length
    }

    /// The mark of pieces that continue a word (`##`), where the model has one.
    pub fn continuing_subword_prefix(&self) -> Option<&str> {
        let prefix = match self.inner.encoder.tokenizer.get_model() {
            ModelWrapper::WordPiece(model) => Some(model.continuing_subword_prefix.as_str()),
            ModelWrapper::BPE(model) => model.continuing_subword_prefix.as_deref(),
            _ => None,
        };
        prefix.filter(|p| !p.is_empty())
    }
}

/// The text with English spacing before punctuation and contractions, as a tokenizer's configuration may ask for it
/// (`clean_up_tokenization_spaces`).
pub fn clean_up(text: &str) -> String {
    const RULES: [(&str, &str); 10] = [
        (" .", "."),
        (" ?", "?"),
        (" !", "!"),
        (" ,", ","),
        (" ' ", "'"),
        (" n't", "n't"),
        (" 'm", "'m"),
        (" 's", "'s"),
        (" 've", "'ve"),
        (" 're", "'re"),
    ];
    RULES.iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
}
