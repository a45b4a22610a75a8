//! How well a language model foretells texts: perplexity, and bits a byte, which can be compared between tokenizers.

use super::Evaluated;

/// A text.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Foretold {
    /// The sum of its tokens' losses, in nats.
    pub loss: f64,
    /// How many tokens were foretold.
    pub tokens: u64,
    /// The text's length in bytes.
    pub bytes: u64,
}

/// Texts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Texts(pub Vec<Foretold>);

impl Evaluated for Texts {
    const TASK: &'static str = "language modelling";

    fn rows(&self) -> usize {
        self.0.len()
    }

    /// Perplexity and mean loss of a token, bits a byte of the text.
    fn metrics(&self, rows: &[usize]) -> Vec<(&'static str, f64)> {
        let (mut loss, mut tokens, mut bytes) = (0.0, 0_u64, 0_u64);
        for text in rows.iter().map(|&row| &self.0[row]) {
            loss += text.loss;
            tokens += text.tokens;
            bytes += text.bytes;
        }
        let mean = loss / tokens as f64;
        vec![
            ("perplexity", mean.exp()),
            ("loss", mean),
            ("bits_per_byte", loss / bytes as f64 / std::f64::consts::LN_2),
        ]
    }

    /// The probability of a token, by the geometric mean.
    fn score(&self, row: usize) -> f64 {
        let text = &self.0[row];
        if text.tokens == 0 { 1.0 } else { (-text.loss / text.tokens as f64).exp() }
    }

    fn shown(&self, row: usize) -> (String, String) {
        let text = &self.0[row];
        let perplexity = (text.loss / text.tokens.max(1) as f64).exp();
        (format!("{} tokens", text.tokens), format!("perplexity {perplexity:.2}"))
    }

    fn joined(&self, other: &Self) -> Self {
        Self([&self.0[..], &other.0].concat())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_count_alike() {
        let text = |loss, tokens, bytes| Foretold { loss, tokens, bytes };
        let texts = Texts(vec![text(2.0, 1, 4), text(1.0, 2, 4)]);
        let found = texts.metrics(&[0, 1]);
        assert!((found[0].1 - 1.0_f64.exp()).abs() < 1e-12 && found[1] == ("loss", 1.0));
        assert!((found[2].1 - 3.0 / 8.0 / std::f64::consts::LN_2).abs() < 1e-12);
        assert!(texts.score(0) < texts.score(1));
    }
}
