//! Fields after a version, `v=X; name=value`, as MTA-STS and TLS-RPT records have them (RFC 8461, section 3.1; RFC 8460,
//! section 3). Both grammars are one but for the version and the known fields: the version is exact and first, blanks
//! are free around semicolons only, and names have their case.

use super::characters::unexpected;
use super::tags::no_tag;

/// The fields after the version, in the order of the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fields(Vec<(String, String)>);

impl Fields {
    /// Reads a record that has to begin with this version, such as `v=STSv1`. Values of the `known` fields are left to
    /// the caller.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub(super) fn parse(text: &[u8], version: &str, known: &str) -> Result<Self, String> {
        if let Some(problem) = unexpected(text, |byte| matches!(byte, b'\t' | 0x20..=0x7e)) {
            return Err(problem);
        }
        let text = String::from_utf8_lossy(text);
        let rest = text.strip_prefix(version).ok_or_else(|| misbegun(&text, version))?;
        let Some(rest) = rest.trim_start_matches(BLANKS).strip_prefix(';') else {
            return Err(format!("a ; is missing after {version}"));
        };
        let mut pieces = rest.split(';').collect::<Vec<_>>();
        if pieces.len() > 1 && pieces.last().is_some_and(|last| last.trim_matches(BLANKS).is_empty()) {
            pieces.pop();
        }
        let last = pieces.len() - 1;
        let ended = rest.trim_end_matches(BLANKS).ends_with(';');
        let mut fields = Self(Vec::new());
        for (place, piece) in pieces.iter().enumerate() {
            let piece = piece.trim_start_matches(BLANKS);
            // Blanks belong to a semicolon; after the last value there may be none.
            let piece = if place < last || ended { piece.trim_end_matches(BLANKS) } else { piece };
            fields.0.push(field(piece, known)?);
        }
        Ok(fields)
    }

    /// The values of a field that has to be there; it may be there several times.
    ///
    /// # Errors
    /// That it is missing, or written in capitals.
    pub(super) fn demand(&self, name: &str) -> Result<Vec<&str>, String> {
        let found = self.0.iter().filter(|(found, _)| found == name).map(|(_, value)| value.as_str());
        let found = found.collect::<Vec<_>>();
        if !found.is_empty() {
            return Ok(found);
        }
        Err(match self.0.iter().find(|(found, _)| found.eq_ignore_ascii_case(name)) {
            Some((found, _)) => format!("{found}= is ignored: write {name}= in lower case"),
            None => format!("{name}= is missing"),
        })
    }
}

/// WSP (RFC 5234, appendix B.1).
const BLANKS: [char; 2] = [' ', '\t'];

/// Says how a record has to begin.
fn misbegun(text: &str, version: &str) -> String {
    if text.starts_with(BLANKS) {
        return format!("there is a blank before {version}: remove it");
    }
    format!("the record must begin with exactly {version};")
}

fn field(piece: &str, known: &str) -> Result<(String, String), String> {
    let Some((name, value)) = piece.split_once('=') else { return Err(no_tag(piece)) };
    if name.ends_with(BLANKS) || value.starts_with(BLANKS) {
        return Err(format!("there is a blank next to the = of {}: remove it", name.trim_end_matches(BLANKS)));
    }
    let letters = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte));
    if !letters || !(1..=32).contains(&name.len()) || !name.starts_with(|first: char| first.is_ascii_alphanumeric()) {
        return Err(format!("{name:?} is not the name of a field"));
    }
    if name != known && (value.is_empty() || value.contains(['=', ' ', '\t'])) {
        return Err(format!("the value of {name}= is empty, or has a blank or another ="));
    }
    if value.ends_with(BLANKS) {
        return Err(format!("there is a blank after the value of {name}=: remove it, or add a ; after it"));
    }
    Ok((name.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Fields, String> {
        Fields::parse(text.as_bytes(), "v=STSv1", "id")
    }

    /// RFC 8461, section 3.1, production by production.
    #[test]
    fn records_are_read_as_the_grammar_has_them() {
        for (text, fields) in [
            // sts-text-record = sts-version 1*(sts-field-delim sts-field) [sts-field-delim]
            ("v=STSv1;id=1", &[("id", "1")][..]),
            ("v=STSv1;id=1;", &[("id", "1")]),
            // sts-field-delim = *WSP ";" *WSP
            ("v=STSv1 ;\t id=1 ; ", &[("id", "1")]),
            // sts-extension = sts-ext-name "=" sts-ext-value
            ("v=STSv1; a-b_c.9=x:y<z>; id=1", &[("a-b_c.9", "x:y<z>"), ("id", "1")]),
            ("v=STSv1; 9=x", &[("9", "x")]),
            // The names of extensions may be in capitals; they are not our fields.
            ("v=STSv1; ID=1", &[("ID", "1")]),
        ] {
            let wanted = fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            assert_eq!(parse(text), Ok(Fields(wanted)), "{text:?}");
        }
    }

    #[test]
    fn what_is_no_record_is_refused_and_named() {
        for (text, words) in [
            ("V=STSv1; id=1", "begin with exactly v=STSv1;"),
            ("v=stsv1; id=1", "begin with exactly"),
            ("v =STSv1; id=1", "begin with exactly"),
            (" v=STSv1; id=1", "a blank before v=STSv1"),
            ("v=STSv1 id=1", "a ; is missing after v=STSv1"),
            ("v=STSv10; id=1", "a ; is missing"),
            ("v=STSv1", "a ; is missing"),
            ("v=STSv1;", "nothing between two semicolons"),
            ("v=STSv1;; id=1", "nothing between two semicolons"),
            ("v=STSv1; id = 1", "a blank next to the = of id"),
            ("v=STSv1; id=1 ", "a blank after the value of id="),
            ("v=STSv1; id:1", "write id=1"),
            ("v=STSv1; -a=1; id=1", "not the name of a field"),
            ("v=STSv1; a=x=y; id=1", "another ="),
            ("v=STSv1; a=; id=1", "is empty"),
            ("v=STSv1; id=\u{e4}", "write plain ASCII"),
            ("v=STSv1;\u{a0}id=1", "a no-break space (U+00A0)"),
        ] {
            let problem = parse(text).unwrap_err();
            assert!(problem.contains(words), "{text:?}: {problem}");
        }
    }

    #[test]
    fn a_field_that_has_to_be_there_is_in_lower_case() {
        assert_eq!(parse("v=STSv1; id=1; id=2").unwrap().demand("id"), Ok(vec!["1", "2"]));
        assert!(parse("v=STSv1; ID=1").unwrap().demand("id").unwrap_err().contains("write id= in lower case"));
        assert!(parse("v=STSv1; x=1").unwrap().demand("id").unwrap_err().contains("missing"));
    }

    #[test]
    fn no_bytes_make_it_panic() {
        for a in 0..=255u8 {
            for b in [0, b';', b'=', b' ', b'v', 0xff] {
                drop(Fields::parse(&[b"v=STSv1;", &[a, b, a][..]].concat(), "v=STSv1", "id"));
            }
        }
    }
}
