//! Where the time goes.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pyo3::exceptions::{PyIndexError, PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyIterator, PyList};
use trustformers::tensor::profile::{By, Event, Kind, Profile, Profiler, Row, Sort, table};

/// Measures what is computed in its ``with`` block, operation by operation and layer by layer, on all threads of the process.
///
/// Its methods are torch.profiler's, and its times are microseconds, as there. Operations have torch's names where it has them, layers
/// the names of their parameters, and gradients the name of their operation with ``_backward`` behind it. ``generate``, ``prefill`` and
/// ``decode`` are a generation and its steps. Several profiles may run at once, also within one another; what began before a profile
/// or has not ended with it is not in it. While none runs, operations take no longer than they would without.
///
/// Example::
///
///     >>> with trustformers.profile() as p:
///     ...     model(**inputs)
///     >>> print(p.table(row_limit=5))
///     --------------------  ----------  ---------  -----------  ---------  ------------  ----------  -------  ----
///     Name                  Self CPU %   Self CPU  CPU total %  CPU total  CPU time avg  # of Calls  GFLOP/s  GB/s
///     --------------------  ----------  ---------  -----------  ---------  ------------  ----------  -------  ----
///     linear                    92.60%  162.081ms       92.60%  162.081ms       3.308ms          49    134.2   2.6
///     attention                  4.43%    7.754ms        4.43%    7.754ms     646.180us          12     77.9   2.4
///     layer_norm                 1.35%    2.355ms        1.35%    2.355ms      94.191us          25       --  12.4
///     BertModel                  1.02%    1.779ms      100.00%  175.038ms     175.038ms           1       --    --
///     (between operations)       0.55%  968.668us        0.55%  968.668us       9.784us          99       --    --
///     --------------------  ----------  ---------  -----------  ---------  ------------  ----------  -------  ----
///     Self CPU time total: 175.038ms
///     >>> p.export_chrome_trace("trace.json")  # for chrome://tracing or https://ui.perfetto.dev
#[pyclass(frozen, name = "profile", module = "trustformers")]
pub struct PyProfile(Mutex<State>);

/// How far a profile is.
enum State {
    New,
    Running(Profiler),
    Done(Arc<Profile>),
}

#[pymethods]
impl PyProfile {
    #[new]
    fn new() -> PyProfile {
        PyProfile(Mutex::new(State::New))
    }

