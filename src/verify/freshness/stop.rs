//! Points at which a test can make something happen between two steps. Without tests there is nothing here.

#[cfg(test)]
type Planned = (&'static str, Box<dyn FnOnce()>);

#[cfg(test)]
thread_local! {
    static PLANNED: std::cell::RefCell<Option<Planned>> = const { std::cell::RefCell::new(None) };
}

/// The next time that this thread comes to the point, this happens.
#[cfg(test)]
pub(super) fn once_at(point: &'static str, what: impl FnOnce() + 'static) {
    PLANNED.with(|planned| *planned.borrow_mut() = Some((point, Box::new(what))));
}

/// Here is a point.
#[inline]
pub(super) fn at(point: &'static str) {
    #[cfg(test)]
    {
        let planned = PLANNED.with(|planned| {
            let mut planned = planned.borrow_mut();
            if planned.as_ref().is_some_and(|(wanted, _)| *wanted == point) { planned.take() } else { None }
        });
        if let Some((_, what)) = planned {
            what();
        }
    }
    #[cfg(not(test))]
    let _ = point;
}
