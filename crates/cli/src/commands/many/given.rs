//! Answers as they come, in any order, and as they are given on: in the order of their inputs. What was given on is kept when
//! a run is stopped.

use ptm_tasks::{Error, Result};

/// Where the answers of one stretch of inputs go.
pub struct Given<'a, A> {
    /// What has come and waits for those before it.
    waiting: Vec<Option<Result<A>>>,
    /// So many were given on.
    next: usize,
    came: usize,
    to: &'a mut dyn FnMut(Vec<Result<A>>) -> anyhow::Result<()>,
    progress: &'a mut dyn FnMut(usize),
    failed: Option<anyhow::Error>,
}

impl<'a, A> Given<'a, A> {
    /// Of `count` inputs; `to` gets answers in order, `progress` hears how many have come.
    pub fn new(
        count: usize,
        to: &'a mut dyn FnMut(Vec<Result<A>>) -> anyhow::Result<()>,
        progress: &'a mut dyn FnMut(usize),
    ) -> Self {
        let waiting = (0..count).map(|_| None).collect();
        Self { waiting, next: 0, came: 0, to, progress, failed: None }
    }

    /// The answer to the input at `place`.
    ///
    /// # Errors
    /// [`Error::Stopped`] when answers cannot be given on, so that no more are computed.
    pub fn put(&mut self, place: usize, answer: Result<A>) -> Result<()> {
        self.came += usize::from(self.waiting[place].is_none());
        self.waiting[place] = Some(answer);
        (self.progress)(self.came);
        self.give_on()
    }

    /// All answers, in order.
    ///
    /// # Errors
    /// As [`Self::put`].
    pub fn all(&mut self, answers: Vec<Result<A>>) -> Result<()> {
        for (place, answer) in self.waiting.iter_mut().zip(answers) {
            *place = Some(answer);
        }
        self.give_on()
    }

    /// So many answers are computed, though none of them has come.
    pub fn computed(&mut self, count: usize) {
        (self.progress)(count);
    }

    /// Whether answers could not be given on, and why.
    pub fn failure(self) -> Option<anyhow::Error> {
        self.failed
    }

    fn give_on(&mut self) -> Result<()> {
        let ready: Vec<Result<A>> = self.waiting[self.next..].iter_mut().map_while(Option::take).collect();
        if ready.is_empty() {
            return Ok(());
        }
        self.next += ready.len();
        (self.to)(ready).map_err(|error| {
            self.failed = Some(error);
            Error::Stopped
        })
    }
}

/// Answers all inputs together; where that fails, halves of those without an answer, until one stands alone and the error is
/// its own.
///
/// # Errors
/// [`Error::Stopped`].
pub fn singled_out<I, A>(
    inputs: &[I],
    given: &mut Given<'_, A>,
    answer: &mut dyn FnMut(&[&I], &mut dyn FnMut(usize, A) -> Result<()>) -> Result<()>,
) -> Result<()> {
    let mut left: Vec<Vec<usize>> = vec![(0..inputs.len()).collect()];
    while let Some(mut places) = left.pop() {
        let some: Vec<&I> = places.iter().map(|&place| &inputs[place]).collect();
        let mut answered = vec![false; places.len()];
        let ended = answer(&some, &mut |one, answer| {
            answered[one] = true;
            given.put(places[one], Ok(answer))
        });
        match ended {
            Ok(()) => {}
            Err(Error::Stopped) => return Err(Error::Stopped),
            Err(error) => {
                let mut is_answered = answered.into_iter();
                places.retain(|_| !is_answered.next().unwrap_or(false));
                match places[..] {
                    // nothing is left to blame
                    [] => return Err(error),
                    [place] => given.put(place, Err(error))?,
                    _ => {
                        let second = places.split_off(places.len() / 2);
                        left.extend([second, places]);
                    }
                }
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Doubles numbers, the last first; a number below zero is an error, which comes after `before` answers.
    fn double(inputs: &[i32], before: usize) -> Vec<String> {
        let (mut said, mut steps) = (Vec::new(), Vec::new());
        let mut to = |answers: Vec<Result<i32>>| {
            said.extend(answers.into_iter().map(|x| x.map_or_else(|e| e.to_string(), |x| x.to_string())));
            Ok(())
        };
        let mut progress = |done| steps.push(done);
        let mut given = Given::new(inputs.len(), &mut to, &mut progress);
        singled_out(inputs, &mut given, &mut |some, put| {
            let wrong = some.iter().find(|&&&x| x < 0);
            for (count, (place, &&x)) in some.iter().enumerate().rev().enumerate() {
                match wrong {
                    Some(wrong) if count >= before || x < 0 => {
                        return Err(Error::Input(format!("{wrong} is below zero")));
                    }
                    _ => put(place, 2 * x)?,
                }
            }
            Ok(())
        })
        .unwrap();
        assert!(given.failure().is_none());
        assert_eq!(steps, (1..=inputs.len()).collect::<Vec<_>>());
        said
    }

    #[test]
    fn an_input_that_cannot_be_answered_stands_alone() {
        for before in 0..3 {
            assert_eq!(double(&[1, 2, -3, 4, -5], before), ["2", "4", "-3 is below zero", "8", "-5 is below zero"]);
            assert_eq!(double(&[-1], before), ["-1 is below zero"]);
            assert_eq!(double(&[1, 2, 3], before), ["2", "4", "6"]);
        }
    }

    #[test]
    fn answers_are_given_on_in_order_as_soon_as_possible() {
        let mut said = Vec::new();
        let mut to = |answers: Vec<Result<char>>| {
            said.push(answers.into_iter().flatten().collect::<String>());
            Ok(())
        };
        let mut progress = |_| {};
        let mut given = Given::new(4, &mut to, &mut progress);
        for (place, answer) in [(1, 'b'), (0, 'a'), (2, 'c')] {
            given.put(place, Ok(answer)).unwrap();
        }
        assert_eq!(said, ["ab", "c"]);
    }

    #[test]
    fn nothing_is_computed_for_a_reader_who_has_gone() {
        let mut to = |_: Vec<Result<i32>>| Err(anyhow::anyhow!("gone"));
        let mut progress = |_| {};
        let mut given = Given::new(2, &mut to, &mut progress);
        let ended = singled_out(&[1, 2], &mut given, &mut |some, put| put(0, *some[0]));
        assert!(matches!(ended, Err(Error::Stopped)));
        assert_eq!(given.failure().unwrap().to_string(), "gone");
    }
}
