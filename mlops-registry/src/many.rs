//! Files of a version, several at once.

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use mlops_core::Result;

/// Does the same with each item, with some of them at once: a store far away takes its time for each.
///
/// Results come in the order of the items. So does the error: that of the first item that fails, as if they had been
/// taken one by one; what is under way by then is dropped.
pub(crate) async fn at_once<I, T, F: Future<Output = Result<T>>>(
    items: impl Iterator<Item = I>,
    work: impl FnMut(I) -> F,
) -> Result<Vec<T>> {
    stream::iter(items.map(work)).buffered(FILES_AT_ONCE).try_collect().await
}

const FILES_AT_ONCE: usize = 8;

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::task::Poll;

    use mlops_core::Error;
    use mlops_core::driver::Driver;

    use super::*;

    /// Lets the others go on some times.
    async fn pause(times: u32) {
        let mut left = times;
        std::future::poll_fn(|context| {
            context.waker().wake_by_ref();
            left = left.saturating_sub(1);
            if left == 0 { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    #[test]
    fn some_at_once_in_order() {
        let (now, most) = (Cell::new(0), Cell::new(0));
        let work = |item: u32| {
            let (now, most) = (&now, &most);
            async move {
                now.set(now.get() + 1);
                most.set(most.get().max(now.get()));
                // The first ones take longest.
                pause(100 - item).await;
                now.set(now.get() - 1);
                Ok(item)
            }
        };
        let done = Driver::new().unwrap().wait(at_once(0..100, work)).unwrap();
        assert_eq!(done, (0..100).collect::<Vec<_>>());
        assert_eq!(most.get(), FILES_AT_ONCE);
    }

    #[test]
    fn the_first_error_is_that_of_the_first_item() {
        let started = Cell::new(0);
        let work = |item: u32| {
            started.set(started.get() + 1);
            async move {
                pause(100 - item).await;
                if item < 5 { Ok(item) } else { Err(Error::data(format!("item {item}"))) }
            }
        };
        let error = Driver::new().unwrap().wait(at_once(0..100, work)).unwrap_err();
        assert_eq!(error.to_string(), "item 5");
        assert!(started.get() < 20, "nothing is begun after an error: {}", started.get());
    }
}
