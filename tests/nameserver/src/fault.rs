//! What a server can be told to do wrong.

use std::collections::BTreeMap;
use std::time::Duration;

use hickory_proto::rr::{LowerName, Record, RecordType};

/// A way to misbehave.
#[derive(Clone, Debug)]
pub enum Fault {
    /// RCODE 2.
    ServFail,
    /// RCODE 5.
    Refused,
    /// No answer at all.
    Silent,
    /// The right answer after this long.
    Slow(Duration),
    /// TC=1 and no records over UDP; TCP works.
    Truncate,
    /// TC=1 and no records over UDP; TCP gives no answer.
    TruncateForEver,
    /// The right answer with AA=0, as from an intercepting resolver.
    NotAuthoritative,
    /// These records in place of the right ones.
    Wrong(Vec<Record>),
    /// The right answer under another transaction id, as from a spoofer.
    WrongId,
    /// The right answer to another question.
    WrongQuestion,
    /// Bytes that are no DNS message, under the right transaction id.
    Garbage,
}

/// The faults of one server: the closest one counts, name and type before name before all.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    by_name: BTreeMap<(LowerName, Option<RecordType>), Fault>,
    everywhere: Option<Fault>,
}

impl Faults {
    /// Misbehave for this name, and for this type only when one is given.
    pub(crate) fn set(&mut self, name: LowerName, kind: Option<RecordType>, fault: Fault) {
        self.by_name.insert((name, kind), fault);
    }

    /// Misbehave for every question.
    pub(crate) fn set_everywhere(&mut self, fault: Fault) {
        self.everywhere = Some(fault);
    }

    /// Behave again.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// What to do wrong for this question.
    pub(crate) fn find(&self, name: &LowerName, kind: RecordType) -> Option<Fault> {
        self.by_name
            .get(&(name.clone(), Some(kind)))
            .or_else(|| self.by_name.get(&(name.clone(), None)))
            .or(self.everywhere.as_ref())
            .cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_closest_fault_counts() {
        let name = LowerName::from(crate::name("a.test"));
        let mut faults = Faults::default();
        faults.set_everywhere(Fault::Silent);
        faults.set(name.clone(), None, Fault::Refused);
        faults.set(name.clone(), Some(RecordType::MX), Fault::ServFail);
        assert!(matches!(faults.find(&name, RecordType::MX), Some(Fault::ServFail)));
        assert!(matches!(faults.find(&name, RecordType::A), Some(Fault::Refused)));
        assert!(matches!(faults.find(&LowerName::from(crate::name("b.test")), RecordType::A), Some(Fault::Silent)));
        faults.clear();
        assert!(faults.find(&name, RecordType::MX).is_none());
    }
}
