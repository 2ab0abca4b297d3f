//! Tables in `docs/`: what is expected, and what is printed.

/// Where tenants are told what they may do.
pub(super) const PAGE: &str = "tenancy.md";

/// The table below a heading of a page.
pub(super) fn expected(page: &str, heading: &str) -> String {
    let path = format!("{}/docs/{page}", env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(path).unwrap();
    let section = page.split("\n## ").find(|section| section.starts_with(heading)).unwrap();
    lines(section.lines().filter(|line| line.starts_with('|')))
}

/// A table in Markdown.
pub(super) fn markdown(head: &[&str], rows: &[Vec<String>]) -> String {
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let head: Vec<String> = head.iter().map(|&cell| cell.to_owned()).collect();
    let rule = format!("|{}\n", "---|".repeat(head.len()));
    [line(&head), rule].into_iter().chain(rows.iter().map(|row| line(row))).collect()
}

/// Prints what was measured and names the rows that are not as expected.
pub(super) fn compare(heading: &str, measured: &str) {
    eprintln!("\n{heading}\n\n{measured}");
    let expected = expected(PAGE, heading);
    let only_in = |these: &str, others: &str| lines(these.lines().filter(|row| !others.lines().any(|o| o == *row)));
    assert!(
        measured == expected,
        "{heading}: docs/tenancy.md says otherwise\nmeasured:\n{}expected:\n{}",
        only_in(measured, &expected),
        only_in(&expected, measured)
    );
}

fn lines<'a>(rows: impl Iterator<Item = &'a str>) -> String {
    rows.flat_map(|row| [row, "\n"]).collect()
}
