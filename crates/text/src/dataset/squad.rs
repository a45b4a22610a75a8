//! The JSON of SQuAD 1.1 and 2.0: articles with paragraphs with questions. Read as a whole (the published files have
//! 30 to 45 MB); a context is kept once for all its questions.

use std::path::Path;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::error::Error;
use super::fnv;
use super::source::{Block, Content, Record, Source};

/// Larger files are refused, as they would be read whole.
const LARGEST: u64 = 512 << 20;
/// Questions that are shuffled together.
const BLOCK_ROWS: usize = 256;

#[derive(Deserialize)]
struct Document {
    data: Vec<Article>,
}

#[derive(Deserialize)]
struct Article {
    paragraphs: Vec<Paragraph>,
}

#[derive(Deserialize)]
struct Paragraph {
    context: String,
    qas: Vec<Asked>,
}

#[derive(Deserialize)]
struct Asked {
    #[serde(default)]
    id: Value,
    question: String,
    #[serde(default)]
    answers: Vec<Answered>,
    #[serde(default)]
    is_impossible: bool,
}

#[derive(Deserialize)]
struct Answered {
    text: String,
    answer_start: i64,
}

/// A file in memory.
pub(super) struct SquadFile {
    name: Arc<str>,
    content: u64,
    contexts: Vec<String>,
    questions: Vec<(usize, Asked)>,
    blocks: Vec<Block>,
}

impl SquadFile {
    pub fn open(path: &Path) -> Result<Self, Error> {
        let failed = |source| Error::Read { path: path.to_owned(), source };
        let wrong = |problem: String| Error::File { path: path.to_owned(), problem };
        let size = std::fs::metadata(path).map_err(failed)?.len();
        if size > LARGEST {
            let limit = LARGEST >> 20;
            return Err(wrong(format!(
                "{} MiB is more than the {limit} MiB that are read at once: give such data as .jsonl with question, \
                 context and answers",
                size >> 20
            )));
        }
        let bytes = std::fs::read(path).map_err(failed)?;
        let document: Document = serde_json::from_slice(&bytes).map_err(|error| {
            wrong(format!("not the JSON of SQuAD (data, paragraphs, qas): {error}; give rows as .jsonl or a JSON list"))
        })?;
        let content = fnv(&bytes);
        drop(bytes);
        let (mut contexts, mut questions) = (Vec::new(), Vec::new());
        for paragraph in document.data.into_iter().flat_map(|article| article.paragraphs) {
            questions.extend(paragraph.qas.into_iter().map(|asked| (contexts.len(), asked)));
            contexts.push(paragraph.context);
        }
        let size = |chunk: &[(usize, Asked)]| chunk.iter().map(|(_, asked)| asked.question.len() as u64 + 200).sum();
        let block = |chunk| Block { rows: <[_]>::len(chunk) as u32, bytes: size(chunk) };
        let blocks = questions.chunks(BLOCK_ROWS).map(block).collect();
        Ok(Self { name: path.display().to_string().into(), content, contexts, questions, blocks })
    }
}

impl Source for SquadFile {
    fn name(&self) -> &Arc<str> {
        &self.name
    }

    fn by_lines(&self) -> bool {
        false
    }

    fn content(&self) -> u64 {
        self.content
    }

    fn blocks(&self) -> &[Block] {
        &self.blocks
    }

    fn read(&self, block: usize) -> Result<Vec<Record>, Error> {
        let first = block * BLOCK_ROWS;
        let rows = first..first + self.blocks[block].rows as usize;
        Ok(rows.map(|row| Record { number: row as u64 + 1, content: Content::Numbered }).collect())
    }

    fn values(&self, record: Record) -> Result<Map<String, Value>, (u64, String)> {
        let (paragraph, asked) = &self.questions[record.number as usize - 1];
        let texts: Vec<&str> = asked.answers.iter().map(|answer| answer.text.as_str()).collect();
        let starts: Vec<i64> = asked.answers.iter().map(|answer| answer.answer_start).collect();
        // 2.0 keeps plausible answers to impossible questions elsewhere, but some copies leave them here
        let answers = if asked.is_impossible {
            json!({"text": [], "answer_start": []})
        } else {
            json!({"text": texts, "answer_start": starts})
        };
        Ok(Map::from_iter([
            ("id".to_owned(), asked.id.clone()),
            ("question".to_owned(), asked.question.clone().into()),
            ("context".to_owned(), self.contexts[*paragraph].clone().into()),
            ("answers".to_owned(), answers),
            ("is_impossible".to_owned(), asked.is_impossible.into()),
        ]))
    }
}
