//! Output: tables as wide as the terminal, JSON and YAML, colours only on a terminal.

use std::io::{IsTerminal, Write};

use comfy_table::{Cell as TableCell, Color, ContentArrangement, Table, presets};
use serde_json::Value;

use super::flags::Output;

/// Blanks between two columns.
const GAP: u16 = 3;

/// Writes answers to standard output, and problems and notes to standard error.
#[expect(clippy::struct_excessive_bools, reason = "each is a fact about where the text goes")]
pub(super) struct Show {
    in_colour: bool,
    problems_in_colour: bool,
    /// Whether standard output is a terminal, so that tables are as wide as it is.
    is_terminal: bool,
    /// Whether somebody sees progress.
    shows_progress: bool,
    /// Whether the locale has more characters than ASCII.
    is_unicode: bool,
}

/// How a cell of a table looks on a terminal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Tone {
    /// As it is.
    #[default]
    Plain,
    /// Green.
    Good,
    /// Yellow.
    Doubtful,
    /// Red.
    Bad,
}

/// A cell of a table.
pub(super) type Cell = (String, Tone);

impl Show {
    pub(super) fn new(no_color: bool) -> Self {
        let (is_terminal, is_error_terminal) = (std::io::stdout().is_terminal(), std::io::stderr().is_terminal());
        Self {
            in_colour: !no_color && is_terminal,
            problems_in_colour: !no_color && is_error_terminal,
            is_terminal,
            shows_progress: is_error_terminal,
            is_unicode: is_unicode(),
        }
    }

    /// Whether standard output is a terminal.
    pub(super) fn is_terminal(&self) -> bool {
        self.is_terminal
    }

    /// One of two texts: for a locale with more characters than ASCII, and for others.
    pub(super) fn glyph(&self, unicode: &'static str, ascii: &'static str) -> &'static str {
        if self.is_unicode { unicode } else { ascii }
    }

    /// Writes a text. A reader that closes early is not an error.
    pub(super) fn write(text: &str) -> Result<(), Vec<String>> {
        let mut out = std::io::stdout().lock();
        match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
            Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
                Err(vec![format!("standard output: {error}")])
            }
            _ => Ok(()),
        }
    }

    /// Writes a value as JSON or YAML, or the text.
    pub(super) fn answer(output: Output, value: &Value, text: impl Fn() -> String) -> Result<(), Vec<String>> {
        let bad = |error: &dyn std::fmt::Display| vec![error.to_string()];
        match output {
            Output::Text => Self::write(&text()),
            Output::Json => {
                let text = serde_json::to_string_pretty(value).map_err(|error| bad(&error))?;
                Self::write(&format!("{text}\n"))
            }
            Output::Yaml => Self::write(&serde_yaml::to_string(value).map_err(|error| bad(&error))?),
        }
    }

    /// Writes a problem as one line.
    pub(super) fn problem(&self, text: &str) {
        self.aside("error:", "31", text);
    }

    /// Writes a warning as one line, beside the answer.
    pub(super) fn warning(&self, text: &str) {
        self.aside("warning:", "33", text);
    }

    /// Writes a note as one line, beside the answer.
    pub(super) fn note(&self, text: &str) {
        self.aside("note:", "36", text);
    }

    fn aside(&self, head: &str, colour: &str, text: &str) {
        let head = if self.problems_in_colour { format!("\u{1b}[{colour}m{head}\u{1b}[0m") } else { head.to_owned() };
        self.progress("");
        // Nothing else can be done when standard error is closed.
        let _ = writeln!(std::io::stderr().lock(), "{head} {}", clean(text));
    }

    /// Shows what is being done, in the last line of a terminal; an empty text removes it.
    pub(super) fn progress(&self, text: &str) {
        if self.shows_progress {
            let mut err = std::io::stderr().lock();
            let _ = write!(err, "\r\u{1b}[K{}", clean(text));
            let _ = err.flush();
        }
    }

    /// A table; the first row is its head. On a terminal it is not wider than that: cells are wrapped.
    pub(super) fn table(&self, rows: &[Vec<Cell>]) -> String {
        let mut table = self.plain_table();
        let mut rows = rows.iter().map(|row| row.iter().map(|cell| self.cell(cell)).collect::<Vec<_>>());
        if let Some(head) = rows.next() {
            table.set_header(head);
        }
        for row in rows {
            table.add_row(row);
        }
        for column in table.column_iter_mut() {
            column.set_padding((0, GAP));
        }
        lines(&table)
    }

    fn plain_table(&self) -> Table {
        let mut table = Table::new();
        table.load_preset(presets::NOTHING);
        // Known only before the terminal is forgotten.
        let width = table.width().filter(|_| self.is_terminal);
        if self.in_colour {
            // Otherwise the library reads NO_COLOR too, and leaves empty escape sequences.
            crossterm::style::force_color_output(true);
            table.enforce_styling();
        } else {
            table.force_no_tty();
        }
        match width {
            Some(width) => table.set_width(width).set_content_arrangement(ContentArrangement::Dynamic),
            None => table.set_content_arrangement(ContentArrangement::Disabled),
        };
        table
    }

    fn cell(&self, (text, tone): &Cell) -> TableCell {
        let cell = TableCell::new(clean(text));
        match tone {
            _ if !self.in_colour => cell,
            Tone::Plain => cell,
            Tone::Good => cell.fg(Color::Green),
            Tone::Doubtful => cell.fg(Color::Yellow),
            Tone::Bad => cell.fg(Color::Red),
        }
    }
}

