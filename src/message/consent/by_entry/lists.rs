//! Lists in one piece of memory.

/// Lists one behind the other, by number.
pub(super) struct Lists<N> {
    pub(super) items: Vec<N>,
    /// Where each ends.
    ends: Vec<usize>,
}

impl<N> Default for Lists<N> {
    fn default() -> Self {
        Self::with_capacity(0, 0)
    }
}

impl<N> Lists<N> {
    /// With room for so many lists, and so many items in all.
    pub(super) fn with_capacity(lists: usize, items: usize) -> Self {
        Self { items: Vec::with_capacity(items), ends: Vec::with_capacity(lists) }
    }

    /// How many lists there are.
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// Ends a list: what was added to the items since the last.
    pub(super) fn end(&mut self) {
        self.ends.push(self.items.len());
    }

    /// The list of that number.
    pub(super) fn get(&self, number: usize) -> &[N] {
        let from = number.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or_default();
        self.ends.get(number).and_then(|end| self.items.get(from..*end)).unwrap_or_default()
    }

    /// All of them in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &[N]> {
        (0..self.len()).map(|number| self.get(number))
    }

    /// The list that has not ended yet, in order and each item once, where it is longer than `few`.
    pub(super) fn sort_last(&mut self, few: usize)
    where
        N: Ord,
    {
        let from = self.ends.last().copied().unwrap_or_default();
        if self.items.len() > from + few {
            let mut last = self.items.split_off(from);
            last.sort_unstable();
            last.dedup();
            self.items.append(&mut last);
        }
    }

    /// These lists.
    pub(super) fn of(lists: impl Iterator<Item = impl Iterator<Item = N>>) -> Self {
        let mut all = Self::default();
        for list in lists {
            all.items.extend(list);
            all.end();
        }
        all
    }
}
