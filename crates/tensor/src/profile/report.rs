//! What was measured, added up and in a table.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use super::{Event, Kind, Profile};
use crate::Shape;

/// The name of the row for the time that layers and steps spend between operations.
const BETWEEN: &str = "(between operations)";
/// The name of the row for what no layer has done.
const OUTSIDE: &str = "(outside layers)";

/// What makes events one row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// The operation.
    Operation,
    /// The operation and the shapes of its tensors.
    Shapes,
    /// The layer, or part of one, that they were done for; a layer's time holds that of its parts.
    Module,
}

/// Some events, added up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Row {
    /// What they have in common.
    pub key: String,
    /// The shapes that they have in common, [`By::Shapes`].
    pub shapes: Vec<Shape>,
    /// How many they are.
    pub count: u64,
    /// How long they took.
    pub total: Duration,
    /// How long they took without the events within them, or the layer without its parts. Over all rows this adds up to the time that
    /// was measured.
    pub own: Duration,
    /// See [`Event::flops`].
    pub flops: u64,
    /// See [`Event::bytes`].
    pub bytes: u64,
}

impl Row {
    /// How long one of them took.
    pub fn mean(&self) -> Duration {
        self.total.checked_div(u32::try_from(self.count).unwrap_or(u32::MAX)).unwrap_or_default()
    }

    fn add(&mut self, event: &Event) {
        self.total += event.duration;
        self.own += event.own;
        self.count += 1;
        self.flops += event.flops();
        self.bytes += event.bytes();
    }
}

/// What rows are in order of, the largest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sort {
    /// [`Row::own`]
    Own,
    /// [`Row::total`]
    Total,
    /// [`Row::mean`]
    Mean,
    /// [`Row::count`]
    Count,
    /// [`Row::flops`]
    Flops,
    /// [`Row::bytes`]
    Bytes,
}

impl Sort {
    /// Every one of them.
    pub const ALL: [Sort; 6] = [Sort::Own, Sort::Total, Sort::Mean, Sort::Count, Sort::Flops, Sort::Bytes];

    /// torch's name, where it has one.
    pub const fn name(self) -> &'static str {
        match self {
            Sort::Own => "self_cpu_time_total",
            Sort::Total => "cpu_time_total",
            Sort::Mean => "cpu_time",
            Sort::Count => "count",
            Sort::Flops => "flops",
            Sort::Bytes => "bytes",
        }
    }

    /// The one of that name.
    pub fn named(name: &str) -> Option<Sort> {
        Sort::ALL.into_iter().find(|sort| sort.name() == name)
    }

    fn of(self, row: &Row) -> u128 {
        match self {
            Sort::Own => row.own.as_nanos(),
            Sort::Total => row.total.as_nanos(),
            Sort::Mean => row.mean().as_nanos(),
            Sort::Count => row.count.into(),
            Sort::Flops => row.flops.into(),
            Sort::Bytes => row.bytes.into(),
        }
    }
}

/// Rows, each found by what its events have in common.
#[derive(Default)]
struct Rows {
    rows: Vec<Row>,
    places: HashMap<(String, Vec<Shape>), usize>,
}

impl Rows {
    fn of(&mut self, key: &str, shapes: &[Shape]) -> &mut Row {
        let place = *self.places.entry((key.into(), shapes.into())).or_insert_with(|| {
            self.rows.push(Row { key: key.into(), shapes: shapes.into(), ..Row::default() });
            self.rows.len() - 1
        });
        &mut self.rows[place]
    }
}

impl Profile {
    /// The events added up, in the order in which the first of each row began.
    pub fn rows(&self, by: By) -> Vec<Row> {
        let mut rows = Rows::default();
        for event in self.events() {
            match (by, event.kind) {
                (By::Module, _) => add_to_module(&mut rows, event),
                (_, Kind::Module) => {
                    let row = rows.of(BETWEEN, &[]);
                    row.add(&Event { duration: event.own, ..event.clone() });
                }
                (By::Operation, _) => rows.of(&event.name(), &[]).add(event),
                (By::Shapes, _) => rows.of(&event.name(), event.shapes()).add(event),
            }
        }
        rows.rows
    }
}

