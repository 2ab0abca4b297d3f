//! Output: tables as text, JSON and YAML, colours only on a terminal.

use std::io::{IsTerminal, Write};

use serde_json::Value;

use super::Output;

/// Writes answers to standard output and problems to standard error.
pub(super) struct Show {
    in_colour: bool,
    problems_in_colour: bool,
}

/// How a cell of a table looks on a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tone {
    /// As it is.
    Plain,
    /// Green.
    Good,
    /// Red.
    Bad,
}

/// A cell of a table.
pub(super) type Cell = (String, Tone);

impl Show {
    pub(super) fn new(no_color: bool) -> Self {
        Self {
            in_colour: !no_color && std::io::stdout().is_terminal(),
            problems_in_colour: !no_color && std::io::stderr().is_terminal(),
        }
    }

    /// Writes a text. A reader that closes early is not an error.
    fn write(text: &str) -> Result<(), Vec<String>> {
        match std::io::stdout().lock().write_all(text.as_bytes()) {
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

    /// Writes a note as one line, beside the answer.
    pub(super) fn warning(&self, text: &str) {
        self.aside("warning:", "33", text);
    }

    fn aside(&self, head: &str, colour: &str, text: &str) {
        let head = if self.problems_in_colour { format!("\u{1b}[{colour}m{head}\u{1b}[0m") } else { head.to_owned() };
        // Nothing else can be done when standard error is closed.
        let _ = writeln!(std::io::stderr().lock(), "{head} {}", clean(text));
    }

    /// Lines up the columns of a table; the first row is its head.
    pub(super) fn table(&self, rows: &[Vec<Cell>]) -> String {
        let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
        let wide = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| width(&cell.0)).max();
        let widths: Vec<usize> = (0..columns).map(|column| wide(column).unwrap_or_default()).collect();
        rows.iter().map(|row| self.row(row, &widths)).collect()
    }

    fn row(&self, row: &[Cell], widths: &[usize]) -> String {
        let mut line = String::new();
        for (i, (text, tone)) in row.iter().enumerate() {
            let text = clean(text);
            let colour = match tone {
                Tone::Good if self.in_colour => Some("32"),
                Tone::Bad if self.in_colour => Some("31"),
                _ => None,
            };
            let gap = if i + 1 == row.len() { 0 } else { widths[i] - width(&text) + 3 };
            line.push_str(&colour.map_or(text.clone(), |code| format!("\u{1b}[{code}m{text}\u{1b}[0m")));
            line.push_str(&" ".repeat(gap));
        }
        format!("{}\n", line.trim_end())
    }
}

/// The head of a table.
pub(super) fn head(names: &[&str]) -> Vec<Cell> {
    names.iter().map(|name| ((*name).to_owned(), Tone::Plain)).collect()
}

/// Removes control characters, which a manifest may contain, before they reach a terminal.
fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

fn width(text: &str) -> usize {
    text.chars().count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cells(row: &[&str]) -> Vec<Cell> {
        row.iter().map(|text| ((*text).to_owned(), Tone::Plain)).collect()
    }

    #[test]
    fn columns_line_up_and_lines_have_no_blanks_at_their_ends() {
        let show = Show { in_colour: false, problems_in_colour: false };
        let table = show.table(&[cells(&["RULE", "VALID", "WHY"]), cells(&["n/größer", "yes", ""])]);
        assert_eq!(table, "RULE       VALID   WHY\nn/größer   yes\n");
    }

    #[test]
    fn colours_are_for_terminals_and_control_characters_for_nobody() {
        let rows = [vec![("a\u{1b}[2J".to_owned(), Tone::Bad)]];
        let plain = Show { in_colour: false, problems_in_colour: false };
        assert_eq!(plain.table(&rows), "a\u{fffd}[2J\n");
        let coloured = Show { in_colour: true, problems_in_colour: false };
        assert_eq!(coloured.table(&rows), "\u{1b}[31ma\u{fffd}[2J\u{1b}[0m\n");
    }
}
