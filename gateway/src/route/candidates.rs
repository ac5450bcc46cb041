//! The targets of one request, in the order in which they are tried. [pure]

use std::rc::Rc;

use super::Route;
use super::group::Group;
use super::select::Order;
use crate::rejection::Rejection;

/// What a requested name stands for. Gives its targets one by one.
#[derive(Debug)]
pub struct Candidates(Kind);

#[derive(Debug)]
enum Kind {
    /// A model with an upstream of its own; `None` once it was given.
    Direct(Option<Route>),
    /// A group; the number of those given.
    Group(Rc<Group>, Order, usize),
}

impl Candidates {
    pub(super) fn direct(route: Route) -> Self {
        Self(Kind::Direct(Some(route)))
    }

    pub(super) fn of_group(group: Rc<Group>, order: Order) -> Self {
        Self(Kind::Group(group, order, 0))
    }

    /// The group that was asked for, if it was one.
    pub fn group(&self) -> Option<&Group> {
        match &self.0 {
            Kind::Direct(_) => None,
            Kind::Group(group, ..) => Some(group),
        }
    }

    /// Whether [`Candidates::take_next`] gives another one.
    pub fn has_next(&self) -> bool {
        match &self.0 {
            Kind::Direct(route) => route.is_some(),
            Kind::Group(_, order, given) => *given < order.iter().len(),
        }
    }

    /// How many were given.
    pub fn given(&self) -> usize {
        match &self.0 {
            Kind::Direct(route) => usize::from(route.is_none()),
            Kind::Group(_, _, given) => *given,
        }
    }

    /// Where in the group the last one given stands; 0 for a direct model.
    pub fn position(&self) -> usize {
        match &self.0 {
            Kind::Direct(_) => 0,
            Kind::Group(_, order, given) => order.nth(given.saturating_sub(1)).unwrap_or(0),
        }
    }

    /// The next target; `None` behind the last.
    ///
    /// # Errors
    ///
    /// 503 for a target without a provider key.
    pub fn take_next(&mut self) -> Option<Result<Route, Rejection>> {
        match &mut self.0 {
            Kind::Direct(route) => route.take().map(Ok),
            Kind::Group(group, order, given) => {
                let position = order.nth(*given)?;
                *given += 1;
                Some(group.route(position))
            }
        }
    }
}
