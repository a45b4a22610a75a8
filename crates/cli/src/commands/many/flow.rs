//! Lines that are answered as they come, new ones taking the place of those that have ended until there are no more: no line
//! waits for the end of a block. Answers are given on in order, so that what has ended waits for those before it; only so
//! many lines are held at once.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError, sync_channel};
use std::time::Duration;

use ptm_tasks::Error;
use ptm_tasks::generation::Fed;
use serde::Serialize;

use super::{AnswerFile, Given, Many, To, at};
use crate::failure::Stopped;
use crate::input::{PIECE_BYTES, Place, Record, Stream};
use crate::progress::Progress;
use crate::stop;

/// Answers inputs as they come; hears whether to stop, and gives on the answer to an input by its place.
pub type Flow<'f, I, A> = dyn Fn(
        &mut dyn FnMut(bool) -> Fed<I>,
        &'static AtomicBool,
        &mut dyn FnMut(usize, ptm_tasks::Result<A>) -> ptm_tasks::Result<()>,
    ) -> ptm_tasks::Result<()>
    + 'f;

/// Answers `inputs` through `flow`.
pub fn through<I: Clone, A>(
    flow: &Flow<'_, I, A>,
    inputs: &[I],
    stop: &'static AtomicBool,
    given: &mut Given<'_, A>,
) -> ptm_tasks::Result<()> {
    let mut inputs = inputs.iter().cloned();
    flow(&mut |_| inputs.next().into(), stop, &mut |place, answer| given.put(place, answer))
}

/// How long to wait for a line before looking whether to stop.
const A_WHILE: Duration = Duration::from_millis(50);

type Piece = anyhow::Result<Vec<anyhow::Result<Record>>>;

impl<I: Clone, A: Serialize> Many<'_, I, A> {
    /// Answers the lines of `stream` in their order, through `flow`.
    ///
    /// # Errors
    /// When there is no input, some inputs could not be answered, reading or writing fails, or Ctrl-C was pressed.
    pub fn flowing(&self, stream: Stream, flow: &Flow<'_, I, A>) -> anyhow::Result<()> {
        let place = To::new(AnswerFile::of(self.keep, &self.stream.given)?);
        let skip = place.file.as_ref().map_or(0, |file| file.held);
        let progress = self.progress(&stream, &place);
        let window = RefCell::new(Window {
            many: self,
            lines: read(stream),
            piece: VecDeque::new(),
            skip,
            seen: 0,
            held: VecDeque::new(),
            bytes: 0,
            open: HashMap::new(),
            begun: 0,
            place,
            progress,
            failure: None,
        });
        let ended = stop::computing(|stop| {
            let mut next = |alone: bool| window.borrow_mut().next(alone);
            let mut put = |place, answer| window.borrow_mut().put(place, answer);
            Ok(flow(&mut next, stop, &mut put))
        });
        let Window { mut place, seen, failure, progress, .. } = window.into_inner();
        drop(progress);
        let ended = match (failure, ended) {
            (Some(error), _) | (None, Err(error)) => Err(error),
            (None, Ok(Err(Error::Stopped))) => Err(Stopped.into()),
            (None, Ok(ended)) => ended.map_err(Into::into),
        };
        ended.inspect_err(|error| place.stopped(error, self.quiet))?;
        self.end(seen, &mut place)
    }
}

/// Reads ahead by a piece while others are answered.
fn read(mut stream: Stream) -> Receiver<Piece> {
    let (to, from) = sync_channel(1);
    std::thread::spawn(move || {
        while let Some(piece) = stream.lines().transpose() {
            let failed = piece.is_err();
            if to.send(piece).is_err() || failed {
                return;
            }
        }
    });
    from
}

/// The lines from the first that was not given on to the last that was begun.
struct Window<'w, 'm, I, A> {
    many: &'w Many<'m, I, A>,
    lines: Receiver<Piece>,
    /// What was read and not begun.
    piece: VecDeque<anyhow::Result<Record>>,
    /// So many lines were answered in an earlier run.
    skip: usize,
    /// So many lines came.
    seen: usize,
    held: VecDeque<Held<I, A>>,
    bytes: usize,
    /// Where in the stream the inputs stand that are being answered.
    open: HashMap<usize, usize>,
    /// So many inputs were begun.
    begun: usize,
    place: To<A>,
    progress: Progress,
    /// What went wrong beside the inputs.
    failure: Option<anyhow::Error>,
}