    /// Begins to measure, anew if it has before.
    ///
    /// :raises RuntimeError: while it runs.
    fn __enter__(this: PyRef<'_, Self>) -> PyResult<PyRef<'_, Self>> {
        let mut state = this.state();
        if matches!(*state, State::Running(_)) {
            return Err(PyRuntimeError::new_err(
                "this profile is running: make another one for what is within it",
            ));
        }
        *state = State::Running(Profiler::start());
        drop(state);
        Ok(this)
    }

    /// Ends it, also where the block has raised.
    #[pyo3(signature = (*_raised))]
    fn __exit__(&self, py: Python<'_>, _raised: &Bound<'_, PyAny>) {
        let mut state = self.state();
        if let State::Running(profiler) = std::mem::replace(&mut *state, State::New) {
            *state = State::Done(Arc::new(py.detach(|| profiler.stop())));
        }
    }

    /// How long the block took, in microseconds.
    #[getter]
    fn duration(&self) -> PyResult<f64> {
        Ok(micros(self.done()?.duration()))
    }

    /// All that was measured, in the order in which it began.
    fn events(&self) -> PyResult<Vec<PyProfileEvent>> {
        Ok(self.done()?.events().iter().map(PyProfileEvent::from).collect())
    }

    /// The events added up by name, by name and shapes, or by layer, where the time of a layer holds that of its parts.
    ///
    /// :raises ValueError: for shapes and layers together.
    #[pyo3(signature = (group_by_input_shape=false, *, group_by_module=false))]
    fn key_averages(
        &self,
        py: Python<'_>,
        group_by_input_shape: bool,
        group_by_module: bool,
    ) -> PyResult<PyProfileRows> {
        let by = match (group_by_input_shape, group_by_module) {
            (false, false) => By::Operation,
            (true, false) => By::Shapes,
            (false, true) => By::Module,
            (true, true) => {
                let message = "rows are by input shape or by module: pass one of the two";
                return Err(PyValueError::new_err(message));
            }
        };
        let profile = self.done()?;
        Ok(PyProfileRows(py.detach(|| profile.rows(by))))
    }

    /// A table of :meth:`key_averages`: at most ``row_limit`` rows, the largest first by ``sort_by``, one of "self_cpu_time_total",
    /// "cpu_time_total", "cpu_time", "count", "flops" and "bytes"; ``None`` keeps the order in which they began.
    ///
    /// :raises ValueError: for another ``sort_by``.
    #[pyo3(signature = (sort_by=Some("self_cpu_time_total"), row_limit=100, *, group_by_input_shape=false, group_by_module=false))]
    fn table(
        &self,
        py: Python<'_>,
        sort_by: Option<&str>,
        row_limit: usize,
        group_by_input_shape: bool,
        group_by_module: bool,
    ) -> PyResult<String> {
        self.key_averages(py, group_by_input_shape, group_by_module)?.table(sort_by, row_limit)
    }

    /// Writes all events to a file that chrome://tracing and https://ui.perfetto.dev show.
    ///
    /// :raises OSError: when it cannot be written.
    fn export_chrome_trace(&self, py: Python<'_>, path: PathBuf) -> PyResult<()> {
        let profile = self.done()?;
        py.detach(|| {
            let mut file = BufWriter::new(File::create(path)?);
            profile.write_chrome_trace(&mut file)?;
            file.flush()
        })
        .map_err(PyErr::from)
    }

    fn __str__(&self) -> PyResult<String> {
        Ok(self.done()?.to_string())
    }

    fn __repr__(&self) -> String {
        match &*self.state() {
            State::New => "<trustformers.profile, not begun>".into(),
            State::Running(_) => "<trustformers.profile, running>".into(),
            State::Done(profile) => format!(
                "<trustformers.profile of {} events in {:.3} ms>",
                profile.events().len(),
                1e3 * profile.duration().as_secs_f64()
            ),
        }
    }
}

impl PyProfile {
    fn state(&self) -> MutexGuard<'_, State> {
        // States are replaced whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn done(&self) -> PyResult<Arc<Profile>> {
        match &*self.state() {
            State::Done(profile) => Ok(profile.clone()),
            State::New => {
                Err(PyRuntimeError::new_err("nothing was measured yet: use the profile in a with statement"))
            }
            State::Running(_) => {
                Err(PyRuntimeError::new_err("the profile is running: ask it behind its with block"))
            }
        }
    }
}

fn micros(time: Duration) -> f64 {
    time.as_nanos() as f64 / 1e3
}

fn shapes(shapes: &[impl AsRef<[usize]>]) -> Vec<Vec<usize>> {
    shapes.iter().map(|shape| shape.as_ref().to_vec()).collect()
}

/// Something that was done while a profile ran.
#[pyclass(frozen, get_all, name = "ProfileEvent", module = "trustformers._engine")]
pub struct PyProfileEvent {
    /// The operation's name, with ``_backward`` behind it for its gradients; the path of a module; the name of a step.
    name: String,
    /// "operation", "backward", "module" or "span".
    kind: &'static str,
    /// The path of the layer that it was done for.
    module: Option<String>,
    /// A number for the thread that did it.
    thread: u64,
    /// When it began, in microseconds from the beginning of the profile.
    start: f64,
    /// How long it took, in microseconds.
    cpu_time_total: f64,
    /// The same without the events within it.
    self_cpu_time_total: f64,
    /// The shapes of an operation's tensors; of a linear layer's its input and its weight.
    input_shapes: Vec<Vec<usize>>,
    /// Floating-point operations of a product of matrices or an attention.
    flops: u64,
    /// Bytes of an operation's tensors, its results included.
    bytes: u64,
}

