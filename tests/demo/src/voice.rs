//! What the demo says: plain lines on standard output, for terminals and pipes alike.

use std::io::{self, Write};
use std::time::{Duration, Instant};

/// Tells the story, and knows how long it has been going on.
#[derive(Debug)]
pub(crate) struct Voice {
    out: io::Stdout,
    started: Instant,
}

impl Voice {
    /// Starts the clock.
    pub(crate) fn new() -> Self {
        Self { out: io::stdout(), started: Instant::now() }
    }

    /// Time since the start.
    pub(crate) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// A heading.
    pub(crate) fn chapter(&self, text: &str) -> io::Result<()> {
        self.say(&format!("\n== {text}"))
    }

    /// A line, or several.
    pub(crate) fn say(&self, text: &str) -> io::Result<()> {
        let mut out = self.out.lock();
        writeln!(out, "{}", text.trim_end())?;
        out.flush()
    }

    /// Lines of something shown, set off.
    pub(crate) fn show(&self, text: &str) -> io::Result<()> {
        text.trim_end().lines().try_for_each(|line| self.say(&format!("   {line}")))
    }
}

/// Seconds, as people say them.
pub(crate) fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

/// Columns under each other; the last one is as long as it is.
pub(crate) fn table<const N: usize>(rows: &[[String; N]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let widths: Vec<usize> = (0..N).map(width).collect();
    let line = |row: &[String; N]| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_under_each_other() {
        let row = |a: &str, b: &str| [a.to_owned(), b.to_owned()];
        assert_eq!(table(&[row("a", "b"), row("long", "ü")]), "a     b\nlong  ü");
        assert_eq!(table::<2>(&[]), "");
    }
}