/// A line that was begun.
struct Held<I, A> {
    bytes: usize,
    line: Line<I, A>,
}

enum Line<I, A> {
    Open(I, Place),
    Ended(I, anyhow::Result<A>),
    Wrong(anyhow::Error),
}

impl<I: Clone, A: Serialize> Window<'_, '_, I, A> {
    /// The next input, if one may begin; waits a while for one where there is nothing else to do.
    fn next(&mut self, alone: bool) -> Fed<I> {
        while self.failure.is_none() {
            if self.held.len() >= self.many.together || self.bytes >= PIECE_BYTES {
                return Fed::Later;
            }
            let Some(record) = self.piece.pop_front() else {
                let piece = if alone {
                    self.lines.recv_timeout(A_WHILE).map_err(|error| error == RecvTimeoutError::Timeout)
                } else {
                    self.lines.try_recv().map_err(|error| error == TryRecvError::Empty)
                };
                match piece {
                    Ok(Ok(piece)) => self.piece = piece.into(),
                    Ok(Err(error)) => self.failure = Some(error),
                    Err(true) => return Fed::Later,
                    Err(false) => return Fed::End,
                }
                continue;
            };
            if let Some(Err(error)) = self.place.file.as_mut().map(|file| file.comes(&record)) {
                self.failure = Some(error);
                continue;
            }
            let number = self.seen;
            self.seen += 1;
            if number < self.skip {
                continue;
            }
            let bytes = record.as_ref().map_or(0, Record::size);
            self.bytes += bytes;
            let read = record.and_then(|record| {
                let place = record.place.clone();
                Ok(((self.many.read)(number as u64, record)?, place))
            });
            match read {
                Ok((input, place)) => {
                    self.held.push_back(Held { bytes, line: Line::Open(input.clone(), place) });
                    self.open.insert(self.begun, number);
                    self.begun += 1;
                    return Fed::Input(input);
                }
                Err(error) => {
                    self.held.push_back(Held { bytes, line: Line::Wrong(error) });
                    // that it can't be given on is heard at the end
                    let _ = self.give_on();
                }
            }
        }
        Fed::End
    }

    /// The answer to the input that was begun as number `place`.
    fn put(&mut self, place: usize, answer: ptm_tasks::Result<A>) -> ptm_tasks::Result<()> {
        let first = self.seen - self.held.len();
        let Some(number) = self.open.remove(&place) else { return Ok(()) };
        let line = &mut self.held[number - first].line;
        if let Line::Open(input, place) = line {
            *line = Line::Ended(input.clone(), answer.map_err(|error| at(error, place)));
        }
        self.give_on()
    }

