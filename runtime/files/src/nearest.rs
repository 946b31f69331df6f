//! The nearest of some known names, for errors that ask "did you mean".

/// The known name with the fewest single-letter edits from `name`; `None` when even that one is another word.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let best = least_unlike(name, known)?;
    (edits(name, best) <= best.chars().count().max(name.chars().count()) / 2).then_some(best)
}

/// The same, however unlike it is; `None` when nothing is known. Of equals, the first in the alphabet.
pub fn least_unlike<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known.into_iter().map(|k| (edits(name, k), k)).min().map(|(_, k)| k)
}

/// Levenshtein distance: insertions, deletions and replacements that turn `a` into `b`.
fn edits(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, a_i) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, &b_j) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(a_i != b_j);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_found_and_a_strange_one_is_not() {
        let known = ["title", "triple", "timeout_s", "transport"];
        assert_eq!(nearest("tripel", known), Some("triple"));
        assert_eq!(nearest("timeout", known), Some("timeout_s"));
        assert_eq!(nearest("zzzzzzzzz", known), None);
        assert_eq!(nearest("x", []), None);
        assert_eq!(least_unlike("zzzzzzzzz", ["title", "ab"]), Some("ab"), "the first of two as unlike");
        assert_eq!((edits("kitten", "sitting"), edits("", "abc"), edits("abc", "")), (3, 3, 3));
    }
}
