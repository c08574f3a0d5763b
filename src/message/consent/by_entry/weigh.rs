//! What one Consent says to one question: a permit, a denial, or nothing.

use super::directive::{Base, Directive, Mode, Node};
use super::matching::{Question, Tri};
use super::policy::Effect;

/// An answer and the provision that gave it; none where the base rule did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) effect: Effect,
    pub(super) node: Option<usize>,
}

/// A weighing: a Consent and the question.
#[derive(Clone, Copy)]
pub(super) struct Weighing<'a> {
    pub(super) directive: &'a Directive,
    pub(super) question: &'a Question<'a>,
}

/// What holds whichever way something unknown is: a denial by one way is a denial, a permit needs both.
fn cautious(one: Option<Answer>, other: Option<Answer>) -> Option<Answer> {
    let denies = |answer: &Option<Answer>| answer.is_some_and(|answer| answer.effect == Effect::Deny);
    if denies(&one) || denies(&other) {
        return if denies(&one) { one } else { other };
    }
    one.and(other)
}

impl<'a> Weighing<'a> {
    /// What the base rule says for this purpose.
    fn base(&self) -> Option<Effect> {
        match self.directive.base {
            Base::None => None,
            Base::Permit => Some(Effect::Permit),
            Base::Deny => Some(Effect::Deny),
            Base::EmergencyOnly => {
                let emergency = self.question.purposes.iter().any(|purpose| &**purpose == "ETREAT");
                Some(if emergency { Effect::Permit } else { Effect::Deny })
            }
        }
    }

    /// What the Consent says; nothing where it does not apply. A permit of what was never verified is none.
    pub(super) fn answer(&self) -> Option<Answer> {
        let root = self.directive.node(0)?;
        let kind = root.effect.or_else(|| self.base())?;
        let answer = match self.directive.mode {
            Mode::Tree => self.tree(root, kind),
            Mode::Pcf => self.pcf(root, kind),
        };
        answer.filter(|answer| answer.effect == Effect::Deny || self.directive.verified)
    }

    fn tree(&self, root: &Node, kind: Effect) -> Option<Answer> {
        self.root(root, kind, |context, data| {
            if context && data {
                return Some(self.decide(0, root, kind));
            }
            let base = self.base();
            match (root.effect, base) {
                (None, _) => None,
                (Some(effect), Some(base)) if base != effect => Some(Answer { effect: base, node: None }),
                // "Permit only this data" is exhaustive.
                (Some(Effect::Permit), _) if context && !data => Some(Answer { effect: Effect::Deny, node: Some(0) }),
                _ => None,
            }
        })
    }

    fn pcf(&self, root: &Node, kind: Effect) -> Option<Answer> {
        let children = root.children.iter().filter_map(|at| Some((*at, self.directive.node(*at)?)));
        let mut permit = None;
        for (at, child) in children {
            let Some(effect) = child.effect.or((kind == Effect::Permit).then_some(Effect::Deny)) else { continue };
            let matched = self.matches(child, effect);
            match effect {
                Effect::Permit if matched == Tri::Yes => permit = permit.or(Some(at)),
                Effect::Deny if matched != Tri::No => return Some(Answer { effect, node: Some(at) }),
                _ => {}
            }
        }
        if let Some(at) = permit {
            return Some(Answer { effect: Effect::Permit, node: Some(at) });
        }
        self.root(root, kind, |context, data| match (context, data) {
            (false, _) => None,
            (true, true) => Some(Answer { effect: kind, node: Some(0) }),
            (true, false) => (kind == Effect::Permit).then_some(Answer { effect: Effect::Deny, node: Some(0) }),
        })
    }

    /// Both ways of what is unknown about the root.
    fn root(&self, root: &Node, kind: Effect, answer: impl Fn(bool, bool) -> Option<Answer>) -> Option<Answer> {
        let context = self.question.context(root);
        let data = if context == Tri::No { Tri::No } else { self.question.data(root, self.directive.mode, kind) };
        match (context, data) {
            (Tri::Unknown, Tri::Unknown) => {
                let known = cautious(answer(true, true), answer(true, false));
                cautious(known, cautious(answer(false, true), answer(false, false)))
            }
            (Tri::Unknown, data) => cautious(answer(true, data == Tri::Yes), answer(false, data == Tri::Yes)),
            (context, Tri::Unknown) => cautious(answer(context == Tri::Yes, true), answer(context == Tri::Yes, false)),
            (context, data) => answer(context == Tri::Yes, data == Tri::Yes),
        }
    }

