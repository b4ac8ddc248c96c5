//! Reads the log of CMake and ninja.

/// Ninja's counter: `[12/248] Building CXX object ...`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step<'a> {
    /// Steps finished, this one included.
    pub done: u64,
    /// Steps in all. Ninja counts again when it finds more to do.
    pub total: u64,
    /// What this step did.
    pub what: &'a str,
}

/// Reads one line of the log; `None` for a line that is not ninja's counter.
pub fn step(line: &str) -> Option<Step<'_>> {
    let (counter, what) = line.strip_prefix('[')?.split_once("] ")?;
    let (done, total) = counter.split_once('/')?;
    Some(Step { done: done.trim().parse().ok()?, total: total.trim().parse().ok()?, what: what.trim() })
}

/// How many lines of an error a person is shown; the log holds the rest.
const ERROR_LINES: usize = 12;

/// What the compiler, linker or CMake said first: the first line that states an error, and what follows it up to the
/// next step.
pub fn first_error(log: &str) -> Option<String> {
    let lines: Vec<&str> = log.lines().collect();
    let start = lines.iter().position(|line| states_an_error(line))?;
    let text: Vec<&str> = lines[start..]
        .iter()
        .take(ERROR_LINES)
        .take_while(|line| !line.starts_with("ninja: ") && !line.starts_with("thread 'main'") && step(line).is_none())
        .map(|line| line.trim_end())
        .collect();
    Some(text.join("\n").trim_end().to_owned())
}

/// The `cmake` crate panics when CMake has failed; that says nothing that CMake has not said.
pub(crate) fn is_noise(line: &str) -> bool {
    line.starts_with("thread 'main'") || line.starts_with("note: run with `RUST_BACKTRACE") || line.trim().is_empty()
}

fn states_an_error(line: &str) -> bool {
    !is_noise(line) && states_an_error_of_a_tool(line)
}

fn states_an_error_of_a_tool(line: &str) -> bool {
    line.contains(" error: ")
        // zig, of its own arguments.
        || line.starts_with("error: ")
        || line.contains(": fatal error: ")
        || line.contains("undefined reference to")
        || line.starts_with("CMake Error")
        || line.contains("No space left on device")
        || line.contains("Killed signal terminated program")
}

/// What to do about an error that has a usual cause.
pub fn hint(error: &str) -> Option<&'static str> {
    if error.contains("Killed signal terminated program") {
        Some("the compiler ran out of memory: build with fewer jobs, `--jobs 1`")
    } else if error.contains("No space left on device") {
        Some("a build needs about 1 GB below `target/`")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps() {
        let read = step("[ 12/248] Building CXX object a.o\n").unwrap();
        assert_eq!((read.done, read.total, read.what), (12, 248, "Building CXX object a.o"));
        assert_eq!(step("[a/b] no"), None);
        assert_eq!(step("-- Found Threads"), None);
        assert_eq!(step("[1/"), None);
    }

    #[test]
    fn the_first_error_is_the_compilers() {
        let log = "[1/9] Building C object a.o\n\
                   FAILED: [code=1] a.o\n\
                   /usr/bin/cc -c a.c\n\
                   a.c: In function 'f':\n\
                   a.c:3:5: error: 'x' undeclared\n    3 |     x = 1;\n      |     ^\n\
                   [2/9] Building C object b.o\n\
                   ninja: build stopped: subcommand failed.\n";
        insta::assert_snapshot!(first_error(log).unwrap(), @r"
        a.c:3:5: error: 'x' undeclared
            3 |     x = 1;
              |     ^
        ");
        assert_eq!(first_error("[1/1] Linking\n-- done\n"), None);
    }

    #[test]
    fn cmakes_errors_and_the_kernels_count_too() {
        assert_eq!(
            first_error("CMake Error at CMakeLists.txt:1 (x):\n  bad\n").unwrap(),
            "CMake Error at CMakeLists.txt:1 (x):\n  bad"
        );
        let panic = "CMake Error: no such thing\n\nthread 'main' panicked at lib.rs:1:\ncommand failed: error: 1\n";
        assert_eq!(first_error(panic).unwrap(), "CMake Error: no such thing");
        let killed = first_error("c++: fatal error: Killed signal terminated program cc1plus\n").unwrap();
        assert!(hint(&killed).unwrap().contains("--jobs 1"));
    }
}
