//! What a check found: fine, or what is wrong and the command that mends it.

use serde::Serialize;
use serde_json::Value;

use crate::cli::flags::Output;
use crate::cli::show::{Show, Tone, head, plain};

/// How something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(super) enum Verdict {
    /// It has to be mended.
    Bad,
    /// It should be looked at.
    Warning,
    /// It could not be checked.
    Skipped,
    /// It is fine.
    Good,
}

/// The result of one check.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Finding {
    /// What was checked.
    check: &'static str,
    /// How it is.
    verdict: Verdict,
    /// What was found.
    message: String,
    /// The command or the act that mends it.
    #[serde(skip_serializing_if = "Option::is_none")]
    remedy: Option<String>,
}

/// All results.
#[derive(Debug, Default)]
pub(super) struct Findings(Vec<Finding>);

impl Findings {
    fn push(&mut self, check: &'static str, verdict: Verdict, message: String, remedy: Option<String>) {
        self.0.push(Finding { check, verdict, message, remedy });
    }

    /// It is fine.
    pub(super) fn good(&mut self, check: &'static str, message: impl Into<String>) {
        self.push(check, Verdict::Good, message.into(), None);
    }

    /// It has to be mended, in this way.
    pub(super) fn bad(&mut self, check: &'static str, message: impl Into<String>, remedy: impl Into<String>) {
        self.push(check, Verdict::Bad, message.into(), Some(remedy.into()));
    }

    /// It should be looked at.
    pub(super) fn warn(&mut self, check: &'static str, message: impl Into<String>, remedy: impl Into<String>) {
        self.push(check, Verdict::Warning, message.into(), Some(remedy.into()));
    }

    /// It could not be checked.
    pub(super) fn skip(&mut self, check: &'static str, message: impl Into<String>) {
        self.push(check, Verdict::Skipped, message.into(), None);
    }

    /// Whether something has to be mended.
    pub(super) fn has_bad(&self) -> bool {
        self.0.iter().any(|finding| finding.verdict == Verdict::Bad)
    }

    /// Prints everything, the worst first.
    pub(super) fn print(&self, output: Output, show: &Show) -> Result<(), Vec<String>> {
        let mut all: Vec<&Finding> = self.0.iter().collect();
        all.sort_by_key(|finding| finding.verdict);
        let value: Value = all.iter().filter_map(|finding| serde_json::to_value(finding).ok()).collect();
        Show::answer(output, &value, || {
            let mut rows = vec![head(&["", "CHECK", "RESULT"])];
            for finding in &all {
                let (sign, tone) = match finding.verdict {
                    Verdict::Bad => (show.glyph("✗", "BAD"), Tone::Bad),
                    Verdict::Warning => ("!", Tone::Doubtful),
                    Verdict::Skipped => ("-", Tone::Plain),
                    Verdict::Good => (show.glyph("✓", "ok"), Tone::Good),
                };
                rows.push(vec![(sign.to_owned(), tone), plain(finding.check), plain(finding.message.clone())]);
                if let Some(remedy) = &finding.remedy {
                    rows.push(vec![plain(""), plain(""), plain(format!("mend: {remedy}"))]);
                }
            }
            let count = |verdict| all.iter().filter(|finding| finding.verdict == verdict).count();
            let (bad, warnings) = (count(Verdict::Bad), count(Verdict::Warning));
            format!("{}\n{bad} wrong, {warnings} to look at, {} fine\n", show.table(&rows), count(Verdict::Good))
        })
    }
}
