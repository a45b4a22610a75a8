//! Multi-task pretraining of text-to-text models (Raffel et al. 2020, §3.5.2): rows of tasks take places of a step beside
//! the corpora's text. Each place draws its task by the mixture's rates and then one of the task's rows, all as likely.
//! Rows are held as tokens, in memory.

use ptm_text::Tokenizer;
use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::unigram::Unigram;
use crate::error::{Error, Result};
use crate::objectives::denoised::Denoised;
use crate::objectives::mixture::{Mixture, MixtureConfig, TEXT};

/// A row of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    /// The task, counted from 0.
    task: usize,
    /// The row among those to learn from, or to judge by.
    number: usize,
    held_out: bool,
    /// Tokens of its source or its target, whichever has more.
    pub tokens: usize,
}

/// A task with its rows.
struct Task {
    name: String,
    train: Vec<Denoised>,
    held_out: Vec<Denoised>,
    /// How often tokens are targets of it.
    unigram: Unigram,
    fingerprint: u64,
}

/// Tokens of source or target, whichever has more.
fn longer(pair: &Denoised) -> usize {
    pair.source.len().max(pair.target.len())
}

/// The tasks beside the text.
pub(crate) struct TextTasks {
    tasks: Vec<Task>,
    /// The text's rate, then the tasks'.
    mixture: Mixture,
    /// Tokens of the longest row that is learnt from.
    pub longest: usize,
}

/// How rows are read: by which tokenizer, between which tokens, of how many a model reads at most and says.
pub(crate) struct Reads<'a> {
    pub tokenizer: &'a Tokenizer,
    pub ends: (Option<u32>, u32),
    pub longest: usize,
    pub vocabulary: usize,
}

impl TextTasks {
    /// Reads the rows; one pass over the corpora's text gives `windows` examples.
    ///
    /// # Errors
    /// When a setting can't work, or a file or a row isn't what the task asks for.
    pub fn read(config: &MixtureConfig, windows: f64, reads: &Reads<'_>) -> Result<Self> {
        config.check()?;
        let tasks = config.tasks.iter().map(|task| {
            let rows = |held_out| task.read(held_out, reads.tokenizer, reads.ends, reads.longest);
            let (train, learnt) = rows(false)?;
            let (held_out, judged) = if task.validation.is_empty() { Default::default() } else { rows(true)? };
            let fingerprint = learnt ^ judged.rotate_left(1);
            let unigram = Unigram::of(train.iter().map(|pair| &pair.target[..]), reads.vocabulary);
            Ok(Task { name: task.form.name.clone(), train, held_out, unigram, fingerprint })
        });
        let tasks: Vec<Task> = tasks.collect::<Result<_>>()?;
        let mut counts: Vec<u64> = tasks.iter().map(|task| task.train.len() as u64).collect();
        let mixture = match config.text_share {
            Some(share) => Mixture::new(&counts, config.rates)?.behind(share),
            None => {
                counts.insert(0, (windows.round() as u64).max(1));
                Mixture::new(&counts, config.rates)?
            }
        };
        if let Some((place, rate)) = mixture.rates().iter().enumerate().find(|(_, rate)| **rate < 1e-9) {
            let name = place.checked_sub(1).map_or("the text".to_owned(), |task| format!("task {}", tasks[task].name));
            let problem = format!("{name} would never be drawn, at a rate of {rate}: raise the temperature");
            return Err(Error::recipe("objective.rates", problem));
        }
        Ok(Self::new(tasks, mixture))
    }

    fn new(tasks: Vec<Task>, mixture: Mixture) -> Self {
        let longest = tasks.iter().flat_map(|task| &task.train).map(longer).max().unwrap_or(0);
        Self { tasks, mixture, longest }
    }

    /// A row; none where the place is the text's.
    pub fn draw(&self, random: &mut ChaCha8Rng) -> Option<Row> {
        let task = self.mixture.draw(random).checked_sub(1)?;
        let train = &self.tasks[task].train;
        let number = random.random_range(0..train.len());
        Some(Row { task, number, held_out: false, tokens: longer(&train[number]) })
    }

    /// What a row is.
    pub fn pair(&self, row: &Row) -> &Denoised {
        let Task { train, held_out, .. } = &self.tasks[row.task];
        if row.held_out { &held_out[row.number] } else { &train[row.number] }
    }

