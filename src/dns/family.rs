//! TXT records of one family, known by the version they begin with: one may be at a name, beside those of other families.

use super::answer::{Answer, Kind};
use super::characters::bare;
use super::known::{Known, Need};
use super::name;
use super::verdict::Verdict;
use super::wanted::Wanted;
use crate::crd::DnsVerdict;

/// A family of TXT records.
#[derive(Clone, Copy, Debug)]
pub(super) struct Family {
    /// How its records begin: `v=STSv1`.
    pub(super) version: &'static str,
    /// What people call it.
    pub(super) title: &'static str,
    /// Who reads its records: senders or receivers.
    pub(super) readers: &'static str,
    /// Whether readers take a text for a record of the family; the number of texts at the name beside it.
    pub(super) begins: fn(&[u8], usize) -> bool,
}

/// What is at the name.
#[derive(Debug)]
pub(super) enum Found<'a> {
    /// It is settled without a record: no answer, or several where one may be.
    Settled(Verdict),
    /// None.
    None(Verdict),
    /// One, which may be malformed.
    One(Verdict, &'a [u8]),
}

impl Family {
    /// Looks for the family's record in an answer. Texts that only resemble one count when there is no other.
    pub(super) fn find<'a>(&self, answer: &'a Answer, verdict: Verdict) -> Found<'a> {
        if let Some(done) = verdict.without_records(answer) {
            return Found::Settled(done);
        }
        let texts = answer.texts().iter().map(Vec::as_slice);
        let others = answer.texts().len().saturating_sub(1);
        let exact = texts.clone().filter(|text| (self.begins)(text, others)).collect::<Vec<_>>();
        let records = if exact.is_empty() { texts.filter(|text| self.resembles(text)).collect() } else { exact };
        let verdict = if records.is_empty() { verdict } else { verdict.observed(records.clone()) };
        match records.as_slice() {
            [] => Found::None(verdict),
            [text] => Found::One(verdict, text),
            several => {
                let (count, title, name, readers) = (several.len(), self.title, &verdict.name, self.readers);
                let message = format!("there are {count} {title} records at {name}; {readers} ignore all of them");
                let hint = Some("keep one of them and remove the others".to_owned());
                Found::Settled(verdict.found(DnsVerdict::Multiple, message).hint(hint))
            }
        }
    }

    /// There is none: is it at the doubled name, or at `elsewhere`? Texts of a wildcard are at every name, so they say
    /// nothing about the place.
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
        let (wildcard, found) = misplaced(known, wanted.domain.as_str(), &places, |text| self.resembles(text))?;
        let hint = found.map(|place| format!("the record is at {place}: move it to {}", verdict.name));
        let at_name = known.ask(&verdict.name, Kind::Txt)?;
        let message = format!("there is no {} record at {}{}", self.title, verdict.name, wildcard.note(at_name));
        Ok(verdict.found(DnsVerdict::Missing, message).hint(hint))
    }

    /// Whether a text is meant to be of the family, also with blanks, quotes or backslashes that don't belong there.
    fn resembles(&self, text: &[u8]) -> bool {
        bare(text).starts_with(&self.version.to_ascii_lowercase())
    }
}

/// The texts of the wildcard record of a domain (RFC 4592); none when it has none.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wildcard<'a> {
    domain: &'a str,
    texts: &'a [Vec<u8>],
}

impl<'a> Wildcard<'a> {
    /// # Errors
    /// When it has to be asked first.
    pub(super) fn of(known: &'a Known, domain: &'a str) -> Result<Self, Need> {
        Ok(Self { domain, texts: known.ask(&format!("*.{domain}"), Kind::Txt)?.texts() })
    }

    /// Whether the texts at a name are those of the wildcard.
    pub(super) fn answers(&self, answer: &Answer) -> bool {
        !self.texts.is_empty() && answer.texts() == self.texts
    }

    /// What to add to "there is no such record at a name".
    pub(super) fn note(&self, answer: &Answer) -> String {
        if !self.answers(answer) {
            return String::new();
        }
        format!("; the wildcard record *.{} answers there, with other texts", self.domain)
    }
}

/// Looks for a record at places where it is put by mistake: the first of them that has one which is not a wildcard's.
///
/// # Errors
/// When something has to be asked first.
pub(super) fn misplaced<'a, 'b>(
    known: &'a Known,
    domain: &'a str,
    places: &'b [String],
    is_record: impl Fn(&[u8]) -> bool,
) -> Result<(Wildcard<'a>, Option<&'b str>), Need> {
    let probes = Need::all(places.iter().map(|place| known.ask(place, Kind::Txt)));
    let (wildcard, probes) = match (Wildcard::of(known, domain), probes) {
        (Ok(wildcard), Ok(probes)) => (wildcard, probes),
        (wildcard, probes) => return Err(Need::of([wildcard.err(), probes.err()].into_iter().flatten())),
    };
    let found = places.iter().zip(probes).find(|(place, probe)| {
        let below = **place != domain && name::is_within(place, domain);
        probe.texts().iter().any(|text| is_record(text)) && !(below && wildcard.answers(probe))
    });
    Ok((wildcard, found.map(|(place, _)| place.as_str())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_known_by_its_version_however_it_is_written() {
        let begins = |text: &[u8], _| text.starts_with(b"v=STSv1");
        let family = Family { version: "v=STSv1", title: "MTA-STS", readers: "senders", begins };
        assert!(family.resembles(b"v=STSv1; id=1") && family.resembles(b"\"V = STSv1\\; id=1\""));
        assert!(family.resembles("v=STSv1;\u{a0}id=1".as_bytes()));
        assert!(!family.resembles(b"v=spf1 -all") && !family.resembles(b"") && !family.resembles(b"\xff"));
    }
}
