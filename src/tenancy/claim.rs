//! Which of several objects that want the same domain has it.

use k8s_openapi::jiff::Timestamp;

/// What an `EmailDomain` brings forward for its claim on a domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The object's uid.
    pub uid: String,
    /// Whether the domain was seen on Mailcow with this object's mark.
    pub is_held: bool,
    /// Whether its ownership is proven, or need not be.
    pub is_proven: bool,
    /// When the object was made.
    pub created: Option<Timestamp>,
    /// The object's `namespace/name`, for those made in the same second.
    pub id: String,
}

impl Claim {
    /// Smaller is better: who holds it, who has proven it, who came first.
    fn rank(&self) -> (bool, bool, Option<Timestamp>, &str) {
        (!self.is_held, !self.is_proven, self.created, &self.id)
    }
}

/// Who of the others has the better claim than `own`; `None` where nobody has.
pub fn rival<'a>(own: &Claim, others: &'a [Claim]) -> Option<&'a Claim> {
    others.iter().filter(|other| other.uid != own.uid && other.rank() < own.rank()).min_by_key(|other| other.rank())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(uid: &str, second: i64) -> Claim {
        let created = Timestamp::from_second(second).ok();
        Claim { uid: uid.to_owned(), is_held: false, is_proven: true, created, id: format!("n/{uid}") }
    }

    #[test]
    fn whoever_holds_it_keeps_it_then_whoever_proved_it_then_the_first() {
        let (first, second) = (claim("a", 1), claim("b", 2));
        let squatter = Claim { is_proven: false, ..claim("c", 0) };
        let holder = Claim { is_held: true, is_proven: false, ..claim("d", 9) };
        let all = [first.clone(), second.clone(), squatter.clone()];
        assert_eq!(rival(&first, &all), None);
        assert_eq!(rival(&second, &all), Some(&first));
        assert_eq!(rival(&squatter, &all), Some(&first));
        let all = [first.clone(), second, squatter, holder.clone()];
        assert_eq!(rival(&first, &all), Some(&holder));
        assert_eq!(rival(&holder, &all), None);
    }

    #[test]
    fn two_of_one_second_are_told_apart_by_name() {
        let (a, b) = (claim("a", 1), claim("b", 1));
        assert_eq!(rival(&a, std::slice::from_ref(&b)), None);
        assert_eq!(rival(&b, std::slice::from_ref(&a)), Some(&a));
    }
}
