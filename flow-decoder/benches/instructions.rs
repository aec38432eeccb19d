//! The same cases for counting instructions, which do not depend on what else the machine does. `dev/bench` runs it under
//! callgrind with different numbers of passes, so that what is not decoding cancels out:
//!
//! ```text
//! instructions list                 names of the cases
//! instructions run CASE PASSES      decodes CASE's datagrams so many times; prints the records of one pass
//! ```

#[path = "../tests/capture/mod.rs"]
mod capture;
mod cases;
#[path = "../tests/wire/mod.rs"]
mod wire;

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["list"] => cases::all().iter().for_each(|case| println!("{}", case.name)),
        ["run", name, passes] => {
            let case = cases::all().into_iter().find(|case| case.name == name);
            let (Some(case), Ok(passes)) = (case, passes.parse::<u32>()) else { return ExitCode::FAILURE };
            let case = case.build();
            let mut run = case.start();
            let records = (0..passes).map(|_| run.once()).last();
            println!("{}", records.unwrap_or_default());
        }
        // Under `cargo bench` there is nothing to count with.
        _ => println!("instructions: run dev/bench"),
    }
    ExitCode::SUCCESS
}
