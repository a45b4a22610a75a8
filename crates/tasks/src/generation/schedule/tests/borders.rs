//! Inputs as they come: nobody waits for those before, little is held, and what is wrong with one is its own.

use super::*;

/// Ends that the table never says, so that lengths are what is asked for.
fn inputs_after(prompt: &[u32]) -> Common<'_> {
    Common { prompt, ends: &[], drawing: Vec::new(), seed: 3, draws: true }
}

/// A long text and three hundred short ones, with room for four of them beside it.
#[test]
fn short_texts_do_not_wait_for_a_long_one() {
    const SHORT: usize = 300;
    let model = Chain::new(0.1, 1.0);
    let prompt = [1, 2];
    let common = inputs_after(&prompt);
    let long = common.job(0, 400, None).room();
    let short = common.job(0, 3, None).room();
    assert_eq!((long.rows, short.rows), (402, 5));
    let room = Room { rows: long.rows + 4 * short.rows + 2, scores: usize::MAX };
    let begun = Mutex::new(BTreeMap::new());
    let mut number = 0;
    let mut jobs = |_| {
        number += 1;
        if number > SHORT + 1 {
            return Fed::End;
        }
        begun.lock().unwrap().insert(number - 1, model.steps.lock().unwrap().reads);
        Fed::Input(Ok(common.job(number - 1, if number == 1 { 400 } else { 3 }, None)))
    };
    let mut ends = BTreeMap::new();
    let mut most = 0;
    let mut done = |number: usize, found: Result<Vec<Spoken>>| {
        found.unwrap();
        ends.insert(number, model.steps.lock().unwrap().reads);
        most = most.max(begun.lock().unwrap().len() - ends.len());
        Ok(())
    };
    run(&model, &mut jobs, room, &mut Listener { said: None, done: &mut done, stop: None }).unwrap();
    assert_eq!(ends.len(), SHORT + 1);
    let last = ends.iter().filter(|(number, _)| **number > 0).map(|(_, end)| *end).max().unwrap();
    assert!(last < ends[&0], "every short text ends before the long one: {last} of {} steps", ends[&0]);
    let waited = (1..=SHORT).map(|number| ends[&number] - begun.lock().unwrap()[&number]).max().unwrap();
    // the one that has no room yet waits for a text of three tokens, and then says three
    assert!(waited <= 8, "{waited} steps");
    // the long one, four short ones, and the next in line
    assert!(most <= 6, "{most} were held");
    assert_eq!(model.steps.lock().unwrap().sequences, 5);
}

/// Texts that come while others are on their way begin at once, and nobody is asked to wait meanwhile.
#[test]
fn what_comes_later_joins() {
    let model = Chain::new(0.1, 1.0);
    let prompt = [1, 2];
    let common = inputs_after(&prompt);
    let mut asked = 0;
    let mut jobs = |alone: bool| {
        asked += 1;
        assert_eq!(alone, asked == 1, "asked for the {asked}. time");
        match asked {
            1 => Fed::Input(Ok(common.job(0, 30, None))),
            10 => Fed::Input(Ok(common.job(1, 2, None))),
            20.. => Fed::End,
            _ => Fed::Later,
        }
    };
    let order: Vec<usize> = ended(&model, &mut jobs, ALL).into_iter().map(|(number, _)| number).collect();
    assert_eq!(order, [1, 0]);
}

