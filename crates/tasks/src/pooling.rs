//! Token vectors to one vector a text, in the ways of sentence-transformers' pooling module.

use serde_json::{Map, Value};

/// One way of pooling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pool {
    Cls,
    Max,
    Mean,
    MeanSqrtLength,
    /// Later tokens weigh more: 1, 2, 3, …
    WeightedMean,
    LastToken,
}

/// The ways whose results are concatenated, and whether a prompt's tokens take part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pooling {
    pub(crate) ways: Vec<Pool>,
    pub(crate) include_prompt: bool,
}

impl Default for Pooling {
    fn default() -> Self {
        Self { ways: vec![Pool::Mean], include_prompt: true }
    }
}

impl Pooling {
    /// Reads `1_Pooling/config.json` in its old spelling (a flag a way) or its new one (`pooling_mode`).
    pub(crate) fn from_json(json: &Map<String, Value>) -> Result<Self, String> {
        const FLAGS: [(&str, Pool); 6] = [
            ("pooling_mode_cls_token", Pool::Cls),
            ("pooling_mode_max_tokens", Pool::Max),
            ("pooling_mode_mean_tokens", Pool::Mean),
            ("pooling_mode_mean_sqrt_len_tokens", Pool::MeanSqrtLength),
            ("pooling_mode_weightedmean_tokens", Pool::WeightedMean),
            ("pooling_mode_lasttoken", Pool::LastToken),
        ];
        let by_name = |value: &Value| match value.as_str() {
            Some("cls") => Ok(Pool::Cls),
            Some("max") => Ok(Pool::Max),
            Some("mean") => Ok(Pool::Mean),
            Some("mean_sqrt_len_tokens") => Ok(Pool::MeanSqrtLength),
            Some("weightedmean") => Ok(Pool::WeightedMean),
            Some("lasttoken") => Ok(Pool::LastToken),
            _ => Err(format!("pooling_mode {value} is unknown")),
        };
        let ways = match json.get("pooling_mode") {
            Some(Value::Array(names)) => names.iter().map(by_name).collect::<Result<Vec<_>, _>>()?,
            Some(name) if !name.is_null() => vec![by_name(name)?],
            _ => {
                let set = |flag: &str| json.get(flag).and_then(Value::as_bool).unwrap_or(false);
                FLAGS.iter().filter(|(flag, _)| set(flag)).map(|(_, pool)| *pool).collect()
            }
        };
        if ways.is_empty() {
            return Err("no pooling mode is set".into());
        }
        let include_prompt = json.get("include_prompt").and_then(Value::as_bool).unwrap_or(true);
        Ok(Self { ways, include_prompt })
    }

    /// Whether first rows are all that is read.
    pub(crate) fn needs_first_only(&self) -> bool {
        self.ways == [Pool::Cls] && self.include_prompt
    }

    /// Pools the rows of one text, of which the first `skip` don't count.
    ///
    /// # Shapes
    /// `rows` `[n, width]`, n > skip → `[ways · width]`.
    pub(crate) fn pool(&self, rows: &[f32], width: usize, skip: usize) -> Vec<f32> {
        let counted = &rows[skip * width..];
        let count = counted.len() / width;
        let weighted = |weight: &dyn Fn(usize) -> f32, divisor: f32| {
            let mut sum = vec![0.0; width];
            for (i, row) in counted.chunks_exact(width).enumerate() {
                let weight = weight(i);
                sum.iter_mut().zip(row).for_each(|(s, x)| *s += weight * x);
            }
            for s in &mut sum {
                *s /= divisor;
            }
            sum
        };
        let mut pooled = Vec::with_capacity(self.ways.len() * width);
        for way in &self.ways {
            pooled.extend(match way {
                Pool::Cls => counted[..width].to_vec(),
                Pool::LastToken => counted[(count - 1) * width..].to_vec(),
                Pool::Mean => weighted(&|_| 1.0, count as f32),
                Pool::MeanSqrtLength => weighted(&|_| 1.0, (count as f32).sqrt()),
                Pool::WeightedMean => {
                    let total: usize = (skip + 1..=skip + count).sum();
                    weighted(&|i| (skip + i + 1) as f32, total as f32)
                }
                Pool::Max => counted.chunks_exact(width).fold(vec![f32::NEG_INFINITY; width], |mut max, row| {
                    max.iter_mut().zip(row).for_each(|(m, x)| *m = m.max(*x));
                    max
                }),
            });
        }
        pooled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(way: Pool, skip: usize) -> Vec<f32> {
        let pooling = Pooling { ways: vec![way], include_prompt: true };
        pooling.pool(&[1.0, -1.0, 3.0, 5.0, 2.0, 0.0], 2, skip)
    }

    #[test]
    fn every_way_by_hand() {
        assert_eq!(pool(Pool::Cls, 0), [1.0, -1.0]);
        assert_eq!(pool(Pool::Cls, 1), [3.0, 5.0]);
        assert_eq!(pool(Pool::LastToken, 0), [2.0, 0.0]);
        assert_eq!(pool(Pool::Max, 0), [3.0, 5.0]);
        assert_eq!(pool(Pool::Mean, 0), [2.0, 4.0 / 3.0]);
        assert_eq!(pool(Pool::Mean, 1), [2.5, 2.5]);
        assert_eq!(pool(Pool::WeightedMean, 0), [(1.0 + 6.0 + 6.0) / 6.0, 9.0 / 6.0]);
        assert_eq!(pool(Pool::MeanSqrtLength, 0), [6.0 / 3.0_f32.sqrt(), 4.0 / 3.0_f32.sqrt()]);
    }

    #[test]
    fn both_spellings_are_read() {
        let read = |text: &str| Pooling::from_json(&serde_json::from_str(text).unwrap());
        let old = read(r#"{"pooling_mode_cls_token":true,"pooling_mode_mean_tokens":true}"#).unwrap();
        assert_eq!(old.ways, [Pool::Cls, Pool::Mean]);
        let new = read(r#"{"pooling_mode":["max","mean"],"include_prompt":false}"#).unwrap();
        assert_eq!((new.ways, new.include_prompt), (vec![Pool::Max, Pool::Mean], false));
        assert!(read("{}").is_err());
        assert!(read(r#"{"pooling_mode":"median"}"#).is_err());
    }
}
