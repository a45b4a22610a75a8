//! A text that is longer than the model reads, in pieces that it reads.

use ptm_text::{EncodeOptions, Truncation, sentences};

use super::{Languages, Long, Text2Text, Text2TextOptions};
use crate::error::{Error, Result};

impl Text2Text {
    /// As many tokens as the model reads.
    fn longest(&self) -> usize {
        let most = self.tokenizer().model_max_length().unwrap_or(usize::MAX);
        most.min(self.engine.longest().unwrap_or(usize::MAX))
    }

    fn encode(&self, text: &str, prefix: &str, max: Option<usize>) -> Result<Vec<u32>> {
        let tokenizer = self.tokenizer();
        let text = match &self.languages {
            Languages::Word(word) => format!("{prefix}{word} {text}"),
            _ => format!("{prefix}{text}"),
        };
        let Languages::Tokens { before, after, .. } = &self.languages else {
            let truncation = max.map_or(Truncation::None, |max| Truncation::Longest { max });
            return Ok(tokenizer.encode(&text, &EncodeOptions { truncation, ..EncodeOptions::default() })?.ids);
        };
        let truncation = max.map_or(Truncation::None, |max| Truncation::Longest {
            max: max.saturating_sub(before.len() + after.len()),
        });
        let plain = EncodeOptions { add_special_tokens: false, truncation, ..EncodeOptions::default() };
        let ids = tokenizer.encode(&text, &plain)?.ids;
        Ok([before.as_slice(), &ids, after].concat())
    }

    /// The text as the model reads it, in pieces if need be, and how many tokens were cut off.
    pub(super) fn pieces(&self, text: &str, options: &Text2TextOptions<'_>) -> Result<(Vec<Vec<u32>>, usize)> {
        let prefix = options.prefix.as_deref().unwrap_or_else(|| self.prefix());
        let most = self.longest();
        let ids = self.encode(text, prefix, None)?;
        if ids.len() > most {
            let around = self.encode("", prefix, None)?.len();
            if around >= most {
                return Err(Error::Option(format!(
                    "the prefix alone makes {around} tokens, but the model reads {most}, which leaves nothing of the text: give \
                     a shorter prefix"
                )));
            }
        }
        if ids.len() <= most {
            return Ok((vec![ids], 0));
        }
        if options.long == Long::Cut {
            let cut = ids.len() - most;
            tracing::warn!("the last {cut} of {} tokens are cut off: the model reads {most}", ids.len());
            return Ok((vec![self.encode(text, prefix, Some(most))?], cut));
        }
        let (mut pieces, mut cut) = (Vec::new(), 0);
        let mut held = String::new();
        let mut settled: Option<Vec<u32>> = None;
        for sentence in sentences(text) {
            let longer = format!("{held}{sentence}");
            let ids = self.encode(longer.trim_end(), prefix, None)?;
            if ids.len() <= most {
                (held, settled) = (longer, Some(ids));
                continue;
            }
            pieces.extend(settled.take());
            let ids = self.encode(sentence.trim_end(), prefix, None)?;
            if ids.len() <= most {
                (held, settled) = (sentence.to_owned(), Some(ids));
                continue;
            }
            // a sentence that is too long by itself is divided at a space, or where it must be
            held.clear();
            for part in self.parts(sentence, prefix, most)? {
                let ids = self.encode(part, prefix, Some(most))?;
                cut += self.encode(part, prefix, None)?.len() - ids.len();
                pieces.push(ids);
            }
        }
        pieces.extend(settled);
        if cut > 0 {
            tracing::warn!(
                "{cut} of {} tokens are cut off: a sentence can't be divided into parts of {most}",
                ids.len()
            );
        }
        tracing::info!("a text of {} tokens is answered in {} pieces: the model reads {most}", ids.len(), pieces.len());
        Ok((pieces, cut))
    }

    /// Parts of a long sentence that each fit, cut at spaces where there are some; it is encoded once, however long.
    fn parts<'t>(&self, sentence: &'t str, prefix: &str, most: usize) -> Result<Vec<&'t str>> {
        let sentence = sentence.trim_end();
        let plain = EncodeOptions { add_special_tokens: false, ..EncodeOptions::default() };
        let starts: Vec<usize> =
            self.tokenizer().encode(sentence, &plain)?.offsets.iter().map(|&(start, _)| start).collect();
        // what is put around a text, and a token or two that a cut may add
        let around = self.encode("", prefix, None)?.len() + 2;
        let room = most.saturating_sub(around).max(1);
        let bytes: Vec<usize> = sentence.char_indices().map(|(at, _)| at).chain([sentence.len()]).collect();
        let (mut parts, mut first, mut from) = (Vec::new(), 0, 0);
        while first + room < starts.len() {
            let end = bytes[starts[first + room].min(bytes.len() - 1)];
            let blank = sentence[from..end].rfind(char::is_whitespace).filter(|&at| at > (end - from) / 2);
            let cut = blank.map_or(end, |at| from + at).max(from);
            if cut > from {
                parts.push(sentence[from..cut].trim());
            }
            from = cut;
            let next = starts.partition_point(|&start| bytes[start.min(bytes.len() - 1)] < cut);
            first = next.max(first + 1);
        }
        parts.push(sentence[from..].trim());
        parts.retain(|part| !part.is_empty());
        Ok(parts)
    }
}
