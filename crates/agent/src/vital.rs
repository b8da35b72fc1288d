//! Tasks without which an agent is none. One that breaks ends the agent, which says so: it is started again, and the software, which
//! has its own process, notices nothing. One that nobody watches would be missed only by what waits for it.

use tokio::sync::mpsc;

/// Starts such tasks.
#[derive(Clone, Debug)]
pub(crate) struct Vital {
    broken: mpsc::UnboundedSender<BrokenTask>,
}

/// A task that has broken.
#[derive(Debug)]
pub(crate) struct BrokenTask {
    /// Which.
    pub(crate) task: &'static str,
    /// Why.
    pub(crate) why: String,
}

/// Where they are heard of.
#[derive(Debug)]
pub(crate) struct Watch(mpsc::UnboundedReceiver<BrokenTask>);

impl Vital {
    /// None yet.
    pub(crate) fn new() -> (Self, Watch) {
        let (broken, heard) = mpsc::unbounded_channel();
        (Self { broken }, Watch(heard))
    }

    /// Starts one.
    pub(crate) fn spawn(
        &self,
        task: &'static str,
        work: impl Future<Output = ()> + Send + 'static,
    ) {
        let working = tokio::spawn(work);
        let broken = self.broken.clone();
        tokio::spawn(async move {
            if let Err(error) = working.await
                && error.is_panic()
            {
                let why = error.to_string();
                // Where nobody watches any more the agent ends anyway.
                let _ = broken.send(BrokenTask { task, why });
            }
        });
    }
}

impl Watch {
    /// Resolves when one has broken.
    pub(crate) async fn broken(&mut self) -> BrokenTask {
        match self.0.recv().await {
            Some(broken) => broken,
            None => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Vital;

    #[tokio::test]
    async fn a_task_that_breaks_is_told_by_its_name_and_one_that_ends_is_not() {
        let (vital, mut watch) = Vital::new();
        vital.spawn("that ends", async {});
        vital.spawn("that breaks", async { panic!("on purpose") });
        let broken = watch.broken().await;
        assert_eq!(broken.task, "that breaks");
        assert!(broken.why.contains("on purpose"), "{}", broken.why);
    }
}
