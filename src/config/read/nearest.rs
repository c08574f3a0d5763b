//! Which known word somebody probably meant.

/// "did you mean", or the words that there are.
pub(in crate::config) fn help(word: &str, known: &[&str]) -> String {
    match nearest(word, known.iter().copied()) {
        Some(nearest) => format!("did you mean `{nearest}`?"),
        None if known.is_empty() => "there are none yet".to_owned(),
        None => format!("known here: {}", list(known)),
    }
}

/// The known word that is nearest to `word`, if one is near at all.
pub(in crate::config) fn nearest<'k>(word: &str, known: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    let plain = |word: &str| word.to_lowercase().replace(['-', '_', ' '], "");
    let wanted = plain(word);
    let distance = |known: &str| strsim::damerau_levenshtein(&wanted, &plain(known));
    let near = |(distance, known): &(usize, &str)| *distance <= known.len().max(wanted.len()) / 3;
    known
        .map(|known| (distance(known), known))
        .filter(near)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, known)| known)
}

/// Words for a sentence: `` `a`, `b`, `c` ``.
pub(in crate::config) fn list(words: &[&str]) -> String {
    words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(word: &str, known: &[&str], expected: &str) {
        assert_eq!(help(word, known), expected);
    }

    #[test]
    fn finds_a_mistyped_word() {
        check("lisen", &["listen", "acknowledge"], "did you mean `listen`?");
        check("timezone", &["listen", "time_zone"], "did you mean `time_zone`?");
        check("Regional_Repository", &["regional-repository"], "did you mean `regional-repository`?");
    }

    #[test]
    fn lists_what_there_is_when_nothing_is_near() {
        check("colour", &["a", "b"], "known here: `a`, `b`");
        check("x", &[], "there are none yet");
    }
}
