//! An object: its members in their order.

use std::sync::Arc;

use super::shared::{Shared, With};
use super::{Text, Value};

/// An object: its members in their order, each name once.
///
/// A member is found by looking through them, which is the quickest way in objects as small as FHIR's;
/// nothing here asks a big object for each of its members in turn. What is [shared](Map::share) is cloned at no cost.
#[derive(Clone)]
pub struct Map(Members);

type Member = (Text, Value);

#[derive(Clone)]
enum Members {
    Own(Vec<Member>),
    /// Of several objects that are alike, until one of them is changed.
    Shared(Arc<Shared>),
    /// Those of several objects, and one more.
    With(Box<With>),
}

impl Default for Map {
    fn default() -> Self {
        Self::new()
    }
}

/// True if two names are the same. Most have no more than sixteen bytes: two words are compared, without a call.
#[inline]
fn is_same(a: &str, b: &str) -> bool {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    if a.len() != b.len() {
        return false;
    }
    match (a.first_chunk::<8>(), a.last_chunk::<8>(), b.first_chunk::<8>(), b.last_chunk::<8>()) {
        (Some(a_first), Some(a_last), Some(b_first), Some(b_last)) => {
            a_first == b_first && a_last == b_last && (a.len() <= 16 || a == b)
        }
        _ => match (a.first_chunk::<4>(), a.last_chunk::<4>(), b.first_chunk::<4>(), b.last_chunk::<4>()) {
            (Some(a_first), Some(a_last), Some(b_first), Some(b_last)) => a_first == b_first && a_last == b_last,
            _ => a.iter().eq(b),
        },
    }
}

/// Objects of more members are compared in the order of their names.
const SMALL: usize = 16;

impl Members {
    fn own(&mut self) -> &mut Vec<Member> {
        match self {
            Self::Own(members) => members,
            Self::Shared(shared) => {
                *self = Self::Own(shared.members.clone());
                self.own()
            }
            Self::With(with) => {
                *self = Self::Own(with.members());
                self.own()
            }
        }
    }
}

/// The members of an object in their order: some that it shares perhaps, one more, and the rest of those that it shares.
#[derive(Clone)]
pub struct Iter<'a> {
    before: std::slice::Iter<'a, Member>,
    more: Option<&'a Member>,
    behind: std::slice::Iter<'a, Member>,
}

#[inline]
fn pair((name, value): &Member) -> (&Text, &Value) {
    (name, value)
}

impl<'a> Iterator for Iter<'a> {
    type Item = (&'a Text, &'a Value);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        match self.before.next() {
            Some(member) => Some(pair(member)),
            None => self.more.take().or_else(|| self.behind.next()).map(pair),
        }
    }

    #[inline]
    fn fold<B, F: FnMut(B, Self::Item) -> B>(self, start: B, mut add: F) -> B {
        let so_far = self.before.fold(start, |so_far, member| add(so_far, pair(member)));
        let so_far = self.more.into_iter().fold(so_far, |so_far, member| add(so_far, pair(member)));
        self.behind.fold(so_far, |so_far, member| add(so_far, pair(member)))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let count = self.before.len() + usize::from(self.more.is_some()) + self.behind.len();
        (count, Some(count))
    }
}

impl DoubleEndedIterator for Iter<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.behind.next_back().or_else(|| self.more.take()).or_else(|| self.before.next_back()).map(pair)
    }
}

impl ExactSizeIterator for Iter<'_> {}

impl Map {
    /// Without members.
    #[must_use]
    pub const fn new() -> Self {
        Self(Members::Own(Vec::new()))
    }

    /// With room for as many.
    #[must_use]
    pub fn with_capacity(members: usize) -> Self {
        Self(Members::Own(Vec::with_capacity(members)))
    }

    /// Those that stand side by side in memory, and one that does not, if there is one.
    fn parts(&self) -> (&[Member], Option<&Member>) {
        match &self.0 {
            Members::Own(members) => (members, None),
            Members::Shared(shared) => (&shared.members, None),
            Members::With(with) => (&with.shared.members, Some(&with.more)),
        }
    }

    /// The members, to change them: from now on no other object's.
    fn own(&mut self) -> &mut Vec<Member> {
        self.0.own()
    }

