//! The processes that an agent starts, without the rest of the command line: what this crate's tests run.

use std::ffi::OsString;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let words: Vec<&str> = arguments.iter().filter_map(|word| word.to_str()).collect();
    let outcome = match words.as_slice() {
        ["holder", "--data", data] => {
            agent::holder::run(Path::new(data)).map_err(|error| error.to_string())
        }
        ["launch"] => match agent::launch::run() {
            Err(error) => Err(error.to_string()),
            Ok(never) => match never {},
        },
        ["confine", ..] => agent::confine::run(&arguments[1..]).map_err(|error| error.to_string()),
        _ => Err("usage: processes holder --data DIR | launch | confine".to_owned()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            // The code says it where nobody reads.
            let _ = writeln!(std::io::stderr(), "{why}");
            ExitCode::from(127)
        }
    }
}
