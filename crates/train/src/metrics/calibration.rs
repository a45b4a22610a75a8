//! Whether confidence means what it says: expected calibration error with bins of equal width (On Calibration of
//! Modern Neural Networks, Guo et al. 2017), and the points of a reliability curve.

/// Predictions of about the same confidence.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Bin {
    /// How many they are.
    pub count: u64,
    /// Their mean confidence.
    pub confidence: f64,
    /// The share that is right.
    pub accuracy: f64,
}

/// Bins as the paper uses them.
pub const BINS: usize = 15;

/// Sorts predictions by confidence into bins `(0, 1/n], (1/n, 2/n], …`.
///
/// # Panics
/// When the two differ in length, or there is no bin.
pub fn reliability(confidences: &[f64], right: &[bool], bins: usize) -> Vec<Bin> {
    assert_eq!(confidences.len(), right.len(), "a verdict for each");
    assert!(bins > 0, "one bin at least");
    let mut all = vec![Bin::default(); bins];
    for (&confidence, &right) in confidences.iter().zip(right) {
        let at = (confidence * bins as f64).ceil() as usize;
        let bin = &mut all[at.clamp(1, bins) - 1];
        bin.count += 1;
        bin.confidence += confidence;
        bin.accuracy += f64::from(u8::from(right));
    }
    for bin in all.iter_mut().filter(|bin| bin.count > 0) {
        bin.confidence /= bin.count as f64;
        bin.accuracy /= bin.count as f64;
    }
    all
}

/// The mean distance of confidence and accuracy, by the number of predictions in a bin; 0 is perfect.
pub fn expected_error(bins: &[Bin]) -> f64 {
    let total: u64 = bins.iter().map(|bin| bin.count).sum();
    let sum: f64 = bins.iter().map(|bin| bin.count as f64 * (bin.confidence - bin.accuracy).abs()).sum();
    super::ratio(sum, total as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edges() {
        let bins = reliability(&[0.0, 0.5, 0.500001, 1.0], &[false, true, true, true], 2);
        assert_eq!((bins[0].count, bins[1].count), (2, 2));
        assert!((expected_error(&bins) - (0.5 * 0.25 + 0.5 * 0.2499995)).abs() < 1e-9);
        assert_eq!(expected_error(&reliability(&[], &[], 5)), 0.0);
    }
}