    /// A provision that matches: its exceptions, denial over permit; itself where none matches.
    fn decide(&self, at: usize, node: &Node, kind: Effect) -> Answer {
        let mut permit = None;
        for child_at in &node.children {
            let Some(child) = self.directive.node(*child_at) else { continue };
            let Some(effect) = child.effect.or((kind == Effect::Permit).then_some(Effect::Deny)) else { continue };
            let matched = self.matches(child, effect);
            if matched == Tri::No {
                continue;
            }
            let answer = self.decide(*child_at, child, effect);
            match answer.effect {
                Effect::Deny => return answer,
                // An exception that may not apply permits nothing.
                _ if matched == Tri::Yes => permit = permit.or(Some(answer)),
                _ => {}
            }
        }
        permit.unwrap_or(Answer { effect: kind, node: Some(at) })
    }

    fn matches(&self, node: &Node, effect: Effect) -> Tri {
        let context = self.question.context(node);
        if context == Tri::No { context } else { context.min(self.question.data(node, self.directive.mode, effect)) }
    }

    /// True if some provision that permits this, or one that it stands in, satisfies `test`.
    pub(super) fn permits_by(&self, test: &dyn Fn(&Node) -> bool) -> bool {
        let answer = self.answer().filter(|answer| answer.effect == Effect::Permit);
        let Some((at, root)) = answer.and_then(|answer| answer.node).zip(self.directive.node(0)) else { return false };
        let on_line = |at: usize| self.directive.line(at).any(test);
        if at == 0 {
            return on_line(0);
        }
        match self.directive.mode {
            Mode::Tree => {
                let kind = root.effect.or_else(|| self.base()).unwrap_or(Effect::Deny);
                self.permit_leaves(0, root, kind).into_iter().any(on_line)
            }
            Mode::Pcf => root.children.iter().any(|at| {
                let child = self.directive.node(*at).filter(|child| child.effect == Some(Effect::Permit));
                child.is_some_and(|child| self.matches(child, Effect::Permit) == Tri::Yes) && on_line(*at)
            }),
        }
    }

    /// True if a denial that matches, or may match, with all that it stands in, satisfies `test`.
    pub(super) fn denies_by(&self, test: &dyn Fn(&Node) -> bool) -> bool {
        let denies = |node: &Node| self.kind(node) == Some(Effect::Deny) && test(node);
        let matched = |node: &Node| self.matches(node, Effect::Deny) != Tri::No;
        let nodes = self.directive.nodes.iter().enumerate();
        nodes.filter(|(_, node)| denies(node)).any(|(at, node)| matched(node) && self.stands(at))
    }

    /// True if the provisions that the one at `at` stands in match, or may match.
    fn stands(&self, at: usize) -> bool {
        // By IHE PCF a child is a rule of its own.
        let alone = self.directive.mode == Mode::Pcf;
        let matched = |node: &Node| self.kind(node).is_some_and(|kind| self.matches(node, kind) != Tri::No);
        alone || self.directive.line(at).skip(1).all(matched)
    }

    /// What `node` says where no exception to it matches.
    fn kind(&self, node: &Node) -> Option<Effect> {
        match node.parent.and_then(|parent| self.directive.node(parent)) {
            None => node.effect.or_else(|| self.base()),
            Some(parent) => node.effect.or_else(|| (self.kind(parent) == Some(Effect::Permit)).then_some(Effect::Deny)),
        }
    }

    /// The provisions that permit within `node`, which is known to match.
    fn permit_leaves(&self, at: usize, node: &Node, kind: Effect) -> Vec<usize> {
        let mut leaves = Vec::new();
        for child_at in &node.children {
            let Some(child) = self.directive.node(*child_at) else { continue };
            let Some(effect) = child.effect.or((kind == Effect::Permit).then_some(Effect::Deny)) else { continue };
            if self.matches(child, effect) == Tri::Yes {
                leaves.extend(self.permit_leaves(*child_at, child, effect));
            }
        }
        if leaves.is_empty() && kind == Effect::Permit {
            leaves.push(at);
        }
        leaves
    }

    /// True if a provision that denies the recipient's own staff, and not the recipient, otherwise matches.
    pub(super) fn refuses_staff(&self) -> bool {
        let staff = &self.question.request.staff;
        let refused = |(_, node): &(usize, &Node)| self.kind(node) == Some(Effect::Deny);
        self.directive.nodes.iter().enumerate().filter(refused).any(|(at, node)| {
            let names_staff = node.actors.recipient.iter().flatten().any(|name| staff.contains(name));
            names_staff && self.stands(at) && {
                let rest = Node {
                    actors: super::directive::Actors { recipient: Vec::new(), ..node.actors.clone() },
                    purposes: node.purposes.clone(),
                    actions: node.actions.clone(),
                    period: node.period,
                    ..Node::default()
                };
                let data = self.question.data(node, self.directive.mode, Effect::Deny);
                self.question.context(&rest) != Tri::No && data != Tri::No
            }
        })
    }
}
