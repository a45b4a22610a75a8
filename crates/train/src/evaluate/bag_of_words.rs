//! The baseline that a model has to beat: which words occur, weighted by tf-idf, and multinomial logistic regression on
//! them. Same weights and same objective as scikit-learn's `TfidfVectorizer` and `LogisticRegression` with their
//! defaults; words and, unlike there, pairs of neighbours.

use std::collections::HashMap;

use rayon::prelude::*;

/// Words and pairs of words that are told apart at most, the most frequent first.
const MOST_FEATURES: usize = 1 << 20;
/// scikit-learn's `C`: how much rows count against small weights.
const C: f64 = 1.0;
/// Steps of the optimization, and the share of the first gradient at which it ends.
const MOST_STEPS: usize = 3000;
const SMALL: f64 = 1e-5;

/// Numbers of features with their weights; the squares of the weights sum to 1.
type Row = Vec<(u32, f64)>;

/// A classifier that was learnt.
#[derive(Clone, Debug)]
pub struct BagOfWords {
    features: HashMap<String, u32>,
    idf: Vec<f64>,
    labels: usize,
    /// `[features][labels]`.
    weights: Vec<f64>,
    biases: Vec<f64>,
}

/// The words of a text or a pair, and their neighbours; the pair's are words of their own.
fn words(text: &str, pair: Option<&str>) -> Vec<String> {
    let mut found = Vec::new();
    for (side, text) in [Some(text), pair].into_iter().enumerate().filter_map(|(side, text)| Some((side, text?))) {
        let lower = text.to_lowercase();
        let parts = lower.split(|c: char| !(c.is_alphanumeric() || c == '_'));
        // single letters say little
        let own: Vec<&str> = parts.filter(|word| word.chars().nth(1).is_some()).collect();
        found.extend(own.iter().map(|word| format!("{side} {word}")));
        found.extend(own.windows(2).map(|two| format!("{side} {} {}", two[0], two[1])));
    }
    found
}

impl BagOfWords {
    /// Learns from texts (with their pairs) and labels below `labels`.
    ///
    /// # Panics
    /// When there are not as many of both, or a label is beyond.
    pub fn learn(texts: &[(&str, Option<&str>)], gold: &[usize], labels: usize) -> Self {
        assert!(texts.len() == gold.len() && gold.iter().all(|&label| label < labels), "a label for each text");
        let documents: Vec<Vec<String>> = texts.par_iter().map(|(text, pair)| words(text, *pair)).collect();
        let mut counts: HashMap<&str, (u32, usize)> = HashMap::new();
        for (number, document) in documents.iter().enumerate() {
            for word in document {
                // counted once a document
                let entry = counts.entry(word).or_insert((0, usize::MAX));
                if entry.1 != number {
                    *entry = (entry.0 + 1, number);
                }
            }
        }
        let mut all: Vec<(&str, u32)> = counts.into_iter().map(|(word, (count, _))| (word, count)).collect();
        all.sort_unstable_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
        all.truncate(MOST_FEATURES);
        let n = texts.len() as f64;
        let mut this = Self {
            idf: all.iter().map(|(_, count)| ((1.0 + n) / (1.0 + f64::from(*count))).ln() + 1.0).collect(),
            features: all.iter().enumerate().map(|(i, (word, _))| ((*word).to_owned(), i as u32)).collect(),
            labels,
            weights: vec![0.0; all.len() * labels],
            biases: vec![0.0; labels],
        };
        let rows: Vec<Row> = documents.iter().map(|document| this.row(document)).collect();
        this.fit(&rows, gold);
        this
    }

    fn row(&self, document: &[String]) -> Row {
        let mut counts: HashMap<u32, f64> = HashMap::new();
        for word in document {
            if let Some(&feature) = self.features.get(word) {
                *counts.entry(feature).or_default() += 1.0;
            }
        }
        let mut row: Row =
            counts.into_iter().map(|(feature, count)| (feature, count * self.idf[feature as usize])).collect();
        // the order of a hash map is random
        row.sort_unstable_by_key(|entry| entry.0);
        let norm = row.iter().map(|entry| entry.1 * entry.1).sum::<f64>().sqrt();
        row.iter_mut().for_each(|entry| entry.1 /= norm.max(f64::MIN_POSITIVE));
        row
    }

    fn probabilities(&self, row: &Row, weights: &[f64], biases: &[f64]) -> Vec<f64> {
        let k = self.labels;
        let mut scores = biases.to_vec();
        for &(feature, value) in row {
            let own = &weights[feature as usize * k..][..k];
            scores.iter_mut().zip(own).for_each(|(score, weight)| *score += value * weight);
        }
        let most = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        scores.iter_mut().for_each(|score| *score = (*score - most).exp());
        let sum: f64 = scores.iter().sum();
        scores.iter_mut().for_each(|score| *score /= sum);
        scores
    }

