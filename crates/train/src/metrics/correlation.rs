//! Agreement of two series: Matthews' coefficient of labels (as scikit-learn), Pearson's and Spearman's of numbers (as
//! SciPy).

use super::Confusion;

/// Matthews' correlation coefficient for any number of labels (Gorodkin 2004), from -1 to 1; 0 where it is undefined.
pub fn matthews(confusion: &Confusion) -> f64 {
    let counts = confusion.counts();
    let (mut right, mut all, mut both, mut gold, mut given) = (0.0, 0.0, 0.0, 0.0, 0.0);
    for count in &counts {
        right += count.right as f64;
        all += count.gold as f64;
        both += count.gold as f64 * count.given as f64;
        gold += (count.gold as f64).powi(2);
        given += (count.given as f64).powi(2);
    }
    let below = (all * all - given) * (all * all - gold);
    if below == 0.0 { 0.0 } else { (right * all - both) / below.sqrt() }
}

/// Pearson's correlation, from -1 to 1; none for fewer than two values or where one series is constant.
///
/// # Panics
/// When the two differ in length.
pub fn pearson(x: &[f64], y: &[f64]) -> Option<f64> {
    assert_eq!(x.len(), y.len(), "pairs of numbers");
    if x.len() < 2 {
        return None;
    }
    let centred = |values: &[f64]| {
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let centred: Vec<f64> = values.iter().map(|value| value - mean).collect();
        let length = centred.iter().map(|value| value * value).sum::<f64>().sqrt();
        (centred, length)
    };
    let constant = |values: &[f64]| values.iter().all(|value| *value == values[0]);
    if constant(x) || constant(y) {
        return None;
    }
    let ((x, x_length), (y, y_length)) = (centred(x), centred(y));
    let product: f64 = x.iter().zip(&y).map(|(x, y)| (x / x_length) * (y / y_length)).sum();
    product.is_finite().then(|| product.clamp(-1.0, 1.0))
}

/// Spearman's rank correlation: Pearson's of the ranks, equal values sharing the mean of theirs.
///
/// # Panics
/// When the two differ in length.
pub fn spearman(x: &[f64], y: &[f64]) -> Option<f64> {
    pearson(&ranks(x), &ranks(y))
}

fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
    let mut ranks = vec![0.0; values.len()];
    for equal in order.chunk_by(|&a, &b| values[a] == values[b]) {
        let before = equal.first().map_or(0, |&first| order.partition_point(|&i| values[i] < values[first]));
        let rank = before as f64 + f64::midpoint(equal.len() as f64, 1.0);
        for &i in equal {
            ranks[i] = rank;
        }
    }
    ranks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_of_equal_values() {
        assert_eq!(ranks(&[3.0, 1.0, 3.0, 2.0]), [3.5, 1.0, 3.5, 2.0]);
        assert!((spearman(&[1.0, 2.0, 3.0], &[10.0, 100.0, 1000.0]).unwrap() - 1.0).abs() < 1e-12);
    }

    #[test]
    fn undefined_is_said() {
        assert_eq!(pearson(&[1.0, 1.0], &[1.0, 2.0]), None);
        assert_eq!(pearson(&[1.0], &[1.0]), None);
        assert_eq!(matthews(&Confusion::new(&[0, 1], &[0, 0], 2)), 0.0);
    }
}