/// Counts an event for the module that it was done for and for all that this one is a part of.
fn add_to_module(rows: &mut Rows, event: &Event) {
    let Some(module) = &event.module else {
        let row = rows.of(OUTSIDE, &[]);
        return row.add(&Event { duration: event.own, ..event.clone() });
    };
    let path = module.path();
    let is_call = event.kind == Kind::Module;
    for end in path.match_indices('.').map(|(at, _)| at).chain([path.len()]) {
        let row = rows.of(&path[..end], &[]);
        row.total += event.own;
        row.flops += event.flops();
        row.bytes += event.bytes();
        if end == path.len() {
            row.own += event.own;
            row.count += u64::from(is_call);
        }
    }
}

/// A time as torch's tables show it.
fn shown(time: Duration) -> String {
    match time.as_secs_f64() {
        seconds if seconds >= 1.0 => format!("{seconds:.3}s"),
        seconds if seconds >= 1e-3 => format!("{:.3}ms", seconds * 1e3),
        seconds => format!("{:.3}us", seconds * 1e6),
    }
}

/// So many thousand millions in a second of `time`; nothing for none.
fn rate(count: u64, time: Duration) -> String {
    match time.as_secs_f64() {
        seconds if count > 0 && seconds > 0.0 => format!("{:.1}", count as f64 / seconds / 1e9),
        _ => "--".into(),
    }
}

/// A table of the first `limit` of the `rows` in order of `sort`, or as they are, with shares of the time of all of them: torch's columns
/// and two rates.
pub fn table(rows: &[Row], sort: Option<Sort>, limit: usize) -> String {
    let all: Duration = rows.iter().map(|row| row.own).sum();
    let share = |time: Duration| match all.is_zero() {
        true => "0.00%".into(),
        false => format!("{:.2}%", 100.0 * time.as_secs_f64() / all.as_secs_f64()),
    };
    let mut rows: Vec<&Row> = rows.iter().collect();
    if let Some(sort) = sort {
        rows.sort_by_key(|row| Reverse(sort.of(row)));
    }
    let has_shapes = rows.iter().any(|row| !row.shapes.is_empty());
    let heads = ["Self CPU %", "Self CPU", "CPU total %", "CPU total", "CPU time avg", "# of Calls"];
    let mut lines = vec![["Name"].into_iter().chain(heads).chain(["GFLOP/s", "GB/s"]).collect::<Vec<_>>()];
    let texts: Vec<Vec<String>> = rows
        .iter()
        .take(limit)
        .map(|row| {
            let times = [share(row.own), shown(row.own), share(row.total), shown(row.total)];
            let rates = [rate(row.flops, row.total), rate(row.bytes, row.total)];
            // What is only a name in the paths of others was never called.
            let counted = match row.count {
                0 => ["--".into(), "--".into()],
                count => [shown(row.mean()), count.to_string()],
            };
            [row.key.clone()].into_iter().chain(times).chain(counted).chain(rates).collect()
        })
        .collect();
    lines.extend(texts.iter().map(|row| row.iter().map(String::as_str).collect()));
    let shapes: Vec<String> = rows.iter().take(limit).map(|row| format!("{:?}", row.shapes)).collect();
    if has_shapes {
        let cells = ["Input Shapes"].into_iter().chain(shapes.iter().map(String::as_str));
        lines.iter_mut().zip(cells).for_each(|(line, cell)| line.push(cell));
    }
    let mut text = aligned(&lines);
    text += &format!("Self CPU time total: {}\n", shown(all));
    text
}

/// Lines of cells below one another: names begin alike, numbers end alike. Rules above and below them and below the first line.
fn aligned(lines: &[Vec<&str>]) -> String {
    let columns = lines.first().map_or(0, Vec::len);
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let rule = widths.iter().map(|&width| "-".repeat(width)).collect::<Vec<_>>().join("  ") + "\n";
    let mut text = rule.clone();
    for (index, line) in lines.iter().enumerate() {
        let cell = |(column, cell): (usize, &&str)| match column {
            0 => format!("{cell:<0$}", widths[column]),
            _ => format!("{cell:>0$}", widths[column]),
        };
        text += &line.iter().enumerate().map(cell).collect::<Vec<_>>().join("  ");
        text.push('\n');
        if index == 0 {
            text += &rule;
        }
    }
    text + &rule
}

/// The operations, and below them the layers.
impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&table(&self.rows(By::Operation), Some(Sort::Own), ROWS))?;
        if self.events().iter().any(|event| event.module.is_some()) {
            f.write_str("\n")?;
            f.write_str(&table(&self.rows(By::Module), Some(Sort::Total), ROWS))?;
        }
        Ok(())
    }
}

/// How many rows a table has that is asked for no more.
const ROWS: usize = 30;