    /// Gives on what has ended and has nothing open before it.
    fn give_on(&mut self) -> ptm_tasks::Result<()> {
        let mut given = Ok(());
        while given.is_ok() && self.held.front().is_some_and(|held| !matches!(held.line, Line::Open(..))) {
            let Some(Held { bytes, line }) = self.held.pop_front() else { break };
            self.bytes -= bytes;
            given = match line {
                Line::Ended(input, answer) => self.many.give(answer.map(|answer| (&input, answer)), &mut self.place),
                Line::Wrong(error) => self.many.give(Err(error), &mut self.place),
                Line::Open(..) => Ok(()),
            };
        }
        self.progress.at((self.seen - self.held.len()) as u64);
        given.and_then(|()| self.place.flush()).map_err(|error| {
            self.failure = Some(error);
            Error::Stopped
        })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::args::{Given, KeepArgs, StreamArgs};

    /// A flow that answers the newest input first, once no more come for a while.
    struct Lazy {
        /// The most inputs that waited at once.
        most: usize,
        fed: usize,
    }

    impl Lazy {
        fn run(
            &mut self,
            next: &mut dyn FnMut(bool) -> Fed<String>,
            put: &mut dyn FnMut(usize, ptm_tasks::Result<String>) -> ptm_tasks::Result<()>,
        ) -> ptm_tasks::Result<()> {
            let mut waiting: Vec<(usize, String)> = Vec::new();
            let mut asked_in_vain = 0;
            loop {
                let fed = next(waiting.is_empty());
                let is_over = fed == Fed::End;
                match fed {
                    Fed::Input(text) => {
                        waiting.push((self.fed, text));
                        self.fed += 1;
                        self.most = self.most.max(waiting.len());
                        asked_in_vain = 0;
                    }
                    Fed::Later => {
                        std::thread::sleep(Duration::from_micros(50));
                        asked_in_vain += 1;
                    }
                    Fed::End => {}
                }
                if is_over || asked_in_vain > 500 {
                    while let Some((place, text)) = waiting.pop() {
                        put(place, if text == "5" { Err(Error::Input("no fives".into())) } else { Ok(text) })?;
                    }
                }
                if is_over {
                    return Ok(());
                }
            }
        }
    }

    fn answers(lines: &str, together: usize, keep: KeepArgs) -> (Vec<String>, Lazy, anyhow::Result<()>) {
        let dir = tempfile::tempdir().unwrap();
        let from = dir.path().join("lines.txt");
        std::fs::write(&from, lines).unwrap();
        let output = keep.output.clone().unwrap_or_else(|| dir.path().join("said.jsonl"));
        let keep = KeepArgs { output: Some(output.clone()), ..keep };
        let stream = StreamArgs { file: vec![from.clone()], format: None, json: true, given: Given::default() };
        let lazy = RefCell::new(Lazy { most: 0, fed: 0 });
        let many = Many {
            stream: &stream,
            keep: &keep,
            quiet: true,
            what: "text",
            together,
            read: &|number, record| {
                let text = record.text("text")?;
                anyhow::ensure!(text != "wrong", "line {number} is wrong");
                Ok(text)
            },
            answer: &|_, _, _| Ok(()),
            show: &|_, _, _: &String| Ok(()),
        };
        let ended = many.flowing(Stream::of(&[from], None), &|next, _, put| lazy.borrow_mut().run(next, put));
        let said = std::fs::read_to_string(Path::new(&output)).unwrap();
        (said.lines().map(str::to_owned).collect(), lazy.into_inner(), ended)
    }

    fn keep() -> KeepArgs {
        KeepArgs { output: None, resume: false, print_config: false }
    }

    #[test]
    fn an_input_waits_for_no_block() {
        for (count, together) in [(20, 1), (100, 10), (5000, 3000)] {
            let wrong = count / 3;
            let lines: Vec<String> =
                (0..count).map(|i| if i == wrong { "wrong".into() } else { i.to_string() }).collect();
            let (said, lazy, ended) = answers(&lines.join("\n"), together, keep());
            assert_eq!(said.len(), count);
            for (i, said) in said.iter().enumerate() {
                if i == 5 {
                    assert!(said.contains("no fives"), "{said}");
                } else if i == wrong {
                    assert!(said.contains(&format!("line {i} is wrong")), "{said}");
                } else {
                    assert_eq!(*said, format!("\"{i}\""));
                }
            }
            assert!(ended.unwrap_err().to_string().starts_with(&format!("2 of {count}")));
            assert_eq!(lazy.fed, count - 1);
            // while the first waits others begin up to the bound, over the border of a piece, and none beyond
            assert!(lazy.most <= together && lazy.most > together / 2, "{} were held", lazy.most);
        }
    }

    #[test]
    fn a_run_goes_on_where_it_was_stopped() {
        let dir = tempfile::tempdir().unwrap();
        let output = dir.path().join("said.jsonl");
        answers("a\nb\n", 10, KeepArgs { output: Some(output.clone()), ..keep() }).2.unwrap();
        std::fs::write(&output, "\"a\"\n\"b\"\n\"c").unwrap();
        let keep = KeepArgs { output: Some(output), resume: true, ..keep() };
        let (said, lazy, ended) = answers("a\nb\nc\nd\n", 10, keep);
        ended.unwrap();
        assert_eq!((said, lazy.fed), (vec!["\"a\"".into(), "\"b\"".into(), "\"c\"".into(), "\"d\"".into()], 2));
    }

    #[test]
    fn nothing_and_what_cannot_be_read_is_said() {
        assert!(answers("\n\n", 10, keep()).2.unwrap_err().to_string().contains("holds no text"));
        let stream = Stream::of(&["/nowhere/lines.txt".into()], None);
        let lines = read(stream);
        assert!(lines.recv().unwrap().is_err() && lines.recv().is_err());
    }
}
