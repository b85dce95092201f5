//! Shuttle's lock, and tokio's channels with a point before each step at which another thread may go on.

pub(crate) use shuttle::sync::{Mutex, MutexGuard};

/// Lets another thread go on here, in some schedules.
fn point() {
    use shuttle::sync::atomic::{AtomicBool, Ordering};
    AtomicBool::new(false).load(Ordering::SeqCst);
}

pub(crate) mod oneshot {
    use std::future::Future;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use tokio::sync::oneshot as real;

    use super::point;

    #[derive(Debug)]
    pub(crate) struct Sender<T>(real::Sender<T>);
    #[derive(Debug)]
    pub(crate) struct Receiver<T>(real::Receiver<T>);

    pub(crate) fn channel<T>() -> (Sender<T>, Receiver<T>) {
        let (sender, receiver) = real::channel();
        (Sender(sender), Receiver(receiver))
    }

    impl<T> Sender<T> {
        pub(crate) fn send(self, value: T) -> Result<(), T> {
            point();
            self.0.send(value)
        }
    }

    impl<T> Receiver<T> {
        pub(crate) fn try_recv(&mut self) -> Result<T, real::error::TryRecvError> {
            point();
            self.0.try_recv()
        }
    }

    impl<T> Future for Receiver<T> {
        type Output = Result<T, real::error::RecvError>;

        fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
            point();
            Pin::new(&mut self.0).poll(context)
        }
    }

    impl<T> Drop for Receiver<T> {
        fn drop(&mut self) {
            point();
        }
    }
}

pub(crate) mod watch {
    use tokio::sync::watch as real;

    use super::point;

    #[derive(Debug)]
    pub(crate) struct Sender<T>(real::Sender<T>);
    #[derive(Debug)]
    pub(crate) struct Receiver<T>(real::Receiver<T>);

    impl<T> Sender<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(real::Sender::new(value))
        }

        pub(crate) fn subscribe(&self) -> Receiver<T> {
            point();
            Receiver(self.0.subscribe())
        }

        pub(crate) fn receiver_count(&self) -> usize {
            point();
            self.0.receiver_count()
        }

        pub(crate) fn send_replace(&self, value: T) -> T {
            point();
            self.0.send_replace(value)
        }

        pub(crate) fn send_if_modified(&self, change: impl FnOnce(&mut T) -> bool) -> bool {
            point();
            self.0.send_if_modified(change)
        }
    }

    impl<T> Receiver<T> {
        pub(crate) async fn wait_for(
            &mut self,
            condition: impl FnMut(&T) -> bool,
        ) -> Result<real::Ref<'_, T>, real::error::RecvError> {
            point();
            self.0.wait_for(condition).await
        }
    }
}
