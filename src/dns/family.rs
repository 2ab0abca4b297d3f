//! TXT records of one family, told by the version they begin with: there may be one at a name, beside those of others.

use super::answer::{Answer, Kind};
use super::known::{Known, Need};
use super::verdict::Verdict;
use super::wanted::Wanted;
use crate::crd::DnsVerdict;

/// A family of TXT records.
#[derive(Clone, Copy, Debug)]
pub(super) struct Family {
    /// How its records begin, in lower case: `v=stsv1`.
    pub(super) version: &'static str,
    /// What people call it.
    pub(super) title: &'static str,
    /// Who reads its records: senders or receivers.
    pub(super) readers: &'static str,
}

/// What stands of the family at the name.
#[derive(Debug)]
pub(super) enum Found<'a> {
    /// It is settled without a record: no answer, or several where one may be.
    Settled(Verdict),
    /// None.
    None(Verdict),
    /// One.
    One(Verdict, &'a [u8]),
}

impl Family {
    /// Looks for the family's record in an answer.
    pub(super) fn find<'a>(&self, answer: &'a Answer, verdict: Verdict) -> Found<'a> {
        if let Some(done) = verdict.without_records(answer) {
            return Found::Settled(done);
        }
        let records = answer.texts().iter().map(Vec::as_slice).filter(|text| self.holds(text)).collect::<Vec<_>>();
        let verdict = if records.is_empty() { verdict } else { verdict.observed(records.clone()) };
        match records.as_slice() {
            [] => Found::None(verdict),
            [text] => Found::One(verdict, text),
            several => {
                let (count, name, readers) = (several.len(), &verdict.name, self.readers);
                let message = format!("{count} records stand at {name}; {readers} act as if there were none");
                let hint = Some("leave one of them".to_owned());
                Found::Settled(verdict.found(DnsVerdict::Multiple, message).hint(hint))
            }
        }
    }

    /// There is none: is it at the doubled name, or at `elsewhere`?
    ///
    /// # Errors
    /// When something has to be asked first.
    pub(super) fn missing(
        &self,
        (wanted, known): (&Wanted, &Known),
        verdict: Verdict,
        elsewhere: &str,
    ) -> Result<Verdict, Need> {
        let places = [format!("{}.{}", verdict.name, wanted.domain), format!("{elsewhere}.{}", wanted.domain)];
        let probes = Need::all(places.iter().map(|place| known.ask(place, Kind::Txt)))?;
        let found = places.iter().zip(probes).find(|(_, probe)| probe.texts().iter().any(|text| self.holds(text)));
        let hint = found.map(|(place, _)| format!("the record stands at {place}: move it to {}", verdict.name));
        let message = format!("no {} record at {}", self.title, verdict.name);
        Ok(verdict.found(DnsVerdict::Missing, message).hint(hint))
    }

    /// Whether a text is meant to be of the family, also with blanks, quotes or backslashes that don't belong there.
    fn holds(&self, text: &[u8]) -> bool {
        let text = String::from_utf8_lossy(text).to_ascii_lowercase().replace([' ', '"', '\\'], "");
        text.starts_with(self.version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_told_by_its_version_however_it_is_written() {
        let family = Family { version: "v=stsv1", title: "MTA-STS", readers: "senders" };
        assert!(family.holds(b"v=STSv1; id=1") && family.holds(b"\"V = STSv1\\; id=1\""));
        assert!(!family.holds(b"v=spf1 -all") && !family.holds(b"") && !family.holds(b"\xff"));
    }
}