    /// Makes clones of it cost nothing, and lets them share what is found out of it: its text, and that it is valid.
    /// A clone that is changed later has members of its own from then on.
    pub fn share(&mut self) {
        if let Members::Own(members) = &mut self.0 {
            self.0 = Members::Shared(Arc::new(Shared::new(std::mem::take(members))));
        }
    }

    /// What it shares with its clones, if it was made to.
    pub(crate) fn shared(&self) -> Option<&Shared> {
        if let Members::Shared(shared) = &self.0 { Some(shared) } else { None }
    }

    /// What it shares with others, and the one member that it has besides.
    pub(crate) fn with(&self) -> Option<&With> {
        if let Members::With(with) = &self.0 { Some(with) } else { None }
    }

    /// True if both share all of their members: they are alike, which takes no look at them.
    #[must_use]
    pub fn is_shared_with(&self, other: &Self) -> bool {
        matches!((&self.0, &other.0), (Members::Shared(own), Members::Shared(theirs)) if Arc::ptr_eq(own, theirs))
    }

    /// How many members there are.
    #[must_use]
    pub fn len(&self) -> usize {
        let (members, more) = self.parts();
        members.len() + usize::from(more.is_some())
    }

    /// True without members.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn position(&self, name: &str) -> Option<usize> {
        let (members, more) = self.parts();
        let at = members.iter().position(|(own, _)| is_same(own, name));
        match (self.with(), more) {
            (Some(with), Some((own, _))) => match at {
                _ if is_same(own, name) => Some(with.at),
                at => at.map(|at| at + usize::from(at >= with.at)),
            },
            _ => at,
        }
    }

    /// The member called `name`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        let (members, more) = self.parts();
        let found = members.iter().find(|(own, _)| is_same(own, name));
        found.or_else(|| more.filter(|(own, _)| is_same(own, name))).map(|(_, value)| value)
    }

    /// As [`Map::get`], to change it.
    pub fn get_mut(&mut self, name: &str) -> Option<&mut Value> {
        let at = self.position(name)?;
        self.own().get_mut(at).map(|(_, value)| value)
    }

    /// True with a member called `name`.
    #[must_use]
    pub fn contains_key(&self, name: &str) -> bool {
        self.position(name).is_some()
    }

    /// Sets the member called `name`, in its place where there is one, else at the end; gives what it was.
    pub fn insert(&mut self, name: impl Into<Text>, value: impl Into<Value>) -> Option<Value> {
        let (name, value) = (name.into(), value.into());
        match self.get_mut(&name) {
            Some(own) => Some(std::mem::replace(own, value)),
            None => {
                self.own().push((name, value));
                None
            }
        }
    }

    /// True without a member called `name`, as far as that is soon seen.
    fn is_without(&self, name: &str) -> bool {
        self.len() > SMALL || !self.contains_key(name)
    }

    /// Adds a member at the end. The caller knows that there is none of that name.
    pub fn push(&mut self, name: impl Into<Text>, value: impl Into<Value>) {
        let name = name.into();
        debug_assert!(self.is_without(&name), "{name} stands here twice");
        self.own().push((name, value.into()));
    }

    /// As [`Map::push`], with a name that is part of the program: no memory is needed for it.
    pub fn put(&mut self, name: &'static str, value: impl Into<Value>) {
        debug_assert!(self.is_without(name), "{name} stands here twice");
        self.own().push((Text::new_static(name), value.into()));
    }

    /// As [`Map::put`], at place `at`. What it shares with others it goes on to share.
    pub fn put_at(&mut self, at: usize, name: &'static str, value: impl Into<Value>) {
        debug_assert!(self.is_without(name), "{name} stands here twice");
        let more = (Text::new_static(name), value.into());
        if let Members::Shared(shared) = &self.0 {
            let at = at.min(shared.members.len());
            self.0 = Members::With(Box::new(With { shared: Arc::clone(shared), at, more }));
            return;
        }
        let members = self.own();
        members.insert(at.min(members.len()), more);
    }

    /// Sets the member called `name` and moves it to place `at`.
    pub fn shift_insert(&mut self, at: usize, name: impl Into<Text>, value: impl Into<Value>) -> Option<Value> {
        let (name, value) = (name.into(), value.into());
        let before = self.shift_remove(&name);
        let members = self.own();
        members.insert(at.min(members.len()), (name, value));
        before
    }

    /// Takes the member called `name` out; the others keep their order.
    pub fn shift_remove(&mut self, name: &str) -> Option<Value> {
        let at = self.position(name)?;
        Some(self.own().remove(at).1)
    }

    /// As [`Map::shift_remove`].
    pub fn remove(&mut self, name: &str) -> Option<Value> {
        self.shift_remove(name)
    }

    /// Leaves the members of which `keep` is true.
    pub fn retain(&mut self, mut keep: impl FnMut(&str, &mut Value) -> bool) {
        self.own().retain_mut(|(name, value)| keep(name, value));
    }

    /// All members in their order.
    pub fn iter(&self) -> Iter<'_> {
        let (members, more) = self.parts();
        let at = self.with().map_or(members.len(), |with| with.at);
        let (before, behind) = members.split_at_checked(at).unwrap_or((members, &[]));
        Iter { before: before.iter(), more, behind: behind.iter() }
    }

    /// As [`Map::iter`], to change the values.
    pub fn iter_mut(&mut self) -> impl ExactSizeIterator<Item = (&Text, &mut Value)> + DoubleEndedIterator {
        self.own().iter_mut().map(|(name, value)| (&*name, value))
    }

    /// All names in their order.
    pub fn keys(&self) -> impl ExactSizeIterator<Item = &Text> + DoubleEndedIterator + Clone {
        self.iter().map(|(name, _)| name)
    }

    /// All values in their order.
    pub fn values(&self) -> impl ExactSizeIterator<Item = &Value> + DoubleEndedIterator + Clone {
        self.iter().map(|(_, value)| value)
    }

    /// As [`Map::values`], to change them.
    pub fn values_mut(&mut self) -> impl ExactSizeIterator<Item = &mut Value> + DoubleEndedIterator {
        self.own().iter_mut().map(|(_, value)| value)
    }

    fn sorted(&self) -> Vec<(&Text, &Value)> {
        let mut members: Vec<_> = self.iter().collect();
        members.sort_unstable_by_key(|(name, _)| *name);
        members
    }

    /// True if `other` has every member of this one, and alike.
    #[must_use]
    pub fn is_within(&self, other: &Self) -> bool {
        if self.len() > other.len() {
            return false;
        }
        if other.len() <= SMALL {
            return self.iter().all(|(name, value)| other.get(name) == Some(value));
        }
        let theirs = other.sorted();
        self.iter().all(|(name, value)| {
            let found = theirs.binary_search_by(|(own, _)| (*own).cmp(name)).ok().and_then(|at| theirs.get(at));
            found.is_some_and(|(_, own)| *own == value)
        })
    }
}

