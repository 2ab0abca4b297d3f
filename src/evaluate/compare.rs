//! Comparisons of Sieve with the comparator `i;ascii-casemap`: bytes, and letters of ASCII in any case.

use crate::mail::rule::{Glob, Test};

/// Whether a value fits the test. Every value fits `Exists`, and none `Domain`, which looks at a part of an address.
pub(super) fn fits(test: &Test, value: &[u8]) -> bool {
    match test {
        Test::Exists => true,
        Test::Domain(_) => false,
        Test::Equals(texts) => texts.iter().any(|text| value.eq_ignore_ascii_case(text.as_str().as_bytes())),
        Test::Contains(texts) => texts.iter().any(|text| contains(value, text.as_str().as_bytes())),
        Test::StartsWith(texts) => texts.iter().any(|text| starts(value, text.as_str().as_bytes())),
        Test::EndsWith(texts) => texts.iter().any(|text| ends(value, text.as_str().as_bytes())),
        Test::Glob(globs) => globs.iter().any(|glob| covers(glob, value)),
        Test::Regex(patterns) => patterns.iter().any(|pattern| pattern.is_found_in(value)),
    }
}

fn contains(value: &[u8], part: &[u8]) -> bool {
    part.is_empty() || value.windows(part.len()).any(|window| window.eq_ignore_ascii_case(part))
}

fn starts(value: &[u8], part: &[u8]) -> bool {
    value.get(..part.len()).is_some_and(|start| start.eq_ignore_ascii_case(part))
}

/// Whether the value ends so, letters in any case.
pub(super) fn ends(value: &[u8], part: &[u8]) -> bool {
    value.len() >= part.len() && value[value.len() - part.len()..].eq_ignore_ascii_case(part)
}

/// A piece of a pattern.
#[derive(Clone, Copy)]
enum Piece {
    Run,
    One,
    Byte(u8),
}

fn pieces(glob: &Glob) -> Vec<Piece> {
    let mut bytes = glob.as_str().bytes();
    let mut pieces = Vec::new();
    while let Some(byte) = bytes.next() {
        pieces.push(match byte {
            b'*' => Piece::Run,
            b'?' => Piece::One,
            b'\\' => Piece::Byte(bytes.next().unwrap_or(byte)),
            byte => Piece::Byte(byte),
        });
    }
    pieces
}

/// Whether the pattern fits the whole value. Goes back to the last run only, which is enough: an earlier one could
/// take nothing that the last can't.
fn covers(glob: &Glob, value: &[u8]) -> bool {
    let pieces = pieces(glob);
    let (mut piece, mut at) = (0, 0);
    let mut run: Option<(usize, usize)> = None;
    while at < value.len() {
        let fits = match pieces.get(piece) {
            Some(Piece::Run) => {
                run = Some((piece + 1, at));
                piece += 1;
                continue;
            }
            Some(Piece::One) => true,
            Some(Piece::Byte(byte)) => byte.eq_ignore_ascii_case(&value[at]),
            None => false,
        };
        if fits {
            (piece, at) = (piece + 1, at + 1);
            continue;
        }
        let Some((after, taken)) = run else { return false };
        run = Some((after, taken + 1));
        (piece, at) = (after, taken + 1);
    }
    pieces[piece..].iter().all(|piece| matches!(piece, Piece::Run))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::rule::{Pattern, Text};

    #[test]
    fn patterns_fit_whole_values_byte_by_byte() {
        for (glob, value, fit) in [
            ("*", "", true),
            ("a*c", "ABBC", true),
            ("a*c", "abcb", false),
            ("*ab*ab", "abab", true),
            ("*ab*ab", "ab", false),
            ("a?c", "abc", true),
            ("a?c", "aüc", false),
            ("a??c", "aüc", true),
            (r"a\*\?\\", r"a*?\", true),
            (r"a\*", "ab", false),
            ("[a]", "a", false),
            ("*a?b*", "xaaybz", true),
            ("", "", true),
            ("", "a", false),
        ] {
            assert_eq!(covers(&Glob::parse(glob).unwrap(), value.as_bytes()), fit, "{glob} {value}");
        }
    }

    #[test]
    fn only_letters_of_ascii_fold() {
        let texts = |text: &str| vec![Text::parse(text).unwrap()];
        assert!(fits(&Test::Equals(texts("GRüN")), "grün".as_bytes()));
        assert!(!fits(&Test::Equals(texts("GRÜN")), "grün".as_bytes()));
        assert!(fits(&Test::Contains(texts("RüN")), "grün".as_bytes()));
        assert!(fits(&Test::StartsWith(texts("GR")), "grün".as_bytes()) && !fits(&Test::StartsWith(texts("gr")), b"g"));
        assert!(fits(&Test::EndsWith(texts("N")), "grün".as_bytes()) && !fits(&Test::EndsWith(texts("ün")), b"n"));
    }

    #[test]
    fn expressions_are_searched_for_in_bytes() {
        let found =
            |pattern: &str, value: &str| fits(&Test::Regex(vec![Pattern::parse(pattern).unwrap()]), value.as_bytes());
        assert!(found("B.?D$", "abcd") && !found("^b", "ab"));
        assert!(found("^..$", "ü") && !found("^.$", "ü"));
    }
}
