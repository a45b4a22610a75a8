//! Parts of a run with a learning rate that goes up and comes down by itself, as in the second stage of LAMB's mixed batches
//! (You et al. 2020, §4.1, "re-warm-up").

use crate::schedule::Schedule;

/// A part of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Course {
    /// The step after which it ends.
    pub until: u64,
    /// Its own peak.
    pub lr: Option<f32>,
    /// Its own warm-up: steps, or below 1 a share of its steps.
    pub warmup: Option<f64>,
}

/// The parts of a run in their order; after the last one nothing differs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Courses(pub Vec<Course>);

impl Courses {
    /// What the peak `lr` is multiplied by after `step` of `total` steps. A part with a peak or a warm-up of its own goes
    /// through the whole schedule, and so does what is before it and behind it.
    pub fn factor(&self, schedule: &Schedule, lr: Option<f32>, step: f64, total: f64) -> f64 {
        let between = |schedule: &Schedule, begin: f64, end: f64| schedule.factor(step - begin, end.min(total) - begin);
        // where the part in hand begins, and all that is before it without a course of its own
        let (mut from, mut begin) = (0.0, 0.0);
        for course in &self.0 {
            let until = course.until as f64;
            if course.lr.is_some() || course.warmup.is_some() {
                if step < from {
                    return between(schedule, begin, from);
                }
                if step < until {
                    let own = course.warmup.and_then(|warmup| schedule.with_warmup(warmup)).unwrap_or(*schedule);
                    let share = course.lr.zip(lr).map_or(1.0, |(own, lr)| f64::from(own) / f64::from(lr));
                    return share * between(&own, from, until);
                }
                begin = until;
            }
            from = until;
        }
        between(schedule, begin, total)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_warm_up_again() {
        let linear = Schedule::Linear { warmup: 0.2 };
        let factor = |courses: &Courses, step: f64| courses.factor(&linear, Some(2.0), step, 100.0);
        let none = Courses::default();
        let plain = Courses(vec![Course { until: 50, ..Course::default() }]);
        for step in 0..100 {
            let step = f64::from(step);
            assert_eq!(factor(&none, step), linear.factor(step, 100.0));
            assert_eq!(factor(&plain, step), linear.factor(step, 100.0), "a part without a course of its own");
        }
        // by hand: up to 1.5 times the peak in 32 of 80 steps, down to 0 by the last, up in 4 of 20, and down
        let first = Course { until: 80, lr: Some(3.0), warmup: Some(0.4) };
        let two = Courses(vec![first]);
        for (step, expected) in [
            (0.0, 0.0),
            (16.0, 0.75),
            (32.0, 1.5),
            (56.0, 0.75),
            (80.0, 0.0),
            (82.0, 0.5),
            (84.0, 1.0),
            (92.0, 0.5),
            (100.0, 0.0),
        ] {
            assert!((factor(&two, step) - expected).abs() < 1e-12, "{step}: {}", factor(&two, step));
        }
        // in the middle: 20 steps before it go through their own schedule
        let three = Courses(vec![Course { until: 20, ..Course::default() }, first]);
        for (step, expected) in
            [(2.0, 0.5), (4.0, 1.0), (12.0, 0.5), (20.0, 0.0), (32.0, 0.75), (44.0, 1.5), (80.0, 0.0)]
        {
            assert!((factor(&three, step) - expected).abs() < 1e-12, "{step}: {}", factor(&three, step));
        }
    }
}
