//! What has to be undone: one entry per thing that was done, undone in reverse order at the end, at an error, at a
//! signal and at a panic alike.

use anyhow::{Result, bail};

type Undo = Box<dyn FnOnce() -> Result<()>>;

#[derive(Default)]
pub(super) struct Cleanup {
    steps: Vec<(String, Undo)>,
    failures: Vec<String>,
}

impl Cleanup {
    /// Remembers how to undo `what`; called before or right after it is done, with nothing between that can fail.
    pub(super) fn push(&mut self, what: impl Into<String>, undo: impl FnOnce() -> Result<()> + 'static) {
        self.steps.push((what.into(), Box::new(undo)));
    }

    /// Undoes everything; fails with the list of what could not be undone.
    pub(super) fn finish(mut self) -> Result<()> {
        self.undo_all();
        let failures = std::mem::take(&mut self.failures);
        if !failures.is_empty() {
            bail!("not everything could be undone: {}", failures.join("; "));
        }
        Ok(())
    }

    fn undo_all(&mut self) {
        // A step that fails must not keep the others from being undone.
        while let Some((what, undo)) = self.steps.pop() {
            if let Err(error) = undo() {
                self.failures.push(format!("{what}: {error:#}"));
            }
        }
    }
}

impl Drop for Cleanup {
    fn drop(&mut self) {
        self.undo_all();
        for failure in &self.failures {
            eprintln!("error: not undone: {failure}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;
    use std::rc::Rc;

    fn recorded() -> (Cleanup, Rc<RefCell<Vec<&'static str>>>) {
        let order = Rc::new(RefCell::new(Vec::new()));
        let mut cleanup = Cleanup::default();
        for what in ["folder", "mount", "collector"] {
            let order = Rc::clone(&order);
            cleanup.push(what, move || {
                order.borrow_mut().push(what);
                if what == "mount" { bail!("busy") } else { Ok(()) }
            });
        }
        (cleanup, order)
    }

    #[test]
    fn everything_is_undone_in_reverse_order_although_one_step_fails() {
        let (cleanup, order) = recorded();
        let error = cleanup.finish().unwrap_err().to_string();
        assert_eq!(*order.borrow(), ["collector", "mount", "folder"]);
        assert_eq!(error, "not everything could be undone: mount: busy");
    }

    #[test]
    fn an_early_return_undoes_too_and_only_once() {
        let (cleanup, order) = recorded();
        drop(cleanup);
        assert_eq!(order.borrow().len(), 3);
    }
}
