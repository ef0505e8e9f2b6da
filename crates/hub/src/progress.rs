//! A progress bar on standard error, where that is a terminal.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

const TEMPLATE: &str = "{msg} [{wide_bar}] {bytes}/{total_bytes} {bytes_per_sec} {eta}";

/// The bar of one file.
#[derive(Debug)]
pub(crate) struct Bar(ProgressBar);

impl Bar {
    /// A bar for `file`; nothing is drawn before the first step, and nothing at all without `show`.
    pub fn new(file: &str, show: bool) -> Self {
        // Indicatif itself draws nothing where standard error is not a terminal.
        let target = if show { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let style = ProgressStyle::with_template(TEMPLATE).unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = ProgressBar::with_draw_target(None, target).with_style(style.progress_chars("=> "));
        bar.set_message(file.to_owned());
        Self(bar)
    }

    /// Says that another process does the work.
    pub fn waiting(&self, file: &str) {
        self.0.set_message(format!("{file} (another process is downloading it)"));
        self.0.tick();
    }

    /// The download begins, with `done` bytes here of `total`.
    pub fn start(&self, file: &str, done: u64, total: Option<u64>) {
        self.0.set_message(file.to_owned());
        if let Some(total) = total {
            self.0.set_length(total);
        }
        self.0.set_position(done);
        self.0.reset_eta();
    }

    /// `done` bytes are here.
    pub fn at(&self, done: u64) {
        self.0.set_position(done);
    }

    /// Leaves the finished bar on the screen.
    pub fn finish(&self) {
        self.0.finish();
    }
}
