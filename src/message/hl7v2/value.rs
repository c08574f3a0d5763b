//! What stands in a field: repetitions, components, subcomponents, all slices of the message.

use std::borrow::Cow;

use super::Delimiters;
use super::split::{nth_between, split};

macro_rules! slice_of_a_message {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy)]
        pub struct $name<'a> {
            text: &'a str,
            delimiters: Delimiters,
            literal: bool,
        }

        impl<'a> $name<'a> {
            /// The text as it stands, escape sequences not undone.
            #[must_use]
            pub fn text(&self) -> &'a str {
                self.text
            }

            /// True if nothing stands here. `""` is not nothing: see [`Self::is_null`].
            #[must_use]
            pub fn is_empty(&self) -> bool {
                self.text.is_empty()
            }

            /// True for `""`: the sender asks to delete the value (HL7 v2.9 §2.5.3.6).
            #[must_use]
            pub fn is_null(&self) -> bool {
                self.text == "\"\""
            }

            /// True if a value stands here: neither nothing nor `""`, and not only separators.
            #[must_use]
            pub fn is_valued(&self) -> bool {
                !self.is_null() && self.text.bytes().any(|b| !self.separates(b))
            }

            /// The value with its escape sequences undone once.
            #[must_use]
            pub fn value(&self) -> Cow<'a, str> {
                if self.literal { Cow::Borrowed(self.text) } else { super::escape::unescape(self.text, self.delimiters) }
            }

            /// What the message declares.
            #[must_use]
            pub fn delimiters(&self) -> Delimiters {
                self.delimiters
            }

            fn separates(&self, b: u8) -> bool {
                let d = self.delimiters;
                !self.literal && (b == d.component || b == d.repetition || Some(b) == d.subcomponent)
            }

        }

        impl std::fmt::Debug for $name<'_> {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, concat!(stringify!($name), "({} bytes)"), self.text.len())
            }
        }
    };
}

slice_of_a_message!(
    /// One field with all its repetitions.
    Field
);
slice_of_a_message!(
    /// One repetition of a field: a whole data type instance.
    Repetition
);
slice_of_a_message!(
    /// One component: a primitive, or a data type within a data type.
    Component
);
slice_of_a_message!(
    /// One subcomponent: always a primitive.
    Subcomponent
);

impl<'a> Field<'a> {
    pub(super) fn new(text: &'a str, delimiters: Delimiters) -> Self {
        Self { text, delimiters, literal: false }
    }

    /// A field that is not cut: MSH-1, MSH-2.
    pub(super) fn literal(text: &'a str, delimiters: Delimiters) -> Self {
        Self { text, delimiters, literal: true }
    }

    /// All repetitions; one empty one where nothing stands.
    pub fn repetitions(&self) -> impl Iterator<Item = Repetition<'a>> + 'a {
        let this = *self;
        let at = if self.literal { 0 } else { self.delimiters.repetition };
        split(self.text, at).map(move |text| Repetition { text, delimiters: this.delimiters, literal: this.literal })
    }

    /// Repetition `number`, counted from 1; empty where nothing stands.
    #[must_use]
    pub fn repetition(&self, number: usize) -> Repetition<'a> {
        let at = if self.literal { 0 } else { self.delimiters.repetition };
        let text = if number == 0 { "" } else { nth_between(self.text, at, number - 1) };
        Repetition { text, delimiters: self.delimiters, literal: self.literal }
    }

    /// Component `number` of the first repetition.
    #[must_use]
    pub fn component(&self, number: usize) -> Component<'a> {
        self.repetition(1).component(number)
    }
}

impl<'a> Repetition<'a> {
    /// All components; one empty one where nothing stands.
    pub fn components(&self) -> impl Iterator<Item = Component<'a>> + 'a {
        let this = *self;
        let at = if self.literal { 0 } else { self.delimiters.component };
        split(self.text, at).map(move |text| Component { text, delimiters: this.delimiters, literal: this.literal })
    }

    /// Component `number`, counted from 1; empty where nothing stands.
    #[must_use]
    pub fn component(&self, number: usize) -> Component<'a> {
        let at = if self.literal { 0 } else { self.delimiters.component };
        let text = if number == 0 { "" } else { nth_between(self.text, at, number - 1) };
        Component { text, delimiters: self.delimiters, literal: self.literal }
    }
}

impl<'a> Component<'a> {
    /// All subcomponents; one empty one where nothing stands.
    pub fn subcomponents(&self) -> impl Iterator<Item = Subcomponent<'a>> + 'a {
        let this = *self;
        let at = if self.literal { 0 } else { self.delimiters.subcomponent.unwrap_or(0) };
        split(self.text, at).map(move |text| Subcomponent { text, delimiters: this.delimiters, literal: this.literal })
    }

    /// Subcomponent `number`, counted from 1; empty where nothing stands.
    #[must_use]
    pub fn subcomponent(&self, number: usize) -> Subcomponent<'a> {
        let at = if self.literal { 0 } else { self.delimiters.subcomponent.unwrap_or(0) };
        let text = if number == 0 { "" } else { nth_between(self.text, at, number - 1) };
        Subcomponent { text, delimiters: self.delimiters, literal: self.literal }
    }
}
