//! The `ptm` binary: arguments in, answers out. What a command computes is the library's; here are its manners.
//! Exit codes: 0 done, 1 a negative answer, 2 an error (wrong usage too), 130 stopped by Ctrl-C.

mod allocator;
mod args;
mod columns;
mod commands;
mod failure;
mod generation_args;
mod hub;
mod input;
mod output;
mod progress;
mod report;
mod stop;
mod timing;
mod vectors;

use std::process::ExitCode;

fn main() -> ExitCode {
    allocator::keep();
    let arguments = args::Arguments::read(std::env::args_os()).unwrap_or_else(|error| error.exit());
    report::log(arguments.is_verbose(), arguments.quiet);
    stop::watch();
    let done = commands::run(&arguments);
    timing::print();
    failure::exit_code(done)
}
