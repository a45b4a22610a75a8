//! Text that is drawn has the same distribution with guesses and without: all pairs of neighbours, and the whole.

use super::*;

const TEXTS: usize = 24_000;
/// Tokens of each.
const LONG: usize = 12;
/// Of the likeliest tokens these many are drawn from: the model's are not the guesser's.
const LIKELY: usize = 3;
/// It repeats itself, so that looking up finds something.
const PROMPT: [u32; 7] = [0, 1, 2, 3, 0, 1, 2];

/// Who guesses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Guesses {
    None,
    Looked,
    Drafted,
}

fn drawn(model: &Chain, draft: &Chain, guesses: Guesses, seed: u64) -> Vec<Vec<u32>> {
    let common = Common {
        prompt: &PROMPT,
        ends: &[],
        drawing: vec![Box::new(TopK(LIKELY)) as Box<dyn Process>],
        seed,
        draws: true,
    };
    let mut numbers = 0..TEXTS;
    let mut jobs = |_| {
        let job = |number| {
            let draft: Option<Box<dyn Draft + '_>> = match guesses {
                Guesses::None => None,
                Guesses::Looked => Some(Box::new(Lookup { count: 5, ngram: 2 })),
                Guesses::Drafted => Some(Box::new(DraftModel::new(draft, 5, true))),
            };
            Ok(common.job(number, LONG, draft))
        };
        numbers.next().map(job).into()
    };
    ended(model, &mut jobs, ALL).into_iter().map(|(_, said)| said.unwrap()).collect()
}

/// The exact distribution of pairs at each place, and the mean and variance of a text's log-probability.
struct Exact {
    pairs: Vec<[f64; V * V]>,
    mean: f64,
    variance: f64,
}

fn exact(model: &Chain) -> Exact {
    let states = V.pow(SEEN);
    // of each state: its probability, and of the log-probability so far the sum and the sum of squares, so weighted
    let mut at = vec![(0.0, 0.0, 0.0); states];
    at[Chain::row(&PROMPT)] = (1.0, 0.0, 0.0);
    let mut pairs = Vec::new();
    for place in 0..LONG {
        let mut next = vec![(0.0, 0.0, 0.0); states];
        let mut counts = [0.0; V * V];
        for (state, &(p, sum, squares)) in at.iter().enumerate().filter(|(_, own)| own.0 > 0.0) {
            for (token, share) in model.probabilities(state, LIKELY).into_iter().enumerate().filter(|own| own.1 > 0.0) {
                let log = share.ln();
                let own = &mut next[(state * V + token) % states];
                own.0 += p * share;
                own.1 += share * (sum + p * log);
                own.2 += share * (squares + 2.0 * log * sum + p * log * log);
                counts[state % V * V + token] += p * share;
            }
        }
        if place > 0 {
            pairs.push(counts);
        }
        at = next;
    }
    let total = |of: fn(&(f64, f64, f64)) -> f64| at.iter().map(of).sum::<f64>();
    let mean = total(|own| own.1);
    Exact { pairs, mean, variance: total(|own| own.2) - mean * mean }
}

/// How far `texts` are from `exact`, in deviations: of chi-square over the pairs at each place, of the mean log-probability.
fn distances(model: &Chain, exact: &Exact, texts: &[Vec<u32>]) -> Vec<f64> {
    let count = texts.len() as f64;
    let of_pairs = exact.pairs.iter().enumerate().map(|(place, expected)| {
        let mut seen = [0.0; V * V];
        texts.iter().for_each(|text| seen[text[place] as usize * V + text[place + 1] as usize] += 1.0);
        let possible = || seen.iter().zip(expected).filter(|(_, expected)| **expected > 0.0);
        assert!(seen.iter().zip(expected).all(|(&seen, &expected)| expected > 0.0 || seen == 0.0), "impossible pairs");
        let chi: f64 = possible().map(|(seen, p)| (seen - p * count).powi(2) / (p * count)).sum();
        let degrees = possible().count() as f64 - 1.0;
        (chi - degrees) / (2.0 * degrees).sqrt()
    });
    let log = |text: &Vec<u32>| -> f64 {
        let mut state = PROMPT.to_vec();
        let one = |&token: &u32| {
            let share = model.probabilities(Chain::row(&state), LIKELY)[token as usize];
            state.push(token);
            share.ln()
        };
        text.iter().map(one).sum()
    };
    let mean = texts.iter().map(log).sum::<f64>() / count;
    let whole = (mean - exact.mean).abs() / (exact.variance / count).sqrt();
    of_pairs.chain([whole]).collect()
}

#[test]
fn the_distribution_stays_that_of_the_model() {
    let (model, draft) = (Chain::new(0.3, 1.6), Chain::new(0.9, 1.4));
    let exact = exact(&model);
    let sums: Vec<f64> = exact.pairs.iter().map(|pairs| pairs.iter().sum()).collect();
    assert!(sums.len() == LONG - 1 && sums.iter().all(|sum| (sum - 1.0).abs() < 1e-6), "{sums:?}");
    for guesses in [Guesses::None, Guesses::Looked, Guesses::Drafted] {
        *model.steps.lock().unwrap() = Steps::default();
        let far = distances(&model, &exact, &drawn(&model, &draft, guesses, 11));
        assert!(far.iter().all(|far| *far < 5.0), "{guesses:?}: {far:?}");
        // what was guessed was read along
        let steps = *model.steps.lock().unwrap();
        assert_eq!(steps.rows > TEXTS, guesses != Guesses::None, "{guesses:?}");
    }
    // a model that is a little less sure of the same would be seen
    let other = Chain { scores: model.scores.iter().map(|score| score * 0.9).collect(), steps: Mutex::default() };
    let far = distances(&model, &exact, &drawn(&other, &draft, Guesses::None, 11));
    assert!(far.iter().filter(|far| **far > 5.0).count() > LONG / 2, "the test would see a difference: {far:?}");
}

/// One text, token for token: what is guessed changes nothing of what is likeliest.
#[test]
fn the_likeliest_tokens_stay_what_they_are() {
    let (model, near) = (Chain::new(0.3, 1.6), Chain::new(0.35, 1.6));
    for prompt in 0..V.pow(SEEN) as u32 {
        let prompt = [prompt / 16, prompt / 4 % 4, prompt % 4];
        let common = Common { prompt: &prompt, ends: &[], drawing: Vec::new(), seed: 0, draws: false };
        let said = |draft: Option<Box<dyn Draft + '_>>| {
            let mut job = Some(Ok(common.job(0, 20, draft)));
            let (_, said) = ended(&model, &mut |_| job.take().into(), ALL).remove(0);
            said.unwrap()
        };
        let plain = said(None);
        let mut state = prompt.to_vec();
        for &token in &plain {
            let shares = model.probabilities(Chain::row(&state), V);
            assert!(shares.iter().all(|share| *share <= shares[token as usize]), "{plain:?}");
            state.push(token);
        }
        assert_eq!(plain, said(Some(Box::new(Lookup { count: 5, ngram: 3 }))));
        assert_eq!(plain, said(Some(Box::new(DraftModel::new(&near, 5, false)))));
    }
}
