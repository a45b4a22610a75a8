//! ptm's worker in the benches: one job at a time, told on standard input, answered on standard output as JSON
//! lines (`bench/README.md`). The driver and the peers' workers are Python, next to this crate.

#[path = "../../crates/cli/src/allocator.rs"]
mod allocator;
mod embed;
mod encode;
mod family;
mod finetune;
mod generate;
mod load;
mod pipeline;
mod pretrain;
mod product;
mod protocol;
#[path = "../../crates/cli/src/timing.rs"]
mod timing;
mod train;

use std::io::{BufRead, Write};
use std::time::Instant;

use anyhow::{Result, bail};

use protocol::{Answer, Job, Request};

/// A prepared job.
trait Work {
    /// Runs once; gives numbers that every engine must agree on.
    fn run(&mut self) -> Result<Vec<f32>>;

    /// The seconds of the last run by the work's own clock, where not all that it did is measured.
    fn seconds(&self) -> Option<f64> {
        None
    }
}

fn prepare(job: Job) -> Result<Box<dyn Work>> {
    Ok(match job {
        Job::Encode(job) => Box::new(encode::Encode::new(&job)?),
        Job::Embed(job) => Box::new(embed::Embed::new(&job)?),
        Job::Pipeline(job) => Box::new(pipeline::Pipeline::new(&job)?),
        Job::Train(job) => Box::new(train::Train::new(&job)?),
        Job::Family(job) => family::prepare(&job)?,
        Job::Generate(job) => Box::new(generate::Generate::new(&job)?),
        Job::Read(job) => Box::new(generate::Read::new(&job)),
        Job::Load(job) => Box::new(load::Load::new(job)),
        Job::Product(job) => Box::new(product::Product::new(&job)),
        Job::Finetune(job) => Box::new(finetune::Finetune::new(&job)?),
        Job::Pretrain(job) => Box::new(pretrain::Pretrain::new(&job)?),
    })
}

fn answer(line: &str, work: &mut Option<Box<dyn Work>>) -> Result<Answer> {
    match serde_json::from_str(line)? {
        Request::Prepare(job) => {
            *work = None; // the former job's memory goes first
            *work = Some(prepare(job)?);
            Ok(Answer::Ok { ok: true })
        }
        Request::Run => {
            let Some(work) = work else { bail!("nothing is prepared: send a `prepare` request first") };
            ptm_kernels::timing::reset();
            let start = Instant::now();
            let check = work.run()?;
            let seconds = work.seconds().unwrap_or_else(|| start.elapsed().as_secs_f64());
            // with PTM_TIMING=1, what of it the kernels took
            timing::print();
            Ok(Answer::Run { seconds, check })
        }
        Request::Memory => Ok(Answer::Memory { peak_bytes: ptm_train::memory::peak()? }),
    }
}

fn main() -> Result<()> {
    allocator::keep();
    // on a thread of the pool, as commands run: the parts of a pass begin without waking anybody
    rayon::scope(|_| serve())
}

fn serve() -> Result<()> {
    let mut work = None;
    let mut out = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let answer = answer(&line?, &mut work).unwrap_or_else(|e| Answer::Error { error: format!("{e:#}") });
        serde_json::to_writer(&mut out, &answer)?;
        out.write_all(b"\n")?;
        out.flush()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(line: &str, work: &mut Option<Box<dyn Work>>) -> String {
        match answer(line, work) {
            Ok(answer) => serde_json::to_string(&answer).unwrap(),
            Err(e) => format!("{e:#}"),
        }
    }

    #[test]
    fn a_product_is_prepared_and_run() {
        let mut work = None;
        assert!(text(r#"{"op":"run"}"#, &mut work).contains("nothing is prepared"));
        assert_eq!(text(r#"{"op":"prepare","what":"product","m":8,"k":4,"n":8}"#, &mut work), r#"{"ok":true}"#);
        assert!(text(r#"{"op":"run"}"#, &mut work).starts_with(r#"{"seconds":"#));
        assert!(text(r#"{"op":"fly"}"#, &mut work).contains("fly"));
        assert!(
            text(r#"{"op":"prepare","what":"encode","model":"nowhere","sequences":[[1]]}"#, &mut work)
                .contains("nowhere")
        );
    }
}
