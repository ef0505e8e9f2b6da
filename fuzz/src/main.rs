//! Throws broken files at every target, or at those named, for so many seconds (or one) each, at as many at a time as there are cores.
//!
//!     cargo run --release -p trustformers-fuzz -- 60 bin config
//!     cargo run --release -p trustformers-fuzz -- again bin fuzz/crashes/bin-1234
//!
//! `FUZZ_SEED` makes a run throw the same files as another, so far as the seconds reach.
//!
//! Guided by coverage, with a nightly compiler and `cargo install cargo-fuzz` (what it finds anew goes to the first folder):
//!
//!     cargo +nightly fuzz run --features libfuzzer gguf fuzz/corpus/gguf fuzz/seeds/gguf tests/fixtures/gguf -- -max_total_time=60
//!
//! A target runs in a process of its own with little memory: it may panic, abort, crash, hang or ask for too much, and the file that it did
//! it with is kept in `fuzz/crashes`. Once mended, that file becomes a seed.

// A command line program, whose own set-up may fail.
#![allow(clippy::print_stdout, clippy::print_stderr, clippy::expect_used, clippy::panic)]

mod mutate;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use std::{env, fs, iter, panic, process, thread};

use mutate::Mutator;
use trustformers_fuzz::{TARGETS, Target};

/// What one file may take.
const SECONDS_A_FILE: u32 = 10;
const MEMORY: u64 = 4 << 30;

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["again", target, files @ ..] => {
            files.iter().for_each(|file| (find(target).run)(&fs::read(file).expect("the file can be read")));
            ExitCode::SUCCESS
        }
        ["child", target, seconds, seed, current] => {
            child(find(target), number(seconds), number(seed), Path::new(current));
            ExitCode::SUCCESS
        }
        // The name of a test that `cargo test` was given for all programs.
        [word, ..] if word.parse::<u64>().is_err() => {
            eprintln!("{word} is no number of seconds: nothing is thrown");
            ExitCode::SUCCESS
        }
        [seconds, names @ ..] => {
            let wanted = TARGETS.iter().filter(|target| names.is_empty() || names.contains(&target.name));
            ExitCode::from(u8::from(!all_survive(wanted.collect(), number(seconds))))
        }
        [] => ExitCode::from(u8::from(!all_survive(TARGETS.iter().collect(), 1))),
    }
}

fn find(name: &str) -> &'static Target {
    TARGETS.iter().find(|target| target.name == name).unwrap_or_else(|| panic!("there is no target {name}"))
}

fn number(text: &str) -> u64 {
    text.parse().unwrap_or_else(|_| panic!("{text} is no number"))
}

/// Runs all targets, each core one after another.
fn all_survive(targets: Vec<&Target>, seconds: u64) -> bool {
    let waiting = Mutex::new(targets.into_iter());
    let next = || waiting.lock().unwrap_or_else(PoisonError::into_inner).next();
    let ended = || iter::from_fn(next).filter(|target| !survives(target, seconds)).count();
    thread::scope(|scope| {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let workers: Vec<_> = (0..cores).map(|_| scope.spawn(ended)).collect();
        workers.into_iter().all(|worker| worker.join().is_ok_and(|ended| ended == 0))
    })
}

/// Runs a target in a process of its own; keeps the file that ends it.
fn survives(target: &Target, seconds: u64) -> bool {
    // In memory where there is such a folder: a disk would be most of the time.
    let scratch = tempfile::tempdir_in("/dev/shm")
        .or_else(|_| tempfile::tempdir())
        .expect("there is a temporary folder");
    let current = scratch.path().join("current");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_nanos() as u64);
    let seed = env::var("FUZZ_SEED").map_or(now, |seed| number(&seed));
    let status = Command::new(env::current_exe().expect("the program knows where it is"))
        .args(["child", target.name, &seconds.to_string(), &seed.to_string()])
        .arg(&current)
        .env("TMPDIR", scratch.path())
        .status()
        .expect("the program can be started again");
    if status.success() {
        return true;
    }
    let crashes = Path::new(env!("CARGO_MANIFEST_DIR")).join("crashes");
    let kept = crashes.join(format!("{}-{seed:x}", target.name));
    fs::create_dir_all(&crashes).and_then(|()| fs::copy(&current, &kept)).expect("the file can be kept");
    eprintln!(
        "{}: {status}. See it again: cargo run -p trustformers-fuzz -- again {} {}",
        target.name,
        target.name,
        kept.display()
    );
    false
}

/// Runs the seeds as they are, and then changed, until the time is over. The file at `current` is the one being tried.
fn child(target: &Target, seconds: u64, seed: u64, current: &Path) {
    // SAFETY: plain system calls on values of our own.
    unsafe {
        libc::setrlimit(libc::RLIMIT_AS, &libc::rlimit { rlim_cur: MEMORY, rlim_max: MEMORY });
        libc::setrlimit(libc::RLIMIT_CORE, &libc::rlimit { rlim_cur: 0, rlim_max: 0 });
    }
    let seeds = seeds(target);
    assert!(!seeds.is_empty(), "{} has no seeds", target.name);
    // Tokenizers catch panics of their own; only one that gets through is told.
    let last = Arc::new(Mutex::new(String::new()));
    let told = last.clone();
    panic::set_hook(Box::new(move |panic| {
        *told.lock().unwrap_or_else(PoisonError::into_inner) = panic.to_string();
    }));
    let attempt = |file: &[u8]| {
        fs::write(current, file).expect("the temporary folder can be written");
        // SAFETY: a plain system call: the process ends if the file takes too long.
        unsafe { libc::alarm(SECONDS_A_FILE) };
        if panic::catch_unwind(|| (target.run)(file)).is_err() {
            eprintln!("{}", last.lock().unwrap_or_else(PoisonError::into_inner));
            process::exit(101);
        }
    };
    seeds.iter().for_each(|file| attempt(file));
    let mut mutator = Mutator::new(seed, target.words);
    let end = Instant::now() + Duration::from_secs(seconds);
    let mut files = seeds.len();
    while Instant::now() < end {
        attempt(&mutator.file(&seeds));
        files += 1;
    }
    println!("{}: {files} files, of {} seeds (random seed {seed})", target.name, seeds.len());
}

fn seeds(target: &Target) -> Vec<Vec<u8>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut paths = Vec::new();
    gather(&root.join("seeds").join(target.name), "", &mut paths);
    gather(&root.join("../tests/fixtures").join(target.fixtures.0), target.fixtures.1, &mut paths);
    paths.sort();
    paths.iter().map(|path| fs::read(path).expect("a seed can be read")).collect()
}

fn gather(folder: &Path, ending: &str, paths: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            gather(&path, ending, paths);
        } else if path.to_string_lossy().ends_with(ending) {
            paths.push(path);
        }
    }
}
