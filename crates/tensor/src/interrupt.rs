//! Giving up in the middle of a computation: Ctrl-C was pressed, or who asked for it waits no longer.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use crate::{Error, Result};

struct Question {
    stop: Box<dyn Fn() -> bool>,
    /// Whether it has said yes: then it stays with that.
    stopped: Cell<bool>,
}

thread_local! {
    static QUESTION: RefCell<Option<Rc<Question>>> = const { RefCell::new(None) };
}

/// Does `work`, which ends with [`Error::Interrupted`] soon after `stop` has begun to say yes.
///
/// `stop` is asked on this thread between the tasks of every operation, layers, tensors that are loaded and tokens: it must be quick. What
/// is left half-done by an operation that writes in place stays half-done.
pub fn during<R>(stop: impl Fn() -> bool + 'static, work: impl FnOnce() -> R) -> R {
    /// Asks again what was asked before, however the work ends.
    struct Before(Option<Rc<Question>>);
    impl Drop for Before {
        fn drop(&mut self) {
            QUESTION.set(self.0.take());
        }
    }
    let question = Question { stop: Box::new(stop), stopped: Cell::new(false) };
    let _before = Before(QUESTION.replace(Some(Rc::new(question))));
    work()
}

/// Asks whether to go on, if there is somebody to ask.
///
/// # Errors
/// `Interrupted` if not.
pub fn check() -> Result<()> {
    // Who is asked may compute meanwhile: nothing stays borrowed.
    let Some(question) = QUESTION.with_borrow(Clone::clone) else { return Ok(()) };
    if question.stopped.get() || (question.stop)() {
        question.stopped.set(true);
        return Err(Error::Interrupted);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::{DType, Tensor};

    /// Says yes from so many questions on.
    fn after(questions: usize) -> impl Fn() -> bool + 'static {
        let asked = Cell::new(0);
        move || {
            asked.set(asked.get() + 1);
            asked.get() > questions
        }
    }

    #[test]
    fn the_inner_question_is_asked_and_then_the_outer_one_again() {
        check().unwrap();
        during(
            || true,
            || {
                during(|| false, || check().unwrap());
                assert!(matches!(check(), Err(Error::Interrupted)));
            },
        );
        check().unwrap();
    }

    #[test]
    fn an_operation_ends_between_its_tasks() {
        let x = Tensor::ones(&[512, 512], DType::F32).unwrap();
        for questions in 0..3 {
            let result = during(after(questions), || x.matmul(&x)?.matmul(&x));
            assert!(matches!(result, Err(Error::Interrupted)), "after {questions}");
        }
        let whole = during(after(usize::MAX), || x.matmul(&x)).unwrap();
        assert_eq!(whole.as_slice::<f32>().unwrap()[0], 512.0);
    }
}
