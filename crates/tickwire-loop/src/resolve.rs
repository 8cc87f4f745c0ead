//! The lookups of dialed names. Their threads are not the loop's, so an answer has to wake it.
use crate::handle::Handle;
use crate::system::Waker;
use std::{
    sync::{
        Arc,
        mpsc::{Receiver, Sender, channel},
    },
    task::{self, Wake},
};
use tickwire_dial::{Lookup, Lookups};

pub(crate) struct Resolver {
    lookups: Lookups,
    waker: Waker,
    answered: (Sender<Handle>, Receiver<Handle>),
}

impl Resolver {
    pub(crate) fn new(waker: Waker) -> Self {
        #[cfg(not(test))]
        let lookups = Lookups::of_process().clone();
        #[cfg(test)]
        let lookups = crate::tests::faults::lookups();
        Self { lookups, waker, answered: channel() }
    }

    pub(crate) fn look_up(&self, host: &str, port: u16) -> Lookup {
        self.lookups.look_up(host, port)
    }

    /// To poll the lookup of this dial with.
    pub(crate) fn waker(&self, of: Handle) -> task::Waker {
        let answered = self.answered.0.clone();
        Arc::new(Answered { of, answered, waker: self.waker.clone() }).into()
    }

    /// A dial whose lookup has an answer. It may be gone.
    pub(crate) fn answered(&self) -> Option<Handle> {
        self.answered.1.try_recv().ok()
    }
}

struct Answered {
    of: Handle,
    answered: Sender<Handle>,
    waker: Waker,
}

impl Wake for Answered {
    fn wake(self: Arc<Self>) {
        // The send fails only if the loop is gone. If the wake fails, the loop finds the answer at
        // its next wake.
        let _ = self.answered.send(self.of);
        let _ = self.waker.wake_quietly();
    }
}
