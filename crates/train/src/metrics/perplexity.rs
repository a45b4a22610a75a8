//! Perplexity: e to the mean loss of the predicted tokens.

/// Losses added up over batches.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Perplexity {
    loss: f64,
    tokens: u64,
}

impl Perplexity {
    /// Adds the sum of the losses of `tokens` tokens, in nats.
    pub fn add(&mut self, loss: f64, tokens: u64) {
        self.loss += loss;
        self.tokens += tokens;
    }

    /// The mean loss; none without a token.
    pub fn loss(&self) -> Option<f64> {
        (self.tokens > 0).then(|| self.loss / self.tokens as f64)
    }

    /// The perplexity; none without a token.
    pub fn value(&self) -> Option<f64> {
        self.loss().map(f64::exp)
    }
}
