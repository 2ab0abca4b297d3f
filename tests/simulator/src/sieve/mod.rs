//! The check a Sieve script goes through before Mailcow stores it.
//!
//! Mailcow does not ask Dovecot: a parser of its own knows a part of Sieve and some extensions.
//! This one accepts and refuses the scripts the real one was seen to accept and refuse, with the
//! same words; what lies outside is decided by the same rules.

mod grammar;
mod lexer;
mod parser;

/// Judges a script.
///
/// # Errors
/// When Mailcow refuses it: what it puts behind `sieve_error`.
pub fn check(script: &str) -> Result<(), String> {
    parser::Parser::new(script).script()
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn verdicts_are_those_of_the_real_parser() {
        let cases = crate::json::Json::parse(include_str!("gate_cases.json")).expect("a list of cases");
        let mut wrong = Vec::new();
        for case in cases.into_items() {
            let script = case.get("script").to_text();
            let ours = check(&script).err().unwrap_or_else(|| "OK".to_owned());
            if ours != case.get("verdict").to_text() {
                wrong.push(format!("{script}: {ours}, not {}", case.get("verdict").to_text()));
            }
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
    }

    #[test]
    fn scripts_are_judged_as_mailcow_does() {
        let long =
            "require [\"reject\"];\nreject text:\nNo.\n..\n.\n;\nif anyof (true, not false) { keep; } else { stop; }";
        for good in ["", "# nothing\n", "IF TRUE { STOP; }", long, "if header :is \"subject\" [] { stop; }"] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        let bad = [
            ("keep", "line 1: script end where semicolon expected near "),
            ("if {", "line 1: block start where identifier expected near {"),
            ("\nfileinto \"X\";", "line 2: unknown command fileinto"),
            ("redirect \"a@b;", "line 1: unknown token where string expected near \"a@b;"),
            ("if header :regex \"s\" \"x\" { stop; }", "line 1: unexpected tag :regex"),
        ];
        for (script, error) in bad {
            assert_eq!(check(script), Err(error.to_owned()), "{script}");
        }
    }
}
