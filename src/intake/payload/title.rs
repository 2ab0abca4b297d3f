//! The title of a task or a note.

/// The longest title in characters.
const LONGEST: usize = 250;

/// Fills a template in. What is no field stays as it is written; rules with such a title are refused before.
pub(super) fn title(template: Option<&str>, subject: &str, sender: &str, recipient: &str) -> String {
    let subject = if subject.trim().is_empty() { "(no subject)" } else { subject.trim() };
    let mut title = String::new();
    for piece in pieces(template.unwrap_or("{subject}")) {
        match piece {
            Piece::Field("subject") => title.push_str(subject),
            Piece::Field("sender") => title.push_str(sender),
            Piece::Field("recipient") => title.push_str(recipient),
            Piece::Field(other) => title.extend(["{", other, "}"]),
            Piece::Text(text) => title.push_str(text),
        }
    }
    let line: String = title.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let line = line.trim();
    if line.chars().count() <= LONGEST {
        return line.to_owned();
    }
    line.chars().take(LONGEST - 1).chain(['…']).collect()
}

enum Piece<'a> {
    Text(&'a str),
    Field(&'a str),
}

fn pieces(template: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let mut rest = template;
    while let Some(start) = rest.find('{') {
        let (before, after) = rest.split_at(start);
        let name = after[1..].split_once('}').map(|(name, _)| name);
        let is_name = |name: &&str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if let Some(name) = name.filter(is_name) {
            pieces.extend([Piece::Text(before), Piece::Field(name)]);
            rest = &after[name.len() + 2..];
        } else {
            pieces.extend([Piece::Text(before), Piece::Text("{")]);
            rest = &after[1..];
        }
    }
    pieces.push(Piece::Text(rest));
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_is_filled_in_once() {
        let of = |template| title(template, "a {sender}", "s@t", "r@t");
        assert_eq!(of(None), "a {sender}");
        assert_eq!(of(Some("Bug: {subject} by {sender} to {recipient}")), "Bug: a {sender} by s@t to r@t");
        assert_eq!(of(Some("{unknown} {} {subject")), "{unknown} {} {subject");
        assert_eq!(title(None, " ", "", ""), "(no subject)");
        assert_eq!(title(None, "a\r\nb\0", "", ""), "a  b");
    }

    #[test]
    fn a_long_title_is_cut_between_characters() {
        let long = title(None, &"é".repeat(1_000), "", "");
        assert!(long.chars().count() == LONGEST && long.ends_with("é…"));
    }
}