impl From<&Event> for PyProfileEvent {
    fn from(event: &Event) -> PyProfileEvent {
        PyProfileEvent {
            name: event.name(),
            kind: match event.kind {
                Kind::Operation => "operation",
                Kind::Backward => "backward",
                Kind::Module => "module",
                Kind::Span => "span",
            },
            module: event.module.as_ref().map(|module| module.path().into()),
            thread: event.thread,
            start: micros(event.start),
            cpu_time_total: micros(event.duration),
            self_cpu_time_total: micros(event.own),
            input_shapes: shapes(event.shapes()),
            flops: event.flops(),
            bytes: event.bytes(),
        }
    }
}

#[pymethods]
impl PyProfileEvent {
    fn __repr__(&self) -> String {
        format!("<ProfileEvent {} {:.3}us>", self.name, self.cpu_time_total)
    }
}

/// Some events of a profile, added up.
#[pyclass(frozen, get_all, name = "ProfileRow", module = "trustformers._engine")]
pub struct PyProfileRow {
    /// The name that they share, or the path of the layer.
    key: String,
    /// How many they are.
    count: u64,
    /// How long one took, in microseconds.
    cpu_time: f64,
    /// How long they took, in microseconds.
    cpu_time_total: f64,
    /// The same without the events within them, or the layer without its parts.
    self_cpu_time_total: f64,
    /// The shapes that they share, where rows are by shape.
    input_shapes: Vec<Vec<usize>>,
    /// Floating-point operations of products of matrices and attentions.
    flops: u64,
    /// Bytes of the operations' tensors.
    bytes: u64,
}

impl From<&Row> for PyProfileRow {
    fn from(row: &Row) -> PyProfileRow {
        PyProfileRow {
            key: row.key.clone(),
            count: row.count,
            cpu_time: micros(row.mean()),
            cpu_time_total: micros(row.total),
            self_cpu_time_total: micros(row.own),
            input_shapes: shapes(&row.shapes),
            flops: row.flops,
            bytes: row.bytes,
        }
    }
}

#[pymethods]
impl PyProfileRow {
    fn __repr__(&self) -> String {
        format!("<ProfileRow {} x{} {:.3}us>", self.key, self.count, self.cpu_time_total)
    }
}

/// The rows of a profile, in the order in which their first events began.
#[pyclass(frozen, name = "ProfileRows", module = "trustformers._engine")]
pub struct PyProfileRows(Vec<Row>);

#[pymethods]
impl PyProfileRows {
    fn __len__(&self) -> usize {
        self.0.len()
    }

    fn __getitem__(&self, index: isize) -> PyResult<PyProfileRow> {
        let index = if index < 0 { index + self.0.len() as isize } else { index };
        let row = usize::try_from(index).ok().and_then(|index| self.0.get(index));
        row.map(PyProfileRow::from).ok_or_else(|| PyIndexError::new_err("there are not so many rows"))
    }

    fn __iter__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyIterator>> {
        PyList::new(py, self.0.iter().map(PyProfileRow::from))?.try_iter()
    }

    /// See :meth:`profile.table`.
    #[pyo3(signature = (sort_by=None, row_limit=100))]
    fn table(&self, sort_by: Option<&str>, row_limit: usize) -> PyResult<String> {
        let sort = sort_by.map(|name| {
            Sort::named(name).ok_or_else(|| {
                let names = Sort::ALL.map(Sort::name).join("\", \"");
                PyValueError::new_err(format!("sort_by must be one of \"{names}\", got \"{name}\""))
            })
        });
        Ok(table(&self.0, sort.transpose()?, row_limit))
    }

    fn __str__(&self) -> PyResult<String> {
        self.table(None, 100)
    }
}
