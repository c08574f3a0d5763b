//! The members of an object while its elements are read: lists grow, and values and what is beside them keep pace.

use crate::fhir::definitions::Element;
use crate::fhir::{Object, Value};

/// An object that is being read.
pub(super) struct Members {
    own: Object,
    read: Vec<Member>,
    /// Where in `read` the element with this place and name is.
    last: usize,
}

struct Member {
    element: &'static Element,
    values: Vec<Value>,
    besides: Vec<Value>,
}

impl Members {
    /// With what is there already.
    pub(super) fn new(own: Object) -> Self {
        Self { own, read: Vec::new(), last: 0 }
    }

    /// How often `element` was there so far.
    pub(super) fn count(&mut self, element: &'static Element) -> usize {
        self.find(element).map_or(0, |member| member.values.len())
    }

    /// Elements of a list stand together, so that the last one is most often it.
    fn find(&mut self, element: &'static Element) -> Option<&mut Member> {
        let is_it = |member: &Member| std::ptr::eq(member.element, element);
        if !self.read.get(self.last).is_some_and(is_it) {
            self.last = self.read.iter().position(is_it)?;
        }
        self.read.get_mut(self.last)
    }

    /// Adds one; null where there is no value, or nothing beside it.
    pub(super) fn add(&mut self, element: &'static Element, value: Value, beside: Value) {
        if let Some(member) = self.find(element) {
            member.values.push(value);
            member.besides.push(beside);
        } else {
            self.last = self.read.len();
            self.read.push(Member { element, values: vec![value], besides: vec![beside] });
        }
    }

    /// The object.
    pub(super) fn finish(self) -> Object {
        let mut own = self.own;
        for Member { element, values, besides } in self.read {
            put(&mut own, element.name.clone(), element.list, values);
            put(&mut own, format!("_{}", element.name), element.list, besides);
        }
        own
    }
}

/// Nothing, where all are null.
fn put(own: &mut Object, name: String, list: bool, mut values: Vec<Value>) {
    if values.iter().all(Value::is_null) {
        return;
    }
    let value = if list { Some(Value::from(values)) } else { values.pop() };
    if let Some(value) = value {
        own.insert(name, value);
    }
}