/// The lines of a table without blanks at their ends.
fn lines(table: &Table) -> String {
    let lines: Vec<String> = table.lines().map(|line| line.trim_end().to_owned()).collect();
    if lines.is_empty() { String::new() } else { lines.join("\n") + "\n" }
}

/// Whether the locale's encoding is UTF-8 (POSIX: the first of these variables that is set decides).
fn is_unicode() -> bool {
    let names = ["LC_ALL", "LC_CTYPE", "LANG"];
    let set = names.iter().filter_map(std::env::var_os).find(|value| !value.is_empty());
    set.is_some_and(|value| {
        let value = value.to_string_lossy().to_ascii_lowercase();
        value.contains("utf-8") || value.contains("utf8")
    })
}

/// The head of a table.
pub(super) fn head(names: &[&str]) -> Vec<Cell> {
    names.iter().map(|name| ((*name).to_owned(), Tone::Plain)).collect()
}

/// A cell without a tone.
pub(super) fn plain(text: impl Into<String>) -> Cell {
    (text.into(), Tone::Plain)
}

/// Removes control characters, which a manifest or a status may contain, before they reach a terminal.
pub(super) fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cells(row: &[&str]) -> Vec<Cell> {
        row.iter().map(|text| plain(*text)).collect()
    }

    fn show(in_colour: bool) -> Show {
        Show { in_colour, problems_in_colour: false, is_terminal: false, shows_progress: false, is_unicode: true }
    }

    #[test]
    fn columns_line_up_and_lines_have_no_blanks_at_their_ends() {
        let table = show(false).table(&[cells(&["RULE", "VALID", "WHY"]), cells(&["n/größer", "yes", ""])]);
        assert_eq!(table, "RULE       VALID   WHY\nn/größer   yes\n");
    }

    #[test]
    fn colours_are_for_terminals_and_control_characters_for_nobody() {
        let rows = [vec![plain("K")], vec![("a\u{1b}[2J".to_owned(), Tone::Bad)]];
        assert_eq!(show(false).table(&rows), "K\na\u{fffd}[2J\n");
        let coloured = show(true).table(&rows);
        assert!(coloured.contains("\u{1b}[38;5;9m") && !coloured.contains("\u{1b}[2J"), "{coloured:?}");
    }

    #[test]
    fn a_wide_character_takes_two_columns() {
        let table = show(false).table(&[cells(&["A", "B"]), cells(&["日本", "x"]), cells(&["abcd", "x"])]);
        assert_eq!(table, "A      B\n日本   x\nabcd   x\n");
    }
}
