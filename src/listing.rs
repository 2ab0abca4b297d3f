//! Lists of names in messages.

/// The first of some names, and how many more there are.
pub(crate) fn first_of(names: &[String], most: usize) -> String {
    let more = names.len().saturating_sub(most);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{more}", names.iter().take(most).map(String::as_str).collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_list_is_cut_and_counted() {
        let names = ["a", "b", "c"].map(str::to_owned);
        assert_eq!(first_of(&names, 2), "a, b and 1 more");
        assert_eq!(first_of(&names, 3), "a, b, c");
        assert_eq!(first_of(&[], 3), "");
    }
}
