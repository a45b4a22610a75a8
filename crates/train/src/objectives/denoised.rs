//! What a text becomes for an encoder-decoder: what it is told, and what it is to say.

/// One example of an encoder-decoder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Denoised {
    /// What the encoder reads.
    pub source: Vec<u32>,
    /// What the decoder says; it reads the same, one place later.
    pub target: Vec<u32>,
    /// The places of the source, ascending, whose token is not the text's, or stands for more or less than one.
    pub corrupted: Vec<usize>,
}

impl Denoised {
    /// Source and target between `bos`, where there is one, and `eos`.
    pub(crate) fn ended(mut self, bos: Option<u32>, eos: u32) -> Self {
        if let Some(bos) = bos {
            self.source.insert(0, bos);
            self.target.insert(0, bos);
            self.corrupted.iter_mut().for_each(|place| *place += 1);
        }
        self.source.push(eos);
        self.target.push(eos);
        self
    }

    /// What the decoder reads: the target, one place later, behind `start`.
    pub fn shifted(&self, start: u32) -> Vec<u32> {
        let rest = self.target.split_last().map_or(&[][..], |(_, rest)| rest);
        std::iter::once(start).chain(rest.iter().copied()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_move_the_places() {
        let made = Denoised { source: vec![5, 9], target: vec![5, 6], corrupted: vec![1] };
        assert_eq!(made.clone().ended(None, 2).corrupted, [1]);
        let made = made.ended(Some(0), 2);
        let want = Denoised { source: vec![0, 5, 9, 2], target: vec![0, 5, 6, 2], corrupted: vec![2] };
        assert_eq!(made, want);
        assert_eq!(made.shifted(2), [2, 0, 5, 6]);
    }
}