/// The members are alike, in whatever order.
impl PartialEq for Map {
    fn eq(&self, other: &Self) -> bool {
        let named_alike = || self.iter().zip(other).all(|((own, _), (theirs, _))| own == theirs);
        // Each value is compared once: twice a level would be without end in deep ones.
        match self.len() == other.len() {
            false => false,
            true if named_alike() => self.values().eq(other.values()),
            true => self.is_within(other),
        }
    }
}

impl Eq for Map {}

impl<N: Into<Text>, V: Into<Value>> FromIterator<(N, V)> for Map {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(members: I) -> Self {
        let mut map = Self::new();
        map.extend(members);
        map
    }
}

impl<N: Into<Text>, V: Into<Value>> Extend<(N, V)> for Map {
    fn extend<I: IntoIterator<Item = (N, V)>>(&mut self, members: I) {
        for (name, value) in members {
            self.insert(name, value);
        }
    }
}

impl<'a> IntoIterator for &'a Map {
    type Item = (&'a Text, &'a Value);
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl IntoIterator for Map {
    type Item = (Text, Value);
    type IntoIter = std::vec::IntoIter<(Text, Value)>;

    fn into_iter(self) -> Self::IntoIter {
        match self.0 {
            Members::Own(members) => members.into_iter(),
            Members::Shared(shared) => Arc::unwrap_or_clone(shared).members.into_iter(),
            Members::With(with) => with.members().into_iter(),
        }
    }
}

impl std::fmt::Debug for Map {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Object({})", self.len())
    }
}