/// A model that guesses remembers the text too.
#[test]
fn what_a_draft_model_remembers_counts() {
    let (model, draft) = (Chain::new(0.3, 4.0), Chain::new(0.3, 4.0));
    let common = Common { prompt: &[1, 2], ends: &[], drawing: vec![], seed: 0, draws: false };
    let drafted: Box<dyn Draft + '_> = Box::new(DraftModel::new(&draft, 3, false));
    let looked: Box<dyn Draft + '_> = Box::new(Lookup { count: 3, ngram: 2 });
    let rows = |guesses| common.job(0, 10, guesses).room().rows;
    assert_eq!((rows(None), rows(Some(looked)), rows(Some(drafted))), (12, 12, 24));
    // two texts of 12 tokens, twice each: one after the other where there is room for one
    for (room, together) in [(24, 1), (48, 2)] {
        model.steps.lock().unwrap().sequences = 0;
        let mut numbers = 0..2;
        let mut jobs = |_| {
            let guesses = || Some(Box::new(DraftModel::new(&draft, 3, false)) as Box<dyn Draft + '_>);
            numbers.next().map(|number| Ok(common.job(number, 10, guesses()))).into()
        };
        assert_eq!(ended(&model, &mut jobs, Room { rows: room, scores: usize::MAX }).len(), 2);
        assert_eq!(model.steps.lock().unwrap().sequences, together);
    }
}

/// Guesses are read with as many rows of scores, which are bounded like what is remembered.
#[test]
fn scores_are_bounded_too() {
    let model = Chain::new(0.1, 1.0);
    let prompt = [0, 1, 0, 1, 0, 1];
    let common = inputs_after(&prompt);
    let lookup = || Some(Box::new(Lookup { count: 3, ngram: 1 }) as Box<dyn Draft>);
    assert_eq!(common.job(0, 20, lookup()).room().scores, 4);
    assert_eq!(common.job(0, 2, lookup()).room().scores, 2, "guesses go no further than the text");
    for (scores, sequences) in [(9, 2), (3, 1), (usize::MAX, 40)] {
        *model.steps.lock().unwrap() = Steps::default();
        let mut numbers = 0..40;
        let mut jobs = |_| numbers.next().map(|number| Ok(common.job(number, 20, lookup()))).into();
        let said = ended(&model, &mut jobs, Room { rows: usize::MAX, scores });
        let steps = *model.steps.lock().unwrap();
        assert_eq!((said.len(), steps.sequences), (40, sequences));
        assert!(steps.rows <= scores.max(4), "{} rows", steps.rows);
    }
    assert_eq!(Room::of(5, 250_112), Room { rows: 5, scores: 268 }, "a quarter of a gigabyte");
}

/// Whatever `usize` holds may be asked for.
#[test]
fn endless_lengths_are_counted() {
    let prompt = [0];
    let common = inputs_after(&prompt);
    let room = common.job(0, usize::MAX - 1, Some(Box::new(Lookup { count: usize::MAX, ngram: 1 }))).room();
    assert_eq!(room, Room { rows: usize::MAX, scores: usize::MAX - 1 });
    assert_eq!(room.and(room), ALL);
}

/// An input that doesn't fit, one whose scores are damaged, and one that may say nothing: each has its own error.
#[test]
fn an_error_is_its_own() {
    let model = Chain::new(0.1, 1.0);
    let (prompt, damaged) = ([1, 2], [1, DAMAGED]);
    let (common, broken) = (inputs_after(&prompt), inputs_after(&damaged));
    let silent = Common { drawing: vec![Box::new(Silence) as Box<dyn Process>], ..inputs_after(&prompt) };
    let alone = ended(&model, &mut once(common.job(0, 9, None)), ALL).remove(0).1.unwrap();
    for rows in [1, 30, usize::MAX] {
        let mut number = 0;
        let mut jobs = |_| {
            number += 1;
            match number {
                1 | 5 => Fed::Input(Ok(common.job(0, 9, None))),
                2 => Fed::Input(Err(Error::Input("too long".into()))),
                3 => Fed::Input(Ok(broken.job(2, 9, None))),
                4 => Fed::Input(Ok(silent.job(3, 9, None))),
                _ => Fed::End,
            }
        };
        let mut all = ended(&model, &mut jobs, Room { rows, scores: usize::MAX });
        all.sort_by_key(|&(number, _)| number);
        let said: Vec<String> = all
            .into_iter()
            .map(|(_, said)| said.map_or_else(|error| error.to_string(), |said| format!("{said:?}")))
            .collect();
        assert_eq!(said[0], format!("{alone:?}"));
        assert_eq!(said[0], said[4]);
        assert_eq!(said[1], "too long");
        assert!(said[2].contains("not finite"), "{}", said[2]);
        assert!(said[3].contains("token 3 of the answer to input 3") && said[3].contains("Silence"), "{}", said[3]);
    }
}

fn once<'a>(job: Job<'a>) -> impl FnMut(bool) -> Fed<Result<Job<'a>>> {
    let mut job = Some(Ok(job));
    move |_| job.take().into()
}

/// Says nothing after two tokens.
#[derive(Debug)]
struct Silence;

impl Process for Silence {
    fn process(&self, context: &Context<'_>, scores: &mut [f32]) {
        if context.said() == 2 {
            scores.fill(f32::NEG_INFINITY);
        }
    }
}