    /// How many rows there are for a window of text, in the mean, and tokens of a row.
    pub fn beside(&self) -> (f64, f64) {
        let rates = self.mixture.rates();
        let mean = |task: &Task| task.train.iter().map(longer).sum::<usize>() as f64 / task.train.len() as f64;
        let tokens: f64 = self.tasks.iter().zip(&rates[1..]).map(|(task, rate)| rate * mean(task)).sum();
        let rest = 1.0 - rates[0];
        (rest / rates[0], tokens / rest)
    }

    /// The rate of the text.
    pub fn text_rate(&self) -> f64 {
        self.mixture.rates()[0]
    }

    /// Which tasks are judged: by name, with its rate, at most `most` of its held-out rows, and its baseline.
    pub fn judged(&self, most: usize) -> impl Iterator<Item = (&str, f64, Vec<Row>, &Unigram)> {
        let rates = self.mixture.rates();
        self.tasks.iter().enumerate().filter(|(_, task)| !task.held_out.is_empty()).map(move |(number, task)| {
            let (all, rate) = (task.held_out.len(), rates[number + 1]);
            let count = all.min(most);
            // evenly from all of the file
            let rows = (0..count).map(|i| i * all / count).map(|i| Row {
                task: number,
                number: i,
                held_out: true,
                tokens: longer(&task.held_out[i]),
            });
            (&*task.name, rate, rows.collect(), &task.unigram)
        })
    }

    /// The names of the tasks that are judged.
    pub fn judged_names(&self) -> Vec<&str> {
        self.judged(1).map(|task| task.0).collect()
    }

    /// A number that differs for other files.
    pub fn fingerprint(&self) -> u64 {
        self.tasks.iter().fold(0, |all, task| all.rotate_left(1) ^ task.fingerprint)
    }

    /// The tasks' names and rates, the text's before them, for those who look on.
    pub fn rates(&self) -> String {
        let names = [TEXT].into_iter().chain(self.tasks.iter().map(|task| &*task.name));
        let said = names.zip(self.mixture.rates()).map(|(name, rate)| format!("{name} {rate:.3}"));
        said.collect::<Vec<_>>().join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::objectives::generator;
    use crate::objectives::mixture::Rates;

    fn task(rows: usize) -> Task {
        let pair = Denoised { source: vec![7; rows], target: vec![8], corrupted: vec![] };
        let unigram = Unigram::of([&[8][..]], 10);
        Task { name: format!("of_{rows}"), train: vec![pair; rows], held_out: vec![], unigram, fingerprint: 1 }
    }

    /// Text of 30 windows and tasks of 20, 40 and 5 rows at the temperature 2, none counting for more than 20.
    #[test]
    fn tasks_and_rows_are_drawn_at_their_rates() {
        let rates = Rates::Temperature { temperature: 2.0, limit: 20 };
        let mixture = Mixture::new(&[30, 20, 40, 5], rates).unwrap();
        let tasks = TextTasks::new(vec![task(20), task(40), task(5)], mixture);
        let (mut text, mut rows) = (0_u64, [vec![0_u64; 20], vec![0; 40], vec![0; 5]]);
        // as steps draw, each from a generator of its own
        for step in 0..1000 {
            let mut random = generator(3, 9, step);
            for _ in 0..100 {
                match tasks.draw(&mut random) {
                    None => text += 1,
                    Some(row) => rows[row.task][row.number] += 1,
                }
            }
        }
        let counts: Vec<u64> = std::iter::once(text).chain(rows.into_iter().flatten()).collect();
        // 1 to 1 to 1 to a half, and within a task all rows alike
        let whole = 2.0 / 7.0;
        let probabilities: Vec<f64> =
            [vec![whole], vec![whole / 20.0; 20], vec![whole / 40.0; 40], vec![1.0 / 7.0 / 5.0; 5]].concat();
        let chi_square: f64 =
            counts.iter().zip(&probabilities).map(|(&count, p)| (count as f64 - 1e5 * p).powi(2) / (1e5 * p)).sum();
        // 65 degrees of freedom: 105.9 at one in a thousand
        assert!(chi_square < 105.9, "{chi_square}: {counts:?}");
        let (beside, tokens) = tasks.beside();
        assert!((beside - 2.5).abs() < 1e-9 && (tokens - (20.0 + 40.0 + 2.5) / 2.5).abs() < 1e-9);
        assert_eq!(tasks.rates(), "text 0.286, of_20 0.286, of_40 0.286, of_5 0.143");
    }
}