    /// Minimizes the loss summed over rows plus half the squares of the weights over `C`, by accelerated gradient
    /// descent that begins anew where it goes uphill (Nesterov 1983; O'Donoghue and Candès 2015).
    fn fit(&mut self, rows: &[Row], gold: &[usize]) {
        let (k, size) = (self.labels, self.weights.len());
        // biases stand behind the weights
        let mut at = vec![0.0; size + k];
        let (mut before, mut gradient) = (at.clone(), at.clone());
        let step = 1.0 / (0.5 * self.largest(rows) + 1.0 / C);
        let (mut momentum, mut first) = (1.0_f64, None);
        for _ in 0..MOST_STEPS {
            gradient[..size].iter_mut().zip(&at).for_each(|(g, w)| *g = w / C);
            gradient[size..].fill(0.0);
            let errors: Vec<Vec<f64>> = rows
                .par_iter()
                .zip(gold)
                .map(|(row, &label)| {
                    let mut errors = self.probabilities(row, &at[..size], &at[size..]);
                    errors[label] -= 1.0;
                    errors
                })
                .collect();
            for (row, errors) in rows.iter().zip(&errors) {
                for &(feature, value) in row {
                    let own = &mut gradient[feature as usize * k..][..k];
                    own.iter_mut().zip(errors).for_each(|(g, error)| *g += value * error);
                }
                gradient[size..].iter_mut().zip(errors).for_each(|(g, error)| *g += error);
            }
            let norm = gradient.iter().map(|g| g * g).sum::<f64>().sqrt();
            if norm <= SMALL * *first.get_or_insert(norm) {
                break;
            }
            let next: Vec<f64> = at.iter().zip(&gradient).map(|(x, g)| x - step * g).collect();
            let uphill: f64 =
                gradient.iter().zip(next.iter().zip(&before)).map(|(g, (next, before))| g * (next - before)).sum();
            let faster = f64::midpoint(1.0, (1.0 + 4.0 * momentum * momentum).sqrt());
            let share = if uphill > 0.0 { 0.0 } else { (momentum - 1.0) / faster };
            momentum = if uphill > 0.0 { 1.0 } else { faster };
            at = next.iter().zip(&before).map(|(next, before)| next + share * (next - before)).collect();
            before = next;
        }
        self.biases = before.split_off(size);
        self.weights = before;
    }

    /// The largest eigenvalue of the rows' products with each other, the column of ones for the bias included, by power
    /// iteration, with some room.
    fn largest(&self, rows: &[Row]) -> f64 {
        let mut v = vec![1.0; self.idf.len() + 1];
        let mut value = 0.0;
        for _ in 0..30 {
            let mut next = vec![0.0; v.len()];
            let last = v.len() - 1;
            for row in rows {
                let product = v[last] + row.iter().map(|&(feature, x)| x * v[feature as usize]).sum::<f64>();
                row.iter().for_each(|&(feature, x)| next[feature as usize] += x * product);
                next[last] += product;
            }
            value = next.iter().map(|x| x * x).sum::<f64>().sqrt();
            v = next.into_iter().map(|x| x / value.max(f64::MIN_POSITIVE)).collect();
        }
        1.05 * value
    }

    /// The labels' probabilities.
    pub fn predict(&self, text: &str, pair: Option<&str>) -> Vec<f32> {
        let row = self.row(&words(text, pair));
        self.probabilities(&row, &self.weights, &self.biases).into_iter().map(|p| p as f32).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made by scikit-learn 1.9.1: `TfidfVectorizer(ngram_range=(1, 2))`, `LogisticRegression(tol=1e-10)`.
    const EXPECTED: [[f32; 3]; 3] =
        [[0.523_013, 0.279_232, 0.197_756], [0.281_105, 0.517_389, 0.201_506], [0.360_258, 0.389_991, 0.249_751]];

    #[test]
    fn as_scikit_learn() {
        let rows = [
            ("the cat sat on the mat", 0),
            ("a cat and a dog", 0),
            ("the dog barks at the cat", 0),
            ("stocks fell on Monday", 1),
            ("the bank raised its rates", 1),
            ("rates and stocks and the market", 1),
            ("boil the pasta, add salt", 2),
            ("salt and pepper on the steak", 2),
        ];
        let texts: Vec<(&str, Option<&str>)> = rows.iter().map(|row| (row.0, None)).collect();
        let gold: Vec<usize> = rows.iter().map(|row| row.1).collect();
        let model = BagOfWords::learn(&texts, &gold, 3);
        for (text, expected) in ["the cat barks", "stocks and the bank", "never seen words"].into_iter().zip(EXPECTED) {
            let found = model.predict(text, None);
            assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-4), "{found:?} {expected:?}");
        }
    }

    #[test]
    fn sides_of_a_pair_differ() {
        let texts = [("a cat", Some("a dog")), ("a dog", Some("a cat"))].map(|(a, b)| (a, b));
        let model = BagOfWords::learn(&texts.repeat(20), &[0, 1].repeat(20), 2);
        assert!(model.predict("cat", Some("dog"))[0] > 0.6);
        assert!(model.predict("dog", Some("cat"))[1] > 0.6);
        assert_eq!(model.predict("", None), [0.5, 0.5]);
    }
}
