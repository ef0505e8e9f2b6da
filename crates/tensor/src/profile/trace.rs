//! A profile as chrome://tracing and Perfetto read it: the Trace Event Format's complete events, with torch.profiler's categories and
//! arguments.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::process;

use super::{Event, Kind, Profile};

impl Profile {
    /// Writes all events as JSON.
    ///
    /// # Errors
    /// What `to` says.
    pub fn write_chrome_trace(&self, to: &mut dyn Write) -> io::Result<()> {
        let process = process::id();
        write!(to, r#"{{"displayTimeUnit":"ms","traceEvents":["#)?;
        write!(to, r#"{{"ph":"M","name":"process_name","pid":{process},"args":{{"name":"trustformers"}}}}"#)?;
        let threads: BTreeSet<u64> = self.events().iter().map(|event| event.thread).collect();
        for thread in threads {
            let name = format!("thread {thread}");
            writeln!(to, ",")?;
            write!(
                to,
                r#"{{"ph":"M","name":"thread_name","pid":{process},"tid":{thread},"args":{{"name":"{name}"}}}}"#
            )?;
        }
        for event in self.events() {
            writeln!(to, ",")?;
            write_event(to, event, process)?;
        }
        writeln!(to, "]}}")
    }
}

fn write_event(to: &mut dyn Write, event: &Event, process: u32) -> io::Result<()> {
    let category = match event.kind {
        Kind::Operation => "cpu_op",
        Kind::Backward => "cpu_op",
        Kind::Module => "module",
        Kind::Span => "user_annotation",
    };
    let (name, thread) = (quoted(&event.name()), event.thread);
    let [start, duration] = [event.start, event.duration].map(|time| time.as_nanos());
    // Microseconds. Of whole nanoseconds, so that what is within another event stays so.
    let micro = |nanos: u128| format!("{}.{:03}", nanos / 1000, nanos % 1000);
    let (start, duration) = (micro(start), micro(duration));
    write!(
        to,
        r#"{{"ph":"X","cat":"{category}","name":{name},"pid":{process},"tid":{thread},"ts":{start},"dur":{duration},"args":{{"#
    )?;
    let mut between = "";
    if let Some(module) = &event.module {
        write!(to, r#""module":{}"#, quoted(module.path()))?;
        between = ",";
    }
    if event.kind == Kind::Operation {
        let shapes: Vec<&[usize]> = event.shapes().iter().map(|shape| shape.as_slice()).collect();
        write!(
            to,
            r#"{between}"Input Dims":{shapes:?},"flops":{},"bytes":{}"#,
            event.flops(),
            event.bytes()
        )?;
    }
    write!(to, "}}}}")
}

/// A text as JSON has it.
fn quoted(text: &str) -> String {
    let mut quoted = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c < ' ' => quoted += &format!("\\u{:04x}", c as u32),
            c => quoted.push(c),
        }
    }
    quoted + "\""
}
