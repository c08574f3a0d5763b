//! Where an element is: written only when there is something to say of it.

/// The way from the root to an element, kept on the stack.
#[derive(Clone, Copy)]
pub(super) struct Path<'a> {
    above: Option<&'a Path<'a>>,
    step: Step<'a>,
}

#[derive(Clone, Copy)]
enum Step<'a> {
    Name(&'a str),
    Index(usize),
}

impl<'a> Path<'a> {
    /// A resource that stands alone: its type.
    pub(super) fn root(kind: &'a str) -> Self {
        Self { above: None, step: Step::Name(kind) }
    }

    /// The element `name` of what is here.
    pub(super) fn to(&'a self, name: &'a str) -> Path<'a> {
        Path { above: Some(self), step: Step::Name(name) }
    }

    /// The member at `index` of the list that is here.
    pub(super) fn at(&'a self, index: usize) -> Path<'a> {
        Path { above: Some(self), step: Step::Index(index) }
    }
}

/// `Bundle.entry[3].resource.status`; a name that no element could have is `?`, as it may be patient data.
impl std::fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(above) = self.above {
            write!(f, "{above}")?;
        }
        match self.step {
            Step::Index(index) => write!(f, "[{index}]"),
            Step::Name(name) => {
                let dot = if self.above.is_some() { "." } else { "" };
                write!(f, "{dot}{}", if is_name(name) { name } else { "?" })
            }
        }
    }
}

/// True for what looks like the name of an element or a type.
fn is_name(name: &str) -> bool {
    (1..=64).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}
