//! The value sets of required bindings.

/// Index of a value set in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ValueSetId(pub u16);

/// A value set with all its codes.
#[derive(Debug)]
pub struct ValueSet {
    /// The last part of its URL, such as `administrative-gender`.
    pub name: &'static str,
    /// In order of the alphabet; of a value set of Coding each as `system|code`.
    codes: Vec<&'static str>,
}

impl ValueSet {
    /// `administrative-gender`, then its codes, with tabs between them.
    pub(super) fn read(line: &'static str) -> Self {
        let mut words = line.split('\t');
        let name = words.next().unwrap_or_default();
        let mut codes: Vec<_> = words.collect();
        codes.sort_unstable();
        Self { name, codes }
    }

    /// True if `code` is one of its codes.
    #[must_use]
    pub fn has(&self, code: &str) -> bool {
        self.codes.binary_search(&code).is_ok()
    }

    /// True if `code` of `system` is one of its codes.
    #[must_use]
    pub fn has_coding(&self, system: &str, code: &str) -> bool {
        self.codes.iter().any(|pair| pair.rsplit_once('|') == Some((system, code)))
    }

    /// Its codes, in order of the alphabet.
    #[must_use]
    pub fn codes(&self) -> &[&'static str] {
        &self.codes
    }
}
