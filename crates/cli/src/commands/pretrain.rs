//! `ptm pretrain`: a model learns from packed text.

use ptm_train::pretrain::{Recipe, Sources, pretrain};

use super::finetune::{Screen, explained, result, show};
use crate::args::Pretrain;
use crate::output::Output;
use crate::{hub, stop};

pub fn run(args: &Pretrain, quiet: bool) -> anyhow::Result<()> {
    let recipe = Recipe::read(&args.recipe, &args.set)?;
    let mut output = Output::new();
    if args.print_config {
        output.line(recipe.to_text().trim_end())?;
        return Ok(output.flush()?);
    }
    let resolve = |name: &Option<String>| name.as_ref().map(|name| hub::resolve(name, None, quiet)).transpose();
    let (from, generator) = (resolve(&recipe.model.from)?, resolve(&recipe.model.generator)?);
    let sources = Sources { from, generator, tokenizer: resolve(&recipe.model.tokenizer)? };
    let outcome = stop::computing(|stop| {
        let mut screen = Screen::new(stop, quiet);
        let done = pretrain(&recipe, &sources, args.afresh, &mut screen);
        drop(screen);
        done.map_err(explained)
    })?;
    if args.json {
        output.json(&result(&outcome))?;
    } else {
        show(&mut output, &outcome)?;
    }
    Ok(output.flush()?)
}
